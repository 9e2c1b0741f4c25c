package engine

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/mail"
	"github.com/opensend/opensend/storage"
)

// sendGrace is for the mail in hand when the engine stops.
const sendGrace = 30 * time.Second

// outbox hands queued mail to workers.
type outbox struct {
	engine *Engine
	slots  chan *marker // one for each worker
	wg     sync.WaitGroup

	mu     sync.Mutex
	inHand map[automations.ID]bool // given to a worker; its row may still be in the outbox
}

// outboxLoop sends mail as it falls due. When ctx ends it takes no more and
// waits for what is in hand.
func (e *Engine) outboxLoop(ctx context.Context, markers *markers) error {
	o := &outbox{engine: e, slots: make(chan *marker, e.cfg.Workers), inHand: map[automations.ID]bool{}}
	for i := range e.cfg.Workers {
		o.slots <- markers.slot(i)
	}
	sending, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer o.drain(stop)
	for {
		due, next, err := o.due()
		if err != nil {
			if err := e.survive(ctx, "reading the outbox", err); err != nil {
				return err
			}
			continue
		}
		for _, id := range due {
			select {
			case slot := <-o.slots:
				o.take(id)
				o.wg.Go(func() { o.work(sending, id, slot) })
			case <-ctx.Done():
				return nil
			}
		}
		if len(due) == 0 && sleep(ctx, e.outboxKick, next) {
			return nil
		}
		if ctx.Err() != nil || e.db.Failed() != nil {
			return e.db.Failed()
		}
	}
}

func (o *outbox) drain(stop func()) {
	done := make(chan struct{})
	go func() { o.wg.Wait(); close(done) }()
	grace := time.NewTimer(sendGrace)
	defer grace.Stop()
	select {
	case <-done:
	case <-grace.C:
		stop()
		<-done
	}
}

// due names mails that are due and in nobody's hands, and when the next one
// is.
func (o *outbox) due() (ids []automations.ID, next time.Time, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	err = o.engine.db.View(func(tx *storage.Tx) error {
		var found []automations.ID
		found, next = tx.DueEmails(now(), 2*cap(o.slots)+len(o.inHand))
		for _, id := range found {
			if !o.inHand[id] {
				ids = append(ids, id)
			}
		}
		return nil
	})
	return ids, next, err
}

func (o *outbox) take(id automations.ID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.inHand[id] = true
}

// work settles one mail, or puts it off.
func (o *outbox) work(ctx context.Context, id automations.ID, slot *marker) {
	e := o.engine
	defer func() {
		o.mu.Lock()
		delete(o.inHand, id)
		o.mu.Unlock()
		o.slots <- slot
		kick(e.outboxKick)
	}()
	if err := e.deliver(ctx, id, slot); err != nil {
		e.log.Error("sending mail", "email", id, "error", err)
		sleep(ctx, nil, time.Now().Add(time.Second)) // the mail is still in the outbox and comes round again
	}
}

// deliver takes one mail from queued to its result. That it is being sent is
// committed before, and the outcome after: a crash in between leaves the mail
// in "sending", which recoverSending sorts out with what slot tells.
func (e *Engine) deliver(ctx context.Context, id automations.ID, slot *marker) error {
	m, err := e.prepare(id)
	if err != nil || m == nil {
		return err
	}
	if e.cfg.Sender == nil || m.captures {
		return e.settle(id, m.content, func(email *automations.Email) {
			email.Status, email.SentAt = automations.EmailCaptured, now()
			email.Settled = append(email.Settled, m.barred...)
		})
	}
	if at := e.pace.turn(id, m.to, now()); at.After(now()) {
		return e.postpone(id, at)
	}
	claimed := false
	err = e.db.Update(func(tx *storage.Tx) error {
		row, err := tx.Email(id)
		if err != nil {
			return err
		}
		barred, err := refusals(tx, row.Email)
		claimed = err == nil && isDue(row) && slices.Equal(barred, m.barred) // else it comes round again
		if !claimed {
			return err
		}
		row.Status, row.UpdatedAt = automations.EmailSending, now()
		row.Attempts++
		if row.TriedSince.IsZero() {
			row.TriedSince = now()
		}
		row.Settled = append(row.Settled, m.barred...)
		slot.begin(id, row.Attempts)
		return errors.Join(tx.SaveEmail(row), tx.SaveEmailContent(id, m.content))
	})
	if err != nil || !claimed {
		return err
	}
	reply, sendErr := e.cfg.Sender.Send(ctx, mail.Envelope{From: m.from, To: m.to, Message: m.content.Message, ID: m.id, Mark: slot.mark})
	e.handovers.count(m.to, reply, sendErr)
	for { // nobody else knows: the slot is kept, and what it has marked, until it is written down
		err := e.settle(id, nil, func(email *automations.Email) { e.result(email, m.to, reply, sendErr) }, bounces(reply)...)
		if err == nil || ctx.Err() != nil {
			return err
		}
		if err := e.survive(ctx, "recording what became of a mail", err); err != nil {
			return err
		}
	}
}

// isDue reports whether a mail is still to be sent now: it may have been
// cancelled or given another time since it was taken from the outbox, which
// keeps times in milliseconds.
func isDue(row *storage.EmailRow) bool {
	return row.Status == automations.EmailQueued && !row.NextAttemptAt.Truncate(time.Millisecond).After(now())
}

// postpone puts a mail off without an attempt.
func (e *Engine) postpone(id automations.ID, at time.Time) error {
	return e.db.Update(func(tx *storage.Tx) error {
		row, err := tx.Email(id)
		if err != nil || !isDue(row) {
			return err
		}
		row.NextAttemptAt = at
		return tx.SaveEmail(row)
	})
}

// outgoing is a mail ready to leave.
type outgoing struct {
	id       string // its Message-ID
	from     string
	to       []string
	barred   []automations.Settled // recipients that are left out
	captures bool
	content  *automations.EmailContent
}

// prepare composes a queued mail, once: later attempts send the same bytes. It
// returns nil when the mail is not to be sent any more.
func (e *Engine) prepare(id automations.ID) (*outgoing, error) {
	var email *automations.Email
	var content *automations.EmailContent
	var barred []automations.Settled
	err := e.db.View(func(tx *storage.Tx) error {
		row, err := tx.Email(id)
		if err != nil || !isDue(row) {
			return err
		}
		email = row.Email
		if content, err = tx.EmailContent(id); err != nil {
			return err
		}
		barred, err = refusals(tx, email)
		return err
	})
	if _, damaged := errors.AsType[*storage.CorruptError](err); email != nil && (damaged || errors.Is(err, storage.ErrNotFound)) {
		e.log.Error("a mail cannot be sent", "email", id, "error", err)
		return nil, e.settle(id, nil, func(email *automations.Email) {
			email.Status, email.LastError = automations.EmailFailed, "what the mail needs cannot be read; the server's log says more"
		})
	}
	if err != nil || email == nil {
		return nil, err
	}
	if len(barred) == len(email.Recipients()) {
		return nil, e.settle(id, nil, func(email *automations.Email) {
			email.LastError = barred[0].Reason
			end(email, automations.EmailSuppressed, barred)
		})
	}
	from, err := mail.ParseAddress(email.From)
	if err == nil && content.Message == nil {
		message := mail.Message{
			From: email.From, To: email.To, CC: email.CC, ReplyTo: email.ReplyTo, Subject: email.Subject,
			HTML: content.HTML, Text: content.Text, MessageID: email.MessageID, Date: now(),
			Headers: content.Headers, Attachments: content.Attachments,
		}
		content = &automations.EmailContent{}
		if content.Message, err = message.Bytes(); err == nil {
			content.Message, err = mail.SignDKIM(content.Message, from.Addr, e.cfg.DKIM)
		}
	}
	if err != nil {
		return nil, e.settle(id, nil, func(email *automations.Email) {
			email.Status, email.LastError = automations.EmailFailed, err.Error()
		})
	}
	email.Settled = append(email.Settled, barred...)
	return &outgoing{id: email.MessageID, from: from.Addr, to: email.Recipients(), barred: barred, captures: email.Captures(), content: content}, nil
}

// settle records what became of a mail, and tells its run. Addresses that
// bounced get no more mail, unless the mail was an alert.
func (e *Engine) settle(id automations.ID, content *automations.EmailContent, change func(*automations.Email), bounced ...string) error {
	var settled *automations.Email
	var run *automations.Run
	err := e.db.Update(func(tx *storage.Tx) error {
		settled, run = nil, nil
		row, err := tx.Email(id)
		if err != nil {
			return err
		}
		if row.Status != automations.EmailQueued && row.Status != automations.EmailSending {
			return nil // erased or cancelled meanwhile
		}
		change(row.Email)
		row.UpdatedAt = now()
		if content != nil {
			if err := tx.SaveEmailContent(id, content); err != nil {
				return err
			}
		}
		if err := tx.SaveEmail(row); err != nil {
			return err
		}
		if row.Alert { // the operator's own address stays open to other mail
			bounced = nil
		}
		for _, address := range bounced {
			if _, _, err := tx.Suppress(&automations.Suppression{ID: newID(), Email: address, Origin: automations.OriginBounce, SourceID: id, CreatedAt: now()}); err != nil {
				return err
			}
		}
		settled = row.Email
		run, err = e.tellRun(tx, row.Email)
		return err
	})
	if err != nil {
		return err
	}
	kick(e.wakeKick)
	if settled != nil {
		e.log.Debug("mail moved", "email", id, "run", settled.Run.RunID, "status", settled.Status, "attempt", settled.Attempts)
	}
	if run != nil {
		e.logRuns("run moved", run)
	}
	return nil
}

// tellRun passes a mail's result on to the run that waits for it, and returns
// that run; nil when there is none.
func (e *Engine) tellRun(tx *storage.Tx, email *automations.Email) (*automations.Run, error) {
	row, err := tx.Run(email.Run)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil
	}
	if err != nil || row.EmailID != email.ID {
		return nil, err
	}
	row.Mailed(email, now())
	flow, err := e.flowOf(tx, row)
	if err != nil {
		return nil, err
	}
	return row.Run, saveRun(tx, row, flow)
}

// recoverSending sorts out the mail that a process which is gone had in hand,
// by what it has marked: its server may have taken it.
func (e *Engine) recoverSending(known map[sending]mail.Stage) error {
	return e.db.Update(func(tx *storage.Tx) error {
		for _, id := range tx.SendingEmails() {
			row, err := tx.Email(id)
			if err != nil {
				return err
			}
			stage, marked := known[sending{id, uint32(row.Attempts)}]
			row.UpdatedAt = now()
			switch {
			case stage == mail.Taken:
				e.taken(row.Email, row.Recipients(), mail.Reply{Code: 250, Text: "taken, as marked before the program ended"})
			case stage == mail.PutOff:
				e.result(row.Email, nil, mail.Reply{}, &mail.SendError{Class: mail.Temporary, Text: "put off, as marked before the program ended"})
			case stage == mail.TurnedDown:
				e.result(row.Email, nil, mail.Reply{}, &mail.SendError{Class: mail.Permanent, Text: "turned down, as marked before the program ended"})
			case marked && stage == 0 || e.cfg.ResendUnconfirmed:
				row.Status, row.NextAttemptAt = automations.EmailQueued, now()
			default:
				e.result(row.Email, nil, mail.Reply{}, &mail.SendError{Class: mail.Unknown, Text: "the program ended while the mail was being sent: the mail server may have taken it"})
			}
			if err := tx.SaveEmail(row); err != nil {
				return err
			}
			if _, err := e.tellRun(tx, row.Email); err != nil {
				return err
			}
		}
		return nil
	})
}
