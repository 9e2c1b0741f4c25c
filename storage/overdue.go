package storage

import (
	"bytes"
	"slices"
	"time"

	"github.com/opensend/opensend/automations"
)

// Overdue is what of a held file fell due while it lay elsewhere: what its
// original may have done already.
type Overdue struct {
	Runs    int       `json:"runs"`    // due to go on
	Emails  int       `json:"emails"`  // queued, and due or tried before
	Notices int       `json:"notices"` // to webhooks, pending
	Oldest  time.Time `json:"oldest,omitzero"`
	// Automations are the runs and mails by automation, the one with most first.
	Automations []OverdueAutomation `json:"automations"`
}

// OverdueAutomation is one automation's part of what fell due.
type OverdueAutomation struct {
	ID     automations.ID `json:"id"`
	Name   string         `json:"name"` // empty when it was deleted
	Runs   int            `json:"runs"`
	Emails int            `json:"emails"`
}

// None reports whether nothing fell due.
func (o *Overdue) None() bool { return o.Runs == 0 && o.Emails == 0 && o.Notices == 0 }

// OverdueEmails names the queued mails of a held file that were to leave before
// now and are older than its being held. One that cannot be read is left out, for
// Check to tell of: it must not keep the others held.
func (tx *Tx) OverdueEmails(h *Held, now time.Time) (ids []automations.ID) {
	tx.each(outboxBucket, nil, func(key []byte) bool {
		at, rest := splitTime(key)
		id := automations.ID(rest)
		e, err := tx.Email(id)
		if err == nil && e.CreatedAt.Before(h.Since) && (!at.After(now) || e.Attempts > 0) {
			ids = append(ids, id)
		}
		return true
	})
	return ids
}

// NoticeRef names a delivery to a webhook.
type NoticeRef struct{ Webhook, ID automations.ID }

// OverdueNotices names the pending deliveries to webhooks that can be read and
// are older than the file's being held.
func (tx *Tx) OverdueNotices(h *Held) (refs []NoticeRef) {
	tx.each(webhookDueBucket, nil, func(key []byte) bool {
		ref := NoticeRef{automations.ID(key[:16]), automations.ID(key[24:])}
		d, err := tx.WebhookDelivery(ref.Webhook, ref.ID)
		if err == nil && d.CreatedAt.Before(h.Since) {
			refs = append(refs, ref)
		}
		return true
	})
	return refs
}

// Overdue counts what fell due.
func (tx *Tx) Overdue(h *Held, now time.Time) (*Overdue, error) {
	o := &Overdue{Automations: []OverdueAutomation{}}
	of := map[automations.ID]*OverdueAutomation{}
	part := func(id automations.ID) *OverdueAutomation {
		if of[id] == nil {
			of[id] = &OverdueAutomation{ID: id}
		}
		return of[id]
	}
	older := func(at time.Time) {
		if o.Oldest.IsZero() || at.Before(o.Oldest) {
			o.Oldest = at
		}
	}
	tx.each(wakesBucket, nil, func(key []byte) bool {
		at, rest := splitTime(key)
		if !at.Before(h.Since) {
			return false
		}
		o.Runs++
		part(automations.ID(rest)).Runs++
		older(at)
		return true
	})
	for _, id := range tx.OverdueEmails(h, now) {
		e, err := tx.Email(id)
		if err != nil {
			return nil, err
		}
		o.Emails++
		older(e.NextAttemptAt)
		if e.Run.WorkflowID != (automations.ID{}) {
			part(e.Run.WorkflowID).Emails++
		}
	}
	o.Notices = len(tx.OverdueNotices(h))
	for id, p := range of {
		if w, err := tx.Workflow(id); err == nil {
			p.Name = w.Name
		}
		o.Automations = append(o.Automations, *p)
	}
	slices.SortFunc(o.Automations, func(a, b OverdueAutomation) int {
		if n := b.Runs + b.Emails - a.Runs - a.Emails; n != 0 {
			return n
		}
		return bytes.Compare(a.ID[:], b.ID[:])
	})
	return o, nil
}
