package storage

import (
	"bytes"

	"github.com/opensend/opensend/automations"
)

// Person is whom records are about.
type Person struct {
	ContactID automations.ID `json:"contact_id"` // zero, or one that nothing has, when no contact has the address
	Email     string         `json:"email"`      // normalised, never empty
}

func (p Person) mention() automations.Mention { return automations.NewMention(p.Email) }

func (p Person) is(contact automations.ID) bool {
	return contact == p.ContactID && contact != automations.ID{}
}

func (p Person) has(d *automations.Delivery) bool { return p.is(d.ContactID) || d.Email == p.Email }

func (p Person) gets(e *automations.Email) bool { return p.is(e.ContactID) || e.Names(p.Email) }

// told reports whether a notice names the person.
func (p Person) told(d *automations.WebhookDelivery) bool {
	return p.ContactID != automations.ID{} && bytes.Contains(d.Body, []byte(p.ContactID.String())) || p.mention().InJSON(d.Body)
}

// near reports, fast, whether a stored record may name the person: false is
// certain. Content of mail does not tell.
func (p Person) near() func(record []byte) bool {
	raw, id, address := p.ContactID[:], []byte(p.ContactID.String()), p.mention()
	return func(record []byte) bool {
		return bytes.Contains(record, raw) || bytes.Contains(record, id) || address.Near(record)
	}
}

// RecentDeliveriesOf lists the events of a person, newest first.
func (tx *Tx) RecentDeliveriesOf(p Person, page Page) ([]*automations.Delivery, Rest, error) {
	near := func(record []byte) bool {
		return bytes.Contains(record, p.ContactID[:]) || bytes.Contains(record, []byte(p.Email))
	}
	return listNear(tx, deliveriesBucket, page, near, p.has)
}

// RecentEmailsOf lists the mail of a person, newest first.
func (tx *Tx) RecentEmailsOf(p Person, page Page) ([]*automations.Email, Rest, error) {
	return listNear(tx, emailsBucket, page, p.near(), p.gets)
}

// DeliveriesOf reads the events of a person among the next rows, oldest first,
// from where next of the call before says; next is nil at the end. It finds
// them by looking at everything.
func (tx *Tx) DeliveriesOf(p Person, from []byte, rows int) (found []*automations.Delivery, next []byte, err error) {
	return recordsOf(tx, deliveriesBucket, p, from, rows, p.has)
}

// RunsOf is DeliveriesOf for runs.
func (tx *Tx) RunsOf(p Person, from []byte, rows int) (found []*automations.Run, next []byte, err error) {
	return recordsOf(tx, runsBucket, p, from, rows, func(r *automations.Run) bool { return p.is(r.ContactID) })
}

// EmailsOf is DeliveriesOf for mail.
func (tx *Tx) EmailsOf(p Person, from []byte, rows int) (found []*automations.Email, next []byte, err error) {
	return recordsOf(tx, emailsBucket, p, from, rows, p.gets)
}

// WebhookDeliveriesOf is DeliveriesOf for what webhooks are told.
func (tx *Tx) WebhookDeliveriesOf(p Person, from []byte, rows int) (found []*automations.WebhookDelivery, next []byte, err error) {
	return recordsOf(tx, webhookDeliveriesBucket, p, from, rows, p.told)
}

func recordsOf[T any](tx *Tx, b bucket, p Person, from []byte, rows int, own func(*T) bool) (found []*T, next []byte, err error) {
	keys, next := tx.naming(b, from, rows, p)
	for _, key := range keys {
		r, err := record[T](tx, b, key)
		if err != nil {
			return nil, nil, err
		}
		if own(r) {
			found = append(found, r)
		}
	}
	return found, next, nil
}

// lookedBytes is how much one transaction looks at, whatever the number of rows:
// the content of one mail can be as large as that of a thousand others.
const lookedBytes = 8 << 20

// naming finds, in the next rows of a bucket, those that may name the contact
// or the address, and where to go on: nil at the end. The content of mail has
// to be read to know.
func (tx *Tx) naming(b bucket, from []byte, rows int, p Person) (keys [][]byte, next []byte) {
	near := p.near()
	c, size := tx.bucket(b).Cursor(), 0
	for k, v := c.Seek(from); k != nil; k, v = c.Next() {
		if rows == 0 || size >= lookedBytes {
			return keys, bytes.Clone(k)
		}
		rows, size = rows-1, size+len(v)
		if b == emailContentsBucket || near(v) {
			keys = append(keys, bytes.Clone(k))
		}
	}
	return keys, nil
}
