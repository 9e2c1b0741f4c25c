package storage

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/opensend/opensend/automations"
)

// A deleted segment is gone at once, and its contacts leave it a few at a time:
// wherever that stops, everything fits together and nobody is told of it. One
// that cannot be read is passed over.
func TestDeleteSegment(t *testing.T) {
	db := openAt(t, filepath.Join(t.TempDir(), "x.db"))
	old, kept, newer := newID(), newID(), newID()
	var contacts []automations.ID
	db.must(t, func(tx *Tx) error {
		contacts = nil
		var errs []error
		for _, id := range []automations.ID{old, kept, newer} {
			errs = append(errs, tx.SaveSegment(&automations.Segment{ID: id}))
		}
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			c := &automations.Contact{ID: newID(), Email: name + "@example.com", Segments: []automations.ID{old, kept, newer}}
			contacts = append(contacts, c.ID)
			errs = append(errs, tx.CreateContact(c))
		}
		return errors.Join(errs...)
	})
	db.must(t, func(tx *Tx) error { return errors.Join(tx.DeleteSegment(old), tx.DeleteSegment(newer)) })
	fits := func(members int) {
		t.Helper()
		db.View(func(tx *Tx) error {
			if n := tx.SegmentSize(old, 100) + tx.SegmentSize(newer, 100); n != members {
				t.Errorf("%d members are left, want %d", n, members)
			}
			if err := tx.Check(); err != nil {
				t.Error(err)
			}
			for _, id := range contacts {
				c, err := tx.Contact(id)
				if err != nil {
					t.Fatal(err)
				}
				if live := tx.LiveSegments(c); len(live) != 1 || live[0] != kept {
					t.Errorf("%s is in %v, want %v", c.Email, live, kept)
				}
				if rows, _, err := tx.SegmentsOf(c, Page{Limit: 10}); err != nil || len(rows) != 1 {
					t.Errorf("%s is in %v: %v", c.Email, rows, err)
				}
			}
			for id, want := range map[automations.ID]int{old: 0, kept: 5} {
				if found, _, err := tx.Contacts(Page{Limit: 10}, ContactFilter{SegmentID: id}); err != nil || len(found) != want {
					t.Errorf("%d contacts are listed, want %d: %v", len(found), want, err)
				}
			}
			return nil
		})
	}
	drop := func(limit int, more bool) {
		t.Helper()
		db.must(t, func(tx *Tx) error {
			got, err := tx.DropMembers(limit)
			if got != more {
				t.Errorf("more is %v", got)
			}
			return err
		})
	}
	fits(10)
	drop(3, true)
	fits(7)
	drop(4, true)
	fits(3)
	db.must(t, func(tx *Tx) error {
		tx.writes++
		return tx.bucket(contactsBucket).Put(contacts[4][:], []byte("\x01spoiled"))
	})
	contacts = contacts[:4]
	drop(4, false)
	db.View(func(tx *Tx) error {
		if n, left := tx.SegmentSize(newer, 100), tx.SegmentSize(kept, 100); n != 0 || left != 5 {
			t.Errorf("%d and %d members are left, want 0 and 5", n, left)
		}
		return nil
	})
	drop(4, false)
}
