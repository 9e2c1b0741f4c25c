package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/mail"
	"github.com/opensend/opensend/storage"
)

const (
	sendGrace  = 30 * time.Second // for the mail in hand when the engine stops
	firstRetry = 30 * time.Second
	lastRetry  = time.Hour
)

// outbox hands queued mail to workers.
type outbox struct {
	engine *Engine
	slots  chan struct{} // one for each worker
	wg     sync.WaitGroup

	mu     sync.Mutex
	inHand map[automations.ID]bool // given to a worker; its row may still be in the outbox
}

// outboxLoop sends mail as it falls due. When ctx ends it takes no more and
// waits for what is in hand.
func (e *Engine) outboxLoop(ctx context.Context) error {
	o := &outbox{engine: e, slots: make(chan struct{}, e.cfg.Workers), inHand: map[automations.ID]bool{}}
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
			case o.slots <- struct{}{}:
			case <-ctx.Done():
				return nil
			}
			o.take(id)
			o.wg.Go(func() { o.work(sending, id) })
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
func (o *outbox) work(ctx context.Context, id automations.ID) {
	e := o.engine
	defer func() {
		o.mu.Lock()
		delete(o.inHand, id)
		o.mu.Unlock()
		<-o.slots
		kick(e.outboxKick)
	}()
	if err := e.deliver(ctx, id); err != nil {
		e.log.Error("sending mail", "email", id, "error", err)
		sleep(ctx, nil, time.Now().Add(time.Second)) // the mail is still in the outbox and comes round again
	}
}

// deliver takes one mail from queued to its result. Whatever is promised to
// the outside is committed before, and its outcome after: a crash in between
// leaves the mail in "sending", which recoverSending sorts out.
func (e *Engine) deliver(ctx context.Context, id automations.ID) error {
	m, err := e.prepare(id)
	if err != nil || m == nil {
		return err
	}
	if e.cfg.Sender == nil {
		return e.settle(id, m.content, func(email *automations.Email) {
			email.Status, email.SentAt = automations.EmailCaptured, now()
		})
	}
	claimed := false
	err = e.db.Update(func(tx *storage.Tx) error {
		row, err := tx.Email(id)
		if claimed = err == nil && row.Status == automations.EmailQueued; !claimed {
			return err
		}
		row.Status, row.UpdatedAt = automations.EmailSending, now()
		row.Attempts++
		return errors.Join(tx.SaveEmail(row), tx.SaveEmailContent(id, m.content))
	})
	if err != nil || !claimed {
		return err
	}
	reply, sendErr := e.cfg.Sender.Send(ctx, m.from, m.to, m.content.Message)
	return e.settle(id, nil, func(email *automations.Email) { e.result(email, reply, sendErr) })
}

// outgoing is a mail ready to leave.
type outgoing struct {
	from, to string
	content  *automations.EmailContent
}

// prepare composes a queued mail, once: later attempts send the same bytes. It
// returns nil when the mail is not to be sent any more.
func (e *Engine) prepare(id automations.ID) (*outgoing, error) {
	var email *automations.Email
	var content *automations.EmailContent
	var refused string
	err := e.db.View(func(tx *storage.Tx) error {
		row, err := tx.Email(id)
		if err != nil || row.Status != automations.EmailQueued {
			return err
		}
		email = row.Email
		if content, err = tx.EmailContent(id); err != nil {
			return err
		}
		refused, err = refusal(tx, email)
		return err
	})
	if err != nil || email == nil {
		return nil, err
	}
	if refused != "" {
		return nil, e.settle(id, nil, func(email *automations.Email) {
			email.Status, email.LastError = automations.EmailSuppressed, refused
		})
	}
	from, err := mail.ParseAddress(email.From)
	if err == nil && content.Message == nil {
		message := mail.Message{
			From: email.From, To: email.To, ReplyTo: email.ReplyTo, Subject: email.Subject,
			HTML: content.HTML, Text: content.Text, MessageID: email.MessageID, Date: now(),
		}
		content = &automations.EmailContent{}
		content.Message, err = message.Bytes()
	}
	if err != nil {
		return nil, e.settle(id, nil, func(email *automations.Email) {
			email.Status, email.LastError = automations.EmailFailed, err.Error()
		})
	}
	return &outgoing{from: from.Addr, to: email.To, content: content}, nil
}

// refusal says why a mail must not leave although it was queued: what has
// become true meanwhile counts. It is empty when nothing speaks against it.
func refusal(tx *storage.Tx, email *automations.Email) (string, error) {
	c, err := tx.Contact(email.ContactID)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return automations.CancelledContactDeleted, nil
	case err != nil:
		return "", err
	case c.Unsubscribed:
		return automations.SkippedUnsubscribed, nil
	case tx.Suppressed(email.To):
		return automations.SkippedSuppressed, nil
	}
	return "", nil
}

// settle records what became of a mail, and tells its run.
func (e *Engine) settle(id automations.ID, content *automations.EmailContent, change func(*automations.Email)) error {
	err := e.db.Update(func(tx *storage.Tx) error {
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
		return e.tellRun(tx, row.Email)
	})
	if err == nil {
		kick(e.wakeKick)
	}
	return err
}

// tellRun passes a mail's result on to the run that waits for it.
func (e *Engine) tellRun(tx *storage.Tx, email *automations.Email) error {
	row, err := tx.Run(email.Run)
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if err != nil || row.EmailID != email.ID {
		return err
	}
	row.Mailed(email, now())
	flow, err := e.flowOf(tx, row)
	if err != nil {
		return err
	}
	return saveRun(tx, row, flow)
}

// result sets a mail's status after an attempt.
func (e *Engine) result(email *automations.Email, reply mail.Reply, err error) {
	if err == nil {
		email.Status, email.SentAt = automations.EmailSent, now()
		email.LastReply, email.LastError = fmt.Sprintf("%d %s", reply.Code, reply.Text), ""
		return
	}
	email.LastError = err.Error()
	failure, _ := errors.AsType[*mail.SendError](err)
	switch {
	case failure != nil && failure.Class == mail.Permanent:
		email.Status = automations.EmailFailed
	case failure != nil && failure.Class == mail.Unknown && !e.cfg.ResendUnconfirmed:
		email.Status = automations.EmailUnconfirmed
	default:
		e.retryLater(email)
	}
	e.log.Warn("mail not sent", "email", email.ID, "status", email.Status, "attempt", email.Attempts, "error", email.LastError)
}

// retryLater queues a mail again: after half a minute, then twice as long each
// time up to an hour, each spread by a quarter so that a recovering server is
// not met by everything at once.
func (e *Engine) retryLater(email *automations.Email) {
	wait := min(firstRetry<<min(email.Attempts-1, 10), lastRetry)
	wait += time.Duration(rand.Int64N(int64(wait / 4)))
	at := now().Add(wait)
	if at.Sub(email.CreatedAt) > e.cfg.RetryFor {
		email.Status = automations.EmailFailed
		email.LastError = fmt.Sprintf("given up after %d attempts: %s", email.Attempts, email.LastError)
		return
	}
	email.Status, email.NextAttemptAt = automations.EmailQueued, at
}

// recoverSending sorts out the mail that a process which is gone had in hand:
// its server may have taken it.
func (e *Engine) recoverSending() error {
	return e.db.Update(func(tx *storage.Tx) error {
		for _, id := range tx.SendingEmails() {
			row, err := tx.Email(id)
			if err != nil {
				return err
			}
			row.UpdatedAt = now()
			row.LastError = "the program ended while the mail was being sent: the mail server may have taken it"
			row.Status = automations.EmailUnconfirmed
			if e.cfg.ResendUnconfirmed {
				row.Status, row.NextAttemptAt = automations.EmailQueued, now()
			}
			if err := tx.SaveEmail(row); err != nil {
				return err
			}
		}
		return nil
	})
}
