package engine

import (
	"errors"
	"slices"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/mail"
	"github.com/opensend/opensend/storage"
)

// What a person decides about a mail that the program leaves alone. Each of
// these returns the mail, or an *automations.Error of KindConflict that says
// why it is not to be had.

// ResendEmail sends an unconfirmed or failed mail again, the same bytes. The
// run that waits for the mail, or failed because of it, goes on when it is
// settled.
func (e *Engine) ResendEmail(id automations.ID, notes ...Note) (*automations.Email, error) {
	var run automations.RunRef
	err := e.db.View(func(tx *storage.Tx) error {
		row, err := tx.Email(id)
		if err == nil {
			run = row.Run
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	m := e.missedBy(run)
	return e.decide(id, notes, func(tx *storage.Tx, email *automations.Email) error {
		if email.Status != automations.EmailUnconfirmed && email.Status != automations.EmailFailed {
			return automations.Errorf(automations.KindConflict, "email_not_resendable", "the mail is %s; only unconfirmed and failed mail can be sent again", email.Status)
		}
		email.Settled = slices.DeleteFunc(email.Settled, func(s automations.Settled) bool { return s.Status != automations.EmailSent })
		if err := e.canLeave(tx, email); err != nil {
			return err
		}
		if err := e.awaitAgain(tx, email, m); err != nil {
			return err
		}
		queueNow(email)
		return nil
	})
}

// ReleaseEmail sends a captured mail for real, as it was captured. Its run went
// on when it was captured, and hears no more of it.
func (e *Engine) ReleaseEmail(id automations.ID, notes ...Note) (*automations.Email, error) {
	return e.decide(id, notes, func(tx *storage.Tx, email *automations.Email) error {
		if email.Status != automations.EmailCaptured {
			return automations.Errorf(automations.KindConflict, "email_not_captured", "the mail is %s; only captured mail can be released", email.Status)
		}
		if err := e.canLeave(tx, email); err != nil {
			return err
		}
		if email.Captures() { // it was not counted when it was asked for
			email.Released = true
			if err := e.quotaFor(tx, email, now()); err != nil {
				return err
			}
		}
		queueNow(email)
		email.SentAt, email.Settled = time.Time{}, nil // nobody has got it; who must not is found out again
		return nil
	})
}

// ConfirmEmail settles an unconfirmed mail as sent: a person knows that it
// arrived.
func (e *Engine) ConfirmEmail(id automations.ID, notes ...Note) (*automations.Email, error) {
	return e.decide(id, notes, func(tx *storage.Tx, email *automations.Email) error {
		if email.Status != automations.EmailUnconfirmed {
			return automations.Errorf(automations.KindConflict, "email_not_unconfirmed", "the mail is %s; only unconfirmed mail can be confirmed", email.Status)
		}
		left := email.UpdatedAt
		e.taken(email, email.Recipients(), mail.Reply{Code: 250, Text: "taken, as a person has confirmed"})
		email.SentAt = left
		_, err := e.tellRun(tx, email)
		return err
	})
}

// decide changes a mail and stores it.
func (e *Engine) decide(id automations.ID, notes []Note, change func(*storage.Tx, *automations.Email) error) (*automations.Email, error) {
	var row *storage.EmailRow
	err := e.update(notes, func(tx *storage.Tx) (err error) {
		if row, err = tx.Email(id); err != nil {
			return err
		}
		if err := change(tx, row.Email); err != nil {
			return err
		}
		row.UpdatedAt = now()
		return tx.SaveEmail(row)
	})
	if err != nil {
		return nil, err
	}
	kick(e.wakeKick)
	kick(e.outboxKick)
	return row.Email, nil
}

// canLeave says what keeps any mail, or this one, from being sent.
func (e *Engine) canLeave(tx *storage.Tx, email *automations.Email) error {
	if e.cfg.Sender == nil {
		return automations.Errorf(automations.KindConflict, "smtp_not_configured", "no mail server is configured; set smtp.host in config.yaml, start the server again and try once more")
	}
	_, err := tx.EmailContent(email.ID)
	if errors.Is(err, storage.ErrNotFound) {
		return automations.Errorf(automations.KindConflict, "email_erased", "the mail was erased when its contact was deleted; nothing is left to send")
	}
	return err
}

// awaitAgain makes the run of a mail wait for it. A run that has gone its way
// without it must not: it may have sent the mail's successor. Nor must one whose
// automation was deleted.
func (e *Engine) awaitAgain(tx *storage.Tx, email *automations.Email, m missed) error {
	row, err := tx.Run(email.Run)
	if errors.Is(err, storage.ErrNotFound) { // none, or its time to be kept is over
		return nil
	}
	if err != nil {
		return err
	}
	defs := e.definitionsOf(tx)
	switch {
	case !defs.exists[row.WorkflowID]:
		return automations.Errorf(automations.KindConflict, "email_automation_deleted", "the automation of the mail was deleted; its mail is not sent again")
	case row.EmailID == email.ID:
		return nil
	case !row.AwaitAgain(email, now()):
		return automations.Errorf(automations.KindConflict, "email_run_gone_on", "the run of the mail has gone on without it and is %s; see the run %s", row.Status, row.ID)
	}
	flow, err := defs.flow(tx, row.WorkflowID, row.Revision)
	if err != nil {
		return err
	}
	return e.goOn(tx, row, flow, m)
}

// queueNow makes a mail due, with all the time to be tried in again.
func queueNow(email *automations.Email) {
	email.Status, email.TriedSince, email.NextAttemptAt = automations.EmailQueued, time.Time{}, now()
}
