package storage

import (
	"bytes"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/opensend/opensend/automations"
)

// Webhook reads one webhook.
func (tx *Tx) Webhook(id automations.ID) (*automations.Webhook, error) {
	return record[automations.Webhook](tx, webhooksBucket, id[:])
}

// Webhooks lists webhooks.
func (tx *Tx) Webhooks(page Page) ([]*automations.Webhook, Rest, error) {
	return list[automations.Webhook](tx, webhooksBucket, nil, page, nil)
}

// SaveWebhook stores a new or changed webhook.
func (tx *Tx) SaveWebhook(w *automations.Webhook) error {
	tx.listeners = nil
	return tx.putRecord(webhooksBucket, w.ID[:], w)
}

// DeleteWebhook removes a webhook; ErrNotFound when there is none. Its
// deliveries are left to DropWebhookDeliveries.
func (tx *Tx) DeleteWebhook(id automations.ID) error {
	if _, err := tx.Webhook(id); err != nil {
		return err
	}
	tx.listeners = nil
	return tx.delete(webhooksBucket, id[:])
}

// listeners are the webhooks to be told of each type.
type listeners map[automations.NoticeType][]automations.ID

// listening names the webhooks to be told of a type, as this transaction sees
// them. They stay in memory from one transaction to the next until a webhook
// changes: without webhooks nothing is read. One that is damaged is told nothing
// and holds nobody up: Check tells of it.
func (tx *Tx) listening(kind automations.NoticeType) []automations.ID {
	if tx.listeners == nil {
		tx.listeners = tx.readListeners()
	}
	return tx.listeners[kind]
}

func (tx *Tx) readListeners() listeners {
	l := listeners{}
	tx.each(webhooksBucket, nil, func(key []byte) bool {
		w, err := tx.Webhook(automations.ID(key))
		if err != nil {
			return true
		}
		for _, kind := range w.Events {
			if w.Wants(kind) {
				l[kind] = append(l[kind], w.ID)
			}
		}
		return true
	})
	return l
}

// tell queues a notice for each webhook that wants its type. It is called where
// the thing itself is stored, so that one is never without the other.
func (tx *Tx) tell(kind automations.NoticeType, data func() map[string]any) error {
	ids := tx.listening(kind)
	if len(ids) == 0 {
		return nil
	}
	at := time.Now().UTC().Truncate(time.Millisecond)
	body, err := automations.EncodeJSON(automations.NewNotice(kind, at, data()))
	if err != nil {
		return err
	}
	for _, id := range ids {
		if _, err := tx.QueueNotice(id, kind, body, at); err != nil {
			return err
		}
	}
	return nil
}

// QueueNotice queues a notice for one webhook.
func (tx *Tx) QueueNotice(webhook automations.ID, kind automations.NoticeType, body []byte, now time.Time) (*automations.WebhookDelivery, error) {
	d := &automations.WebhookDelivery{ID: uuid.Must(uuid.NewV7()), WebhookID: webhook, Type: kind, Body: body, CreatedAt: now}
	d.Queue(now)
	return d, tx.SaveWebhookDelivery(&WebhookDeliveryRow{WebhookDelivery: d})
}

// WebhookDeliveryRow is a delivery to a webhook together with what the index
// says about it, so that SaveWebhookDelivery can keep them in step.
type WebhookDeliveryRow struct {
	*automations.WebhookDelivery
	dueAt time.Time // its place in webhook_due; zero when it has none
}

// WebhookDelivery reads one delivery to a webhook.
func (tx *Tx) WebhookDelivery(webhook, id automations.ID) (*WebhookDeliveryRow, error) {
	d, err := record[automations.WebhookDelivery](tx, webhookDeliveriesBucket, tuple(webhook, id))
	if err != nil {
		return nil, err
	}
	return &WebhookDeliveryRow{d, d.NextAttemptAt}, nil
}

// WebhookDeliveries lists the deliveries to a webhook; keep, when not nil,
// filters.
func (tx *Tx) WebhookDeliveries(webhook automations.ID, page Page, keep func(*automations.WebhookDelivery) bool) ([]*automations.WebhookDelivery, Rest, error) {
	return list(tx, webhookDeliveriesBucket, webhook[:], page, keep)
}

// SaveWebhookDelivery stores a changed delivery and moves its row in
// webhook_due. The commit wakes the loop that sends.
func (tx *Tx) SaveWebhookDelivery(row *WebhookDeliveryRow) error {
	if !row.dueAt.Equal(row.NextAttemptAt) {
		if !row.dueAt.IsZero() {
			if err := tx.delete(webhookDueBucket, tuple(row.WebhookID, row.dueAt, row.ID)); err != nil {
				return err
			}
		}
		if !row.NextAttemptAt.IsZero() {
			tx.noticed = true
			if err := tx.put(webhookDueBucket, tuple(row.WebhookID, row.NextAttemptAt, row.ID), nil); err != nil {
				return err
			}
		}
		row.dueAt = row.NextAttemptAt
	}
	return tx.putRecord(webhookDeliveriesBucket, tuple(row.WebhookID, row.ID), row.WebhookDelivery)
}

// WebhooksWithPending names the webhooks, deleted ones included, that have
// pending deliveries. It costs a step for each of them, not for each delivery.
func (tx *Tx) WebhooksWithPending() (ids []automations.ID) {
	c := tx.bucket(webhookDueBucket).Cursor()
	for k, _ := c.First(); k != nil; {
		id := automations.ID(k[:16])
		ids = append(ids, id)
		k, _ = c.Seek(append(id[:], bytes.Repeat([]byte{0xff}, 24)...))
	}
	return ids
}

// DueWebhookDeliveries names up to limit pending deliveries to a webhook whose
// next attempt is not after now, the longest overdue first, and when the next
// one after them is due: zero when none is.
func (tx *Tx) DueWebhookDeliveries(webhook automations.ID, now time.Time, limit int) (due []automations.ID, next time.Time) {
	next = tx.due(webhookDueBucket, webhook[:], now, limit, func(_ time.Time, rest []byte) { due = append(due, automations.ID(rest)) })
	return due, next
}

// DropWebhookDelivery removes what is due but cannot be delivered, because its
// webhook is gone or its record cannot be read.
func (tx *Tx) DropWebhookDelivery(webhook, id automations.ID) error {
	var due []byte
	tx.each(webhookDueBucket, webhook[:], func(key []byte) bool {
		if automations.ID(key[24:]) == id {
			due = bytes.Clone(key)
		}
		return due == nil
	})
	return errors.Join(tx.deleteAll(tx.bucket(webhookDueBucket), [][]byte{due}), tx.delete(webhookDeliveriesBucket, tuple(webhook, id)))
}

// DropWebhookDeliveries deletes up to limit deliveries to a webhook that is
// gone, and reports whether there may be more.
func (tx *Tx) DropWebhookDeliveries(webhook automations.ID, limit int) (more bool, err error) {
	var ids []automations.ID
	tx.each(webhookDeliveriesBucket, webhook[:], func(key []byte) bool {
		ids = append(ids, automations.ID(key[16:]))
		return len(ids) < limit
	})
	for _, id := range ids {
		row, err := tx.WebhookDelivery(webhook, id)
		if err == nil {
			err = tx.deleteWebhookDelivery(row)
		}
		if err != nil {
			return false, err
		}
	}
	return len(ids) == limit, nil
}

func (tx *Tx) deleteWebhookDelivery(row *WebhookDeliveryRow) error {
	if !row.dueAt.IsZero() {
		if err := tx.delete(webhookDueBucket, tuple(row.WebhookID, row.dueAt, row.ID)); err != nil {
			return err
		}
	}
	return tx.delete(webhookDeliveriesBucket, tuple(row.WebhookID, row.ID))
}

// eraseWebhookDelivery keeps of a notice that names the contact only what says
// nothing about it, and nothing of what was answered.
func eraseWebhookDelivery(tx *Tx, key []byte, of *Erasure) error {
	row, err := tx.WebhookDelivery(automations.ID(key[:16]), automations.ID(key[16:]))
	if err != nil || of.heir != (automations.ID{}) && bytes.Contains(row.Body, []byte(of.heir.String())) {
		return err
	}
	m := of.mention()
	if of.told(row.WebhookDelivery) {
		if row.Body, err = automations.EraseNotice(row.Body); err != nil {
			return err
		}
		row.Body = m.RedactJSON(row.Body) // the name of an event
	}
	for i := range row.Attempts {
		if attempt := &row.Attempts[i]; m.In(attempt.Response) {
			attempt.Response = ""
		}
		row.Attempts[i].Error = m.Redact(row.Attempts[i].Error)
	}
	return tx.SaveWebhookDelivery(row)
}
