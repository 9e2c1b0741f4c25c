package storage

import (
	"bytes"
	"encoding/json"
	"errors"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opensend/opensend/automations"
)

const gone = "gone@privacy.example"

// nameEverywhere fills a noun of somebody else, and has each of its texts but
// those in none name the address.
func nameEverywhere(v any, none ...string) {
	n := int64(0)
	fill(reflect.ValueOf(v).Elem(), &n)
	var walk func(v reflect.Value)
	walk = func(v reflect.Value) {
		if raw, ok := v.Addr().Interface().(*json.RawMessage); ok {
			*raw = json.RawMessage(`{"` + gone + `":"` + gone + `"}`)
			return
		}
		switch v.Kind() {
		case reflect.String:
			if v.Type() == reflect.TypeFor[string]() {
				v.SetString("see " + gone)
			}
		case reflect.Slice:
			for i := range v.Len() {
				if v.Type().Elem().Kind() != reflect.Uint8 {
					walk(v.Index(i))
				}
			}
		case reflect.Pointer:
			walk(v.Elem())
		case reflect.Map:
			for _, key := range v.MapKeys() {
				value := reflect.New(v.Type().Elem()).Elem()
				value.Set(v.MapIndex(key))
				walk(value)
				v.SetMapIndex(key, value)
			}
		case reflect.Struct:
			for i := range v.NumField() {
				if v.Field(i).CanAddr() && !slices.Contains(none, v.Type().Field(i).Name) && v.Type() != reflect.TypeFor[time.Time]() {
					walk(v.Field(i))
				}
			}
		}
	}
	walk(reflect.ValueOf(v).Elem())
}

// Whatever text of somebody else's record names an erased address does not
// afterwards, but those that are names the operator gave, or ours.
func TestErasureOfEveryText(t *testing.T) {
	db := openAt(t, filepath.Join(t.TempDir(), "x.db"))
	contact, delivery, run := new(automations.Contact), new(automations.Delivery), new(automations.Run)
	email, notice := new(automations.Email), new(automations.WebhookDelivery)
	nameEverywhere(contact, "Email")
	nameEverywhere(delivery, "StepKey", "Trigger", "Field", "Operator", "Email")
	nameEverywhere(run, "CurrentStep", "FailedStep")
	nameEverywhere(email, "StepKey", "MessageID", "Name", "Source", "Status", "To", "CC", "BCC")
	nameEverywhere(notice, "Reason")
	contact.Email, delivery.Email, email.Status, run.Status = "bob@example.org", "bob@example.org", automations.EmailSent, automations.RunFailed
	contact.Segments, run.WakeAt, run.EmailID = nil, time.Time{}, automations.ID{}
	email.To, email.CC, email.BCC = []string{`"` + gone + `" <bob@example.org>`}, nil, nil
	notice.Body = json.RawMessage(`{"type":"event.received","timestamp":"t","data":{"event":"` + gone + `","payload":{"by":"` + gone + `"}}}`)
	db.must(t, func(tx *Tx) error {
		return errors.Join(
			tx.CreateContact(contact), tx.AddDelivery(delivery), tx.InsertRun(run), tx.SaveEmail(&EmailRow{Email: email}),
			tx.SaveWebhookDelivery(&WebhookDeliveryRow{WebhookDelivery: notice}),
		)
	})
	before, err := db.Dump()
	if err != nil {
		t.Fatal(err)
	}
	db.must(t, func(tx *Tx) error { return tx.EraseAddress(gone, newID()) })
	finishErasures(t, db)
	after, err := db.Dump()
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for key, value := range before {
		if strings.Contains(value, gone) {
			named++
		}
		if left := after[key]; strings.Contains(left, gone) {
			t.Errorf("%q is left", left)
		}
	}
	if named != 5 {
		t.Errorf("%d records named the address", named)
	}
}

func finishErasures(t *testing.T, db *DB) {
	t.Helper()
	for more := true; more; {
		db.must(t, func(tx *Tx) (err error) {
			more, err = tx.EraseSome(time.Now(), 3)
			return err
		})
	}
}

// Kept answers are looked at a few at a time, from slot to slot: nobody waits
// for all those of a day.
func TestErasureOfAnswers(t *testing.T) {
	db := openAt(t, filepath.Join(t.TempDir(), "x.db"))
	key := func(i int) string { return strconv.Itoa(i) }
	at := func(i int) time.Time { return time.Now().Add(-time.Duration(i%3) * 24 * time.Hour) }
	db.must(t, func(tx *Tx) error {
		for i := range 30 {
			to := []string{gone, "jo." + gone}[i/3%2]
			if err := tx.AddIdempotentAnswer("door", key(i), &IdempotentAnswer{Answer: []byte(`{"to":"` + to + `"}`), CreatedAt: at(i)}); err != nil {
				return err
			}
		}
		return tx.EraseAddress(gone, newID())
	})
	finishErasures(t, db)
	db.View(func(tx *Tx) error {
		for i := range 30 {
			if _, err := tx.IdempotentAnswer("door", key(i), at(i)); errors.Is(err, ErrNotFound) != (i/3%2 == 0) {
				t.Errorf("answer %d: %v", i, err)
			}
		}
		return nil
	})
}

// One transaction of an erasure looks at few rows, at less when they are large, and
// drops few waits: nobody waits for all of them.
func TestErasureInSmallSteps(t *testing.T) {
	db := openAt(t, filepath.Join(t.TempDir(), "x.db"))
	contact := &automations.Contact{ID: newID(), Email: gone}
	names := []string{"a", "b", "c", "d", "e"}
	db.must(t, func(tx *Tx) error {
		errs := []error{tx.CreateContact(contact), tx.AddWaits(&automations.Run{ID: newID(), WorkflowID: newID(), ContactID: contact.ID}, names)}
		for range 3 {
			errs = append(errs, tx.SaveEmailContent(newID(), &automations.EmailContent{Text: strings.Repeat("x", lookedBytes/2)}))
		}
		return errors.Join(append(errs, tx.DeleteContact(contact.ID))...)
	})
	db.View(func(tx *Tx) error {
		if keys, next := tx.naming(emailContentsBucket, nil, 1000, Person{Email: gone}); len(keys) != 2 || next == nil {
			t.Errorf("%d large contents are looked at at once, and there is more: %v", len(keys), next != nil)
		}
		return nil
	})
	for _, want := range []int{3, 1, 0} {
		left := 0
		db.must(t, func(tx *Tx) error {
			more, err := tx.EraseSome(time.Now(), 2)
			if !more {
				t.Error("it is over")
			}
			left = 0
			tx.each(waitsBucket, nil, func([]byte) bool { left++; return true })
			return err
		})
		if left != want {
			t.Errorf("%d waits are left, want %d", left, want)
		}
	}
	finishErasures(t, db)
}

// A record that is damaged does not keep the others from being erased, nor does
// content whose mail is gone, nor an erasure that cannot be read.
func TestErasurePassesDamage(t *testing.T) {
	for b := range bucketCount {
		if b == metaBucket {
			continue
		}
		t.Run(b.String(), func(t *testing.T) {
			db := openAt(t, filepath.Join(t.TempDir(), "x.db"))
			s := seed(t, db)
			orphan, late := newID(), &automations.Delivery{ID: newID(), Event: "x", Email: "ada@example.com", Payload: json.RawMessage("{}")}
			db.must(t, func(tx *Tx) error {
				if b == erasuresBucket {
					if err := tx.putRecord(b, make([]byte, 16), Erasure{}); err != nil {
						return err
					}
				}
				return errors.Join(
					tx.SaveEmailContent(orphan, &automations.EmailContent{Text: "ada@example.com"}), tx.AddDelivery(late),
					tx.DeleteContact(s.contact), spoilFirst(tx, b),
				)
			})
			finishErasures(t, db)
			db.View(func(tx *Tx) error {
				if d, err := tx.Delivery(late.ID); err != nil || d.Email != "" {
					t.Errorf("left: %+v %v", d, err)
				}
				if _, err := tx.EmailContent(orphan); !errors.Is(err, ErrNotFound) {
					t.Errorf("content of no mail: %v", err)
				}
				return nil
			})
		})
	}
}

// spoilFirst damages the first row of a bucket, in a slot of time where it has
// them; the row still names the address.
func spoilFirst(tx *Tx, b bucket) error {
	in := tx.bucket(b)
	key, value := in.Cursor().First()
	if key != nil && value == nil {
		in = in.Bucket(key)
		key, _ = in.Cursor().First()
	}
	if key == nil {
		return nil
	}
	tx.writes++
	return in.Put(bytes.Clone(key), []byte("\x01spoiled ada@example.com"))
}
