package engine

import (
	"context"
	"errors"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// dropped is the reason of a mail that was not sent because its file is a copy.
const dropped = "fell due while the file was away; dropped when it was resumed"

// Held tells why nothing moves; nil when everything does. While the file is held
// events are accepted, and runs start and wait: no run goes on, no mail leaves and
// no webhook is told. See [storage.DB.Claim] for when that is.
func (e *Engine) Held() *storage.Held { return e.held.Load() }

// begin reads whether the file is held.
func (e *Engine) begin() error {
	var held *storage.Held
	err := e.db.View(func(tx *storage.Tx) (err error) {
		held, err = tx.Held()
		return err
	})
	if err != nil {
		return err
	}
	if e.held.Store(held); held == nil {
		close(e.released)
	}
	return nil
}

// unheld is a loop that begins when the file is not held any more.
func (e *Engine) unheld(loop func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return nil
		case <-e.released:
			return loop(ctx)
		}
	}
}

// Overdue counts what fell due while the file was away; everything is zero when
// it is not held.
func (e *Engine) Overdue() (o *storage.Overdue, err error) {
	held := e.Held()
	if held == nil {
		return &storage.Overdue{Automations: []storage.OverdueAutomation{}}, nil
	}
	err = e.db.View(func(tx *storage.Tx) error {
		o, err = tx.Overdue(held, now())
		return err
	})
	return o, err
}

// Resume ends that the file is held, and returns what had fallen due. With drop
// none of that is sent: mails and notices are given up, and runs go on without the
// mail that they would have sent by now. Otherwise all of it is sent, late. An
// *automations.Error of KindConflict says that the file is not held.
func (e *Engine) Resume(drop bool, notes ...Note) (*storage.Overdue, error) {
	e.resuming.Lock()
	defer e.resuming.Unlock()
	held := e.Held()
	if held == nil {
		return nil, automations.Errorf(automations.KindConflict, "not_held", "nothing is held; there is nothing to resume")
	}
	o, err := e.Overdue()
	if err != nil {
		return nil, err
	}
	if drop {
		err = errors.Join(e.dropEmails(held, notes), e.dropNotices(held, notes), e.catchUp(held, notes))
	}
	if err != nil {
		return nil, err
	}
	if err := e.update(notes, func(tx *storage.Tx) error { return tx.Release() }); err != nil {
		return nil, err
	}
	e.held.Store(nil)
	close(e.released)
	kick(e.eraseKick)
	e.log.Info("resumed", "dropped", drop, "runs", o.Runs, "emails", o.Emails, "notices", o.Notices)
	return o, nil
}

// inBatches changes many things in transactions of a bounded size.
func inBatches[T any](e *Engine, notes []Note, all []T, change func(*storage.Tx, T) error) error {
	for len(all) > 0 {
		batch := all[:min(wakeBatch, len(all))]
		err := e.update(notes, func(tx *storage.Tx) error {
			for _, one := range batch {
				if err := change(tx, one); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		all = all[len(batch):]
	}
	return nil
}

// dropEmails gives up the mails that fell due, and moves their runs on.
func (e *Engine) dropEmails(held *storage.Held, notes []Note) error {
	var ids []automations.ID
	err := e.db.View(func(tx *storage.Tx) error {
		ids = tx.OverdueEmails(held, now())
		return nil
	})
	if err != nil {
		return err
	}
	return inBatches(e, notes, ids, func(tx *storage.Tx, id automations.ID) error {
		row, err := tx.Email(id)
		if err != nil || row.Status != automations.EmailQueued {
			return err
		}
		if err := e.dropEmail(tx, row); err != nil || row.Run == (automations.RunRef{}) {
			return err
		}
		run, err := tx.Run(row.Run)
		if errors.Is(err, storage.ErrNotFound) {
			return nil
		}
		if err != nil || run.WakeAt.IsZero() {
			return err
		}
		return e.catchUpRun(tx, storage.Wake{At: run.WakeAt, Ref: row.Run})
	})
}

// dropEmail gives up one mail, and tells its run.
func (e *Engine) dropEmail(tx *storage.Tx, row *storage.EmailRow) error {
	row.Status, row.LastError, row.UpdatedAt = automations.EmailCancelled, dropped, now()
	if row.Run != (automations.RunRef{}) {
		row.Status = automations.EmailSuppressed
	}
	if err := tx.SaveEmail(row); err != nil {
		return err
	}
	_, err := e.tellRun(tx, row.Email)
	return err
}

func (e *Engine) dropNotices(held *storage.Held, notes []Note) error {
	var refs []storage.NoticeRef
	err := e.db.View(func(tx *storage.Tx) error {
		refs = tx.OverdueNotices(held)
		return nil
	})
	if err != nil {
		return err
	}
	return inBatches(e, notes, refs, func(tx *storage.Tx, ref storage.NoticeRef) error {
		row, err := tx.WebhookDelivery(ref.Webhook, ref.ID)
		if err != nil || row.Status != automations.NoticePending {
			return err
		}
		row.Fail(dropped)
		return tx.SaveWebhookDelivery(row)
	})
}

// catchUp moves the runs that fell due to where they wait for something that is
// still to come.
func (e *Engine) catchUp(held *storage.Held, notes []Note) error {
	for {
		until := held.Since.Add(-time.Millisecond)
		if at := now(); at.Before(until) { // the clock was set back since
			until = at
		}
		var due []storage.Wake
		err := e.update(notes, func(tx *storage.Tx) error {
			due, _ = tx.DueRuns(until, wakeBatch)
			for _, wake := range due {
				if err := e.catchUpRun(tx, wake); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || len(due) == 0 {
			return err
		}
	}
}

// catchUpRun advances a run until it waits, without the mail it would send.
func (e *Engine) catchUpRun(tx *storage.Tx, wake storage.Wake) error {
	defs := e.definitionsOf(tx)
	for at := now(); ; {
		if _, _, err := e.advanceRun(tx, defs, wake, at); err != nil {
			return err
		}
		run, err := tx.Run(wake.Ref)
		if _, damaged := errors.AsType[*storage.CorruptError](err); damaged || errors.Is(err, storage.ErrNotFound) {
			return nil // set aside
		}
		if err == nil && run.EmailID != (automations.ID{}) {
			var email *storage.EmailRow
			if email, err = tx.Email(run.EmailID); err == nil && email.Status == automations.EmailQueued {
				err = e.dropEmail(tx, email)
			}
			if err == nil {
				run, err = tx.Run(wake.Ref)
			}
		}
		if err != nil || run.WakeAt.IsZero() || run.WakeAt.After(now()) {
			return err
		}
		wake.At = run.WakeAt
	}
}
