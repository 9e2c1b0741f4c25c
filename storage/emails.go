package storage

import (
	"bytes"
	"errors"
	"time"

	"github.com/opensend/opensend/automations"
)

// EmailRow is a mail together with what the indexes say about it, so that
// SaveEmail can keep them in step.
type EmailRow struct {
	*automations.Email
	queuedAt time.Time // its place in outbox; zero when it has none
	sending  bool      // it has a row in sending
	status   automations.EmailStatus
}

// Email reads one mail without its content.
func (tx *Tx) Email(id automations.ID) (*EmailRow, error) {
	e, err := record[automations.Email](tx, emailsBucket, id[:])
	if err != nil {
		return nil, err
	}
	row := &EmailRow{Email: e, sending: e.Status == automations.EmailSending, status: e.Status}
	if e.Status == automations.EmailQueued {
		row.queuedAt = e.NextAttemptAt
	}
	return row, nil
}

// InsertEmail stores a new mail and its content.
func (tx *Tx) InsertEmail(e *automations.Email, content *automations.EmailContent) error {
	return errors.Join(tx.SaveEmail(&EmailRow{Email: e}), tx.SaveEmailContent(e.ID, content))
}

// SaveEmail stores a changed mail and moves its row between outbox and sending
// as its status says: queued mail is in outbox at NextAttemptAt. Webhooks are
// told of a new status.
func (tx *Tx) SaveEmail(row *EmailRow) error {
	var queuedAt time.Time
	if row.Status == automations.EmailQueued {
		queuedAt = row.NextAttemptAt
	}
	if !queuedAt.Equal(row.queuedAt) {
		if !row.queuedAt.IsZero() {
			if err := tx.delete(outboxBucket, tuple(row.queuedAt, row.ID)); err != nil {
				return err
			}
		}
		if !queuedAt.IsZero() {
			if err := tx.put(outboxBucket, tuple(queuedAt, row.ID), nil); err != nil {
				return err
			}
		}
		row.queuedAt = queuedAt
	}
	if sending := row.Status == automations.EmailSending; sending != row.sending {
		change := tx.delete
		if sending {
			change = func(b bucket, key []byte) error { return tx.put(b, key, nil) }
		}
		if err := change(sendingBucket, row.ID[:]); err != nil {
			return err
		}
		row.sending = sending
	}
	if err := tx.tellEmail(row); err != nil {
		return err
	}
	return tx.putRecord(emailsBucket, row.ID[:], row.Email)
}

func (tx *Tx) tellEmail(row *EmailRow) error {
	was := row.status
	row.status = row.Status
	if row.Alert {
		return nil
	}
	kind := automations.EmailNoticeType(row.Status)
	if was == "" && row.Status == automations.EmailQueued && !row.ScheduledAt.IsZero() {
		kind = automations.EmailScheduledNotice
	}
	if tally, ok := row.Status.Tally(); ok && was != row.Status {
		tx.tally(tally, automations.ID{}, row.UpdatedAt, 1)
	}
	if was == row.Status || kind == "" {
		return nil
	}
	return tx.tell(kind, func() map[string]any { return automations.EmailNotice(kind, row.Email) })
}

// Emails lists mails; keep, when not nil, filters.
func (tx *Tx) Emails(page Page, keep func(*automations.Email) bool) ([]*automations.Email, Rest, error) {
	return list(tx, emailsBucket, nil, page, keep)
}

// EmailsTo shows the newest mails for an address, given as its identity, until
// show returns false. It looks at no more than rows mails in all.
func (tx *Tx) EmailsTo(identity string, rows int, show func(*automations.Email) bool) error {
	c := tx.bucket(emailsBucket).Cursor()
	for key, value := c.Last(); key != nil && rows > 0; key, value = c.Prev() {
		rows--
		if !bytes.Contains(value, []byte(identity)) {
			continue
		}
		row, err := tx.Email(automations.ID(key))
		if err != nil {
			return err
		}
		if row.Names(identity) && !show(row.Email) {
			return nil
		}
	}
	return nil
}

// EmailContent reads the content of a mail.
func (tx *Tx) EmailContent(id automations.ID) (*automations.EmailContent, error) {
	return record[automations.EmailContent](tx, emailContentsBucket, id[:])
}

// SaveEmailContent stores the content of a mail.
func (tx *Tx) SaveEmailContent(id automations.ID, c *automations.EmailContent) error {
	return tx.putRecord(emailContentsBucket, id[:], c)
}

// DueEmails names up to limit queued mails whose next attempt is not after
// now, the longest overdue first, and when the next one after them is due:
// zero when none is.
func (tx *Tx) DueEmails(now time.Time, limit int) (due []automations.ID, next time.Time) {
	next = tx.due(outboxBucket, nil, now, limit, func(_ time.Time, rest []byte) { due = append(due, automations.ID(rest)) })
	return due, next
}

// SendingEmails names the mails in the hands of workers: after a start, those
// of a process that is gone.
func (tx *Tx) SendingEmails() (ids []automations.ID) {
	tx.each(sendingBucket, nil, func(key []byte) bool {
		ids = append(ids, automations.ID(key))
		return true
	})
	return ids
}
