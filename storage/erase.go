package storage

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"

	"github.com/opensend/opensend/automations"
)

// erasedReason replaces words that may hold personal data.
const erasedReason = "contact_deleted"

// Erasure is the unfinished removal of what the file says about an address: of
// a deleted contact, or of nobody. What is about others and names the address
// stays without it; their mail that does goes. Definitions, which the operator
// wrote, are left alone. It walks through the stages in small transactions, so that nobody
// waits for it, and goes on from Next after a restart.
type Erasure struct {
	Person
	Began time.Time `json:"began,omitzero"` // what comes in later is not meant
	Stage int       `json:"stage"`
	Next  []byte    `json:"next,omitempty"`

	now  time.Time
	heir automations.ID // the contact that has the address by now, if any: another one
}

// eraseStages are the buckets with records of contacts: what others are made
// from comes before them, so that nothing takes the address along meanwhile.
var eraseStages = [...]struct {
	bucket bucket
	erase  func(tx *Tx, key []byte, of *Erasure) error
}{
	{contactsBucket, eraseFromContact},
	{deliveriesBucket, eraseDelivery},
	{runsBucket, eraseRun},
	{emailsBucket, eraseEmail},
	{emailContentsBucket, eraseContent},
	{webhookDeliveriesBucket, eraseWebhookDelivery},
}

// EraseSome looks at up to rows further rows for the oldest unfinished erasure
// and reports whether there is more to do. Records that are damaged are passed
// over: Check tells of them.
func (tx *Tx) EraseSome(now time.Time, rows int) (more bool, err error) {
	key, of := tx.oldestErasure()
	if of == nil {
		return false, nil
	}
	of.now = now
	if of.heir, err = tx.ContactID(of.Email); err != nil && !errors.Is(err, ErrNotFound) && !isDamage(err) {
		return false, err
	}
	if of.Stage == len(eraseStages) {
		if of.Next, err = tx.dropAnswersNaming(of, rows); err != nil {
			return false, err
		}
		if of.Next != nil {
			return true, tx.putRecord(erasuresBucket, key, of)
		}
		return true, errors.Join(tx.eraseSuppressed(of), tx.delete(erasuresBucket, key))
	}
	if of.Stage == 0 && of.Next == nil {
		if more, err := tx.dropWaitsOf(of.ContactID, rows); more || err != nil {
			return more, err
		}
	}
	keys, next := tx.naming(eraseStages[of.Stage].bucket, of.Next, rows, of.Person)
	for _, k := range keys {
		if err := eraseStages[of.Stage].erase(tx, k, of); err != nil && !isDamage(err) {
			return false, err
		}
	}
	if of.Next = next; next == nil {
		of.Stage++
	}
	return true, tx.putRecord(erasuresBucket, key, of)
}

// oldestErasure is the first that can be read; nil when there is none.
func (tx *Tx) oldestErasure() (key []byte, of *Erasure) {
	tx.each(erasuresBucket, nil, func(k []byte) bool {
		key = bytes.Clone(k)
		of, _ = record[Erasure](tx, erasuresBucket, key)
		return of == nil
	})
	return key, of
}

// spares reports whether a record is none of the erasure's: one of the contact
// that has the address by now, or one that came in, at the time, after the
// erasure began. What is made from other records has no such time, and what has
// one to come is from when the clock was ahead.
func (of *Erasure) spares(contact automations.ID, at time.Time) bool {
	return contact == of.heir && contact != automations.ID{} || !of.Began.IsZero() && at.After(of.Began) && !at.After(of.now)
}

// namedIn reports whether a record has the address in one of its texts.
func (of *Erasure) namedIn(record any) (bool, error) {
	raw, err := json.Marshal(record)
	return err == nil && of.mention().InJSON(raw), err
}

// EraseAddress deletes the contact with a normalised address, or when there is
// none notes that the address is to be erased, under an id that nothing has.
// An erasure of it that is not finished goes on.
func (tx *Tx) EraseAddress(email string, id automations.ID) error {
	contact, err := tx.ContactID(email)
	if err == nil {
		return tx.DeleteContact(contact)
	}
	if !errors.Is(err, ErrNotFound) {
		return err
	}
	erasure, at := newErasure(Person{id, email}), id[:]
	tx.each(erasuresBucket, nil, func(key []byte) bool {
		of, err := record[Erasure](tx, erasuresBucket, key)
		if err == nil && of.Email == email {
			of.Began = erasure.Began
			erasure, at = of, bytes.Clone(key)
		}
		return true
	})
	return tx.putRecord(erasuresBucket, at, erasure)
}

func newErasure(of Person) *Erasure {
	return &Erasure{Person: of, Began: time.Now().UTC()}
}

// dropWaitsOf drops up to limit waits of a contact, and reports whether there may
// be more.
func (tx *Tx) dropWaitsOf(contact automations.ID, limit int) (more bool, err error) {
	var keys [][]byte
	tx.each(waitsBucket, contact[:], func(key []byte) bool {
		keys = append(keys, bytes.Clone(key))
		return len(keys) < limit
	})
	return len(keys) == limit, tx.deleteAll(tx.bucket(waitsBucket), keys)
}

func eraseRun(tx *Tx, key []byte, of *Erasure) error {
	ref, _ := splitRef(key)
	row, err := tx.Run(ref)
	if err != nil {
		return err
	}
	if row.ContactID != of.ContactID {
		return redactRun(tx, row, of)
	}
	if !row.Status.Final() {
		row.Cancel(erasedReason, of.now)
	}
	if row.FailureReason != "" {
		row.FailureReason = erasedReason
	}
	for _, step := range row.Steps {
		step.Output, step.Error = nil, ""
	}
	for _, id := range tx.Arrivals(ref) {
		if err := tx.DropArrival(ref, id); err != nil {
			return err
		}
	}
	return tx.SaveRun(row)
}

// redactRun takes the address out of what somebody else's run has seen.
func redactRun(tx *Tx, row *RunRow, of *Erasure) error {
	if named, err := of.namedIn(row.Run); !named || err != nil || of.spares(row.ContactID, time.Time{}) {
		return err
	}
	m := of.mention()
	row.FailureReason = m.Redact(row.FailureReason)
	for _, step := range row.Steps {
		step.Output, step.Error = m.RedactJSON(step.Output), m.Redact(step.Error)
	}
	return tx.SaveRun(row)
}

func eraseEmail(tx *Tx, key []byte, of *Erasure) error {
	row, err := tx.Email(automations.ID(key))
	if err != nil {
		return err
	}
	if of.sparesEmail(row) {
		return nil
	}
	if !of.gets(row.Email) {
		if named, err := of.namedIn(row.Email); !named || err != nil {
			return err
		}
		return dropEmailContent(tx, row, of)
	}
	row.To, row.CC, row.BCC, row.ReplyTo, row.Tags, row.Settled, row.Reports = nil, nil, nil, nil, nil, nil, nil
	row.Subject, row.LastReply = "", ""
	return dropEmailContent(tx, row, of)
}

// sparesEmail is spares for mail: that of a run is made from other records.
func (of *Erasure) sparesEmail(row *EmailRow) bool {
	askedAt := row.CreatedAt
	if row.Run != (automations.RunRef{}) {
		askedAt = time.Time{}
	}
	return of.spares(row.ContactID, askedAt)
}

// eraseContent looks into mail to others.
func eraseContent(tx *Tx, key []byte, of *Erasure) error {
	content, err := tx.EmailContent(automations.ID(key))
	if err != nil || !of.mention().InContent(content) {
		return err
	}
	row, err := tx.Email(automations.ID(key))
	if errors.Is(err, ErrNotFound) {
		return tx.delete(emailContentsBucket, key)
	}
	if err != nil || of.sparesEmail(row) {
		return err
	}
	return dropEmailContent(tx, row, of)
}

// dropEmailContent erases what a mail says and keeps it from leaving. Whoever
// else it was for stays named.
func dropEmailContent(tx *Tx, row *EmailRow, of *Erasure) error {
	switch row.Status {
	case automations.EmailQueued, automations.EmailSending, automations.EmailUnconfirmed:
		row.Status = automations.EmailSuppressed
	}
	m := of.mention()
	row.From, row.Subject, row.LastReply = m.Redact(row.From), m.Redact(row.Subject), m.Redact(row.LastReply)
	for _, list := range [][]string{row.To, row.CC, row.BCC, row.ReplyTo} {
		for i := range list {
			list[i] = m.Redact(list[i])
		}
	}
	for i := range row.Settled {
		row.Settled[i].Address, row.Settled[i].Reason = m.Redact(row.Settled[i].Address), m.Redact(row.Settled[i].Reason)
	}
	for i := range row.Reports {
		row.Reports[i].Address, row.Reports[i].Text = m.Redact(row.Reports[i].Address), m.Redact(row.Reports[i].Text)
	}
	for i := range row.Tags {
		row.Tags[i].Value = m.Redact(row.Tags[i].Value)
	}
	row.LastError, row.UpdatedAt = erasedReason, of.now
	if err := errors.Join(tx.SaveEmail(row), tx.delete(emailContentsBucket, row.ID[:])); err != nil {
		return err
	}
	run, err := tx.Run(row.Run)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil || run.EmailID != row.ID {
		return err
	}
	run.Mailed(row.Email, of.now) // it goes on without
	return tx.SaveRun(run)
}

// eraseFromContact takes the address out of what is noted about others.
func eraseFromContact(tx *Tx, key []byte, of *Erasure) error {
	c, err := tx.Contact(automations.ID(key))
	if err != nil || of.spares(c.ID, time.Time{}) {
		return err
	}
	if named, err := of.namedIn(c); !named || err != nil {
		return err
	}
	m := of.mention()
	c.FirstName, c.LastName = m.Redact(c.FirstName), m.Redact(c.LastName)
	properties := make(map[string]json.RawMessage, len(c.Properties))
	for name, value := range c.Properties {
		properties[m.Redact(name)] = m.RedactJSON(value)
	}
	c.Properties = properties
	return tx.UpdateContact(c)
}

func eraseDelivery(tx *Tx, key []byte, of *Erasure) error {
	d, err := tx.Delivery(automations.ID(key))
	if err != nil || of.spares(d.ContactID, d.ReceivedAt) {
		return err
	}
	m, own := of.mention(), of.has(d)
	if named, err := of.namedIn(d); !named && !own || err != nil {
		return err
	}
	if d.Event, d.Payload = m.Redact(d.Event), m.RedactJSON(d.Payload); own {
		d.Email, d.Payload = "", json.RawMessage("{}")
	}
	for i := range d.Verdicts {
		if own {
			d.Verdicts[i].Compared = nil
		}
		for j := range d.Verdicts[i].Compared {
			c := &d.Verdicts[i].Compared[j]
			c.Expected, c.Actual = m.RedactJSON(c.Expected), m.RedactJSON(c.Actual)
		}
	}
	return tx.putRecord(deliveriesBucket, key, d)
}
