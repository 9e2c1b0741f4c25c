package storage

import (
	"bytes"
	"slices"
	"time"

	"github.com/opensend/opensend/automations"
)

// AddDelivery stores a new event, and webhooks are told of it.
func (tx *Tx) AddDelivery(d *automations.Delivery) error {
	if err := tx.tell(automations.EventReceivedNotice, func() map[string]any { return automations.EventNotice(d) }); err != nil {
		return err
	}
	tx.tally(automations.TallyEvents, automations.ID{}, d.ReceivedAt, 1)
	if kind, ok := d.TallyOf(); ok {
		tx.tally(kind, automations.ID{}, d.ReceivedAt, 1)
	}
	return tx.putRecord(deliveriesBucket, d.ID[:], d)
}

// AddVerdict adds what was decided about a stored event later, unless that is
// known.
func (tx *Tx) AddVerdict(d *automations.Delivery, v automations.Verdict) error {
	if slices.ContainsFunc(d.Verdicts, func(k automations.Verdict) bool { return k.Reason == v.Reason && k.RunID == v.RunID }) {
		return nil
	}
	d.Verdicts = append(slices.DeleteFunc(d.Verdicts, func(k automations.Verdict) bool { return k.Reason == automations.Unmatched }), v)
	return tx.putRecord(deliveriesBucket, d.ID[:], d)
}

// Delivery reads one stored event.
func (tx *Tx) Delivery(id automations.ID) (*automations.Delivery, error) {
	return record[automations.Delivery](tx, deliveriesBucket, id[:])
}

// Deliveries lists stored events; keep, when not nil, filters.
func (tx *Tx) Deliveries(page Page, keep func(*automations.Delivery) bool) ([]*automations.Delivery, Rest, error) {
	return list(tx, deliveriesBucket, nil, page, keep)
}

// DeliveryFilter narrows a list of stored events; zero fields do not.
type DeliveryFilter struct {
	Event     string // exactly
	Email     string // normalised
	ContactID automations.ID
	Verdicts  []automations.Reason // at least one of them
	From, To  time.Time            // received not before, and before
}

// near reports, fast, whether a stored event may pass: false is certain.
func (f *DeliveryFilter) near(record []byte) bool {
	has := func(text string) bool { return bytes.Contains(record, []byte(text)) }
	return has(f.Event) && has(f.Email) &&
		(f.ContactID == automations.ID{} || bytes.Contains(record, f.ContactID[:])) &&
		(len(f.Verdicts) == 0 || slices.ContainsFunc(f.Verdicts, func(r automations.Reason) bool { return has(string(r)) }))
}

func (f *DeliveryFilter) match(d *automations.Delivery) bool {
	return (f.Event == "" || d.Event == f.Event) &&
		(f.Email == "" || d.Email == f.Email) &&
		(f.ContactID == automations.ID{} || d.ContactID == f.ContactID) &&
		(f.From.IsZero() || !d.ReceivedAt.Before(f.From)) &&
		(f.To.IsZero() || d.ReceivedAt.Before(f.To)) &&
		(len(f.Verdicts) == 0 || slices.ContainsFunc(d.Verdicts, func(v automations.Verdict) bool { return slices.Contains(f.Verdicts, v.Reason) }))
}

// FindDeliveries lists the stored events that pass a filter. What is older than
// its From is not even looked at.
func (tx *Tx) FindDeliveries(page Page, f DeliveryFilter) ([]*automations.Delivery, Rest, error) {
	page.Since = f.From
	return listNear(tx, deliveriesBucket, page, f.near, f.match)
}
