package storage

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/opensend/opensend/automations"
)

// erasedReason replaces words that may hold personal data.
const erasedReason = "contact_deleted"

// Erasure is the unfinished removal of what the file says about a deleted
// contact. It walks through the stages in small transactions, so that nobody
// waits for it, and goes on from Next after a restart.
type Erasure struct {
	ContactID automations.ID `json:"contact_id"`
	Email     string         `json:"email"`
	Stage     int            `json:"stage"`
	Next      []byte         `json:"next,omitempty"`
}

// eraseStages are the buckets with records of contacts: what comes first stops
// work that is under way.
var eraseStages = [...]struct {
	bucket bucket
	erase  func(tx *Tx, key []byte, of *Erasure, now time.Time) error
}{
	{runsBucket, eraseRun},
	{emailsBucket, eraseEmail},
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
		if err := errors.Join(tx.dropAnswersNaming(of.Email), tx.eraseSuppressed(of.Email)); err != nil {
			return false, err
		}
		return true, tx.delete(erasuresBucket, key)
	}
	if of.Stage == 0 && of.Next == nil {
		if err := tx.dropWaitsOf(of.ContactID); err != nil {
			return false, err
		}
	}
	keys, next := tx.naming(eraseStages[of.Stage].bucket, of.Next, rows, of.ContactID.String(), of.Email)
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

// naming finds, in the next rows of a bucket, those that mention one of the
// texts, and where to go on: nil at the end.
func (tx *Tx) naming(b bucket, from []byte, rows int, texts ...string) (keys [][]byte, next []byte) {
	c := tx.bucket(b).Cursor()
	for k, v := c.Seek(from); k != nil; k, v = c.Next() {
		if rows == 0 {
			return keys, bytes.Clone(k)
		}
		rows--
		if slices.ContainsFunc(texts, func(text string) bool { return bytes.Contains(v, []byte(text)) }) {
			keys = append(keys, bytes.Clone(k))
		}
	}
	return keys, nil
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
	if err != nil || row.ContactID != of.ContactID {
		return err
	}
	if !row.Status.Final() {
		row.Cancel(erasedReason, now)
	}
	if row.Status == automations.RunFailed {
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

func eraseEmail(tx *Tx, key []byte, of *Erasure, now time.Time) error {
	row, err := tx.Email(automations.ID(key))
	if err != nil || row.ContactID != of.ContactID && !row.Names(of.Email) {
		return err
	}
	switch row.Status {
	case automations.EmailQueued, automations.EmailSending, automations.EmailUnconfirmed:
		row.Status = automations.EmailSuppressed
	}
	row.To, row.CC, row.BCC, row.ReplyTo, row.Tags, row.Settled = nil, nil, nil, nil, nil, nil
	row.Subject, row.LastReply, row.LastError, row.UpdatedAt = "", "", erasedReason, now
	return errors.Join(tx.SaveEmail(row), tx.delete(emailContentsBucket, key))
}

func eraseDelivery(tx *Tx, key []byte, of *Erasure, _ time.Time) error {
	d, err := tx.Delivery(automations.ID(key))
	if err != nil || d.ContactID != of.ContactID && d.Email != of.Email {
		return err
	}
	d.Email, d.Payload = "", json.RawMessage("{}")
	for i := range d.Verdicts {
		d.Verdicts[i].Compared = nil
	}
	return tx.putRecord(deliveriesBucket, key, d)
}
