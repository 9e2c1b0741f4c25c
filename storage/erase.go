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
	Stage int    `json:"stage"`
	Next  []byte `json:"next,omitempty"`
}

// eraseStages are the buckets with records of contacts: what comes first stops
// work that is under way.
var eraseStages = [...]struct {
	bucket bucket
	erase  func(tx *Tx, key []byte, of *Erasure, now time.Time) error
}{
	{runsBucket, eraseRun},
	{emailsBucket, eraseEmail},
	{emailContentsBucket, eraseContent},
	{contactsBucket, eraseFromContact},
	{deliveriesBucket, eraseDelivery},
	{webhookDeliveriesBucket, eraseWebhookDelivery}, // last: the others may tell webhooks something
}

// EraseSome looks at up to rows further rows for the oldest unfinished erasure
// and reports whether there is more to do.
func (tx *Tx) EraseSome(now time.Time, rows int) (more bool, err error) {
	key, _ := tx.bucket(erasuresBucket).Cursor().First()
	if key == nil {
		return false, nil
	}
	key = bytes.Clone(key)
	of, err := record[Erasure](tx, erasuresBucket, key)
	if err != nil {
		return false, err
	}
	if of.Stage == len(eraseStages) {
		if err := errors.Join(tx.dropAnswersNaming(of.mention()), tx.eraseSuppressed(of.Email)); err != nil {
			return false, err
		}
		return true, tx.delete(erasuresBucket, key)
	}
	if of.Stage == 0 && of.Next == nil {
		if err := tx.dropWaitsOf(of.ContactID); err != nil {
			return false, err
		}
	}
	keys, next := tx.naming(eraseStages[of.Stage].bucket, of.Next, rows, of.Person)
	for _, k := range keys {
		if err := eraseStages[of.Stage].erase(tx, k, of, now); err != nil {
			return false, err
		}
	}
	if of.Next = next; next == nil {
		of.Stage++
	}
	return true, tx.putRecord(erasuresBucket, key, of)
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
	under := false
	tx.each(erasuresBucket, nil, func(key []byte) bool {
		of, err := record[Erasure](tx, erasuresBucket, key)
		under = err == nil && of.Email == email
		return !under
	})
	if under {
		return nil
	}
	return tx.putRecord(erasuresBucket, id[:], Erasure{Person: Person{id, email}})
}

func (tx *Tx) dropWaitsOf(contact automations.ID) error {
	var keys [][]byte
	tx.each(waitsBucket, contact[:], func(key []byte) bool {
		keys = append(keys, bytes.Clone(key))
		return true
	})
	return tx.deleteAll(tx.bucket(waitsBucket), keys)
}

func eraseRun(tx *Tx, key []byte, of *Erasure, now time.Time) error {
	ref, _ := splitRef(key)
	row, err := tx.Run(ref)
	if err != nil {
		return err
	}
	if row.ContactID != of.ContactID {
		return redactRun(tx, row, of)
	}
	if !row.Status.Final() {
		row.Cancel(erasedReason, now)
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
	m := of.mention()
	row.FailureReason = m.Redact(row.FailureReason)
	for _, step := range row.Steps {
		step.Output, step.Error = m.RedactJSON(step.Output), m.Redact(step.Error)
	}
	return tx.SaveRun(row)
}

func eraseEmail(tx *Tx, key []byte, of *Erasure, now time.Time) error {
	row, err := tx.Email(automations.ID(key))
	if err != nil {
		return err
	}
	if !of.gets(row.Email) {
		record, err := json.Marshal(row.Email)
		if err != nil || !of.mention().InJSON(record) {
			return err
		}
		return dropEmailContent(tx, row, of, now)
	}
	row.To, row.CC, row.BCC, row.ReplyTo, row.Tags, row.Settled, row.Reports = nil, nil, nil, nil, nil, nil, nil
	row.Subject, row.LastReply = "", ""
	return dropEmailContent(tx, row, of, now)
}

// eraseContent looks into mail to others.
func eraseContent(tx *Tx, key []byte, of *Erasure, now time.Time) error {
	content, err := tx.EmailContent(automations.ID(key))
	if err != nil || !of.mention().InContent(content) {
		return err
	}
	row, err := tx.Email(automations.ID(key))
	if err != nil {
		return err
	}
	return dropEmailContent(tx, row, of, now)
}

// dropEmailContent erases what a mail says and keeps it from leaving. Whoever
// else it was for stays named.
func dropEmailContent(tx *Tx, row *EmailRow, of *Erasure, now time.Time) error {
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
	for i := range row.Reports {
		row.Reports[i].Address, row.Reports[i].Text = m.Redact(row.Reports[i].Address), m.Redact(row.Reports[i].Text)
	}
	for i := range row.Tags {
		row.Tags[i].Value = m.Redact(row.Tags[i].Value)
	}
	row.LastError, row.UpdatedAt = erasedReason, now
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
	run.Mailed(row.Email, now) // it goes on without
	return tx.SaveRun(run)
}

// eraseFromContact takes the address out of what is noted about others.
func eraseFromContact(tx *Tx, key []byte, of *Erasure, now time.Time) error {
	c, err := tx.Contact(automations.ID(key))
	if err != nil || c.Email == of.Email { // who has it came after the erasure began
		return err
	}
	m := of.mention()
	if record, err := json.Marshal(c); err != nil || !m.InJSON(record) {
		return err
	}
	c.FirstName, c.LastName = m.Redact(c.FirstName), m.Redact(c.LastName)
	properties := make(map[string]json.RawMessage, len(c.Properties))
	for name, value := range c.Properties {
		properties[m.Redact(name)] = m.RedactJSON(value)
	}
	c.Properties = properties
	return tx.UpdateContact(c)
}

func eraseDelivery(tx *Tx, key []byte, of *Erasure, _ time.Time) error {
	d, err := tx.Delivery(automations.ID(key))
	if err != nil {
		return err
	}
	m, own := of.mention(), of.has(d)
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
