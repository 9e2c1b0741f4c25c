package storage

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/opensend/opensend/automations"
)

func TestUsers(t *testing.T) {
	db := openAt(t, filepath.Join(t.TempDir(), "x.db"))
	at := time.Now().UTC()
	ada, bob := &automations.User{ID: newID(), Name: "Ada", CreatedAt: at}, &automations.User{ID: newID(), Name: "Bob", CreatedAt: at}
	db.must(t, func(tx *Tx) error {
		if tx.AnyUser() {
			t.Error("a new file has a user")
		}
		return errors.Join(tx.CreateUser(ada), tx.CreateUser(bob))
	})
	if err := db.Update(func(tx *Tx) error { return tx.CreateUser(&automations.User{ID: newID(), Name: "aDA"}) }); !errors.Is(err, ErrTaken) {
		t.Errorf("the same name in another case: %v", err)
	}
	sessions := map[string]*automations.Session{
		"fresh": {UserID: ada.ID, CreatedAt: at, SeenAt: at},
		"idle":  {UserID: ada.ID, CreatedAt: at.Add(-8 * day), SeenAt: at.Add(-automations.SessionIdle)},
		"old":   {UserID: ada.ID, CreatedAt: at.Add(-automations.SessionLife), SeenAt: at},
		"bob":   {UserID: bob.ID, CreatedAt: at, SeenAt: at},
	}
	db.must(t, func(tx *Tx) error {
		var errs []error
		for secret, s := range sessions {
			errs = append(errs, tx.SaveSession(secret, s))
		}
		return errors.Join(append(errs, tx.EndOldSessions(at), tx.DeleteUser(bob.ID))...)
	})
	db.View(func(tx *Tx) error {
		for secret := range sessions {
			if _, err := tx.Session(secret); (err == nil) != (secret == "fresh") {
				t.Errorf("session %s: %v", secret, err)
			}
		}
		if found, err := tx.UserByName("ADA"); err != nil || found.ID != ada.ID {
			t.Errorf("by name: %v", err)
		}
		if _, err := tx.UserByName("bob"); !errors.Is(err, ErrNotFound) {
			t.Errorf("a deleted user: %v", err)
		}
		return nil
	})
	// An invitation for the same person replaces the one before.
	db.must(t, func(tx *Tx) error {
		return errors.Join(tx.Invite("one", &automations.Invitation{CreatedAt: at}), tx.Invite("two", &automations.Invitation{CreatedAt: at}), tx.Invite("three", &automations.Invitation{UserID: ada.ID, CreatedAt: at}))
	})
	db.View(func(tx *Tx) error {
		for secret, want := range map[string]bool{"one": false, "two": true, "three": true} {
			if _, err := tx.Invitation(secret); (err == nil) != want {
				t.Errorf("invitation %s: %v", secret, err)
			}
		}
		return nil
	})
}

// Tallies are exact, those of one transaction and of several.
func TestTallies(t *testing.T) {
	db := openAt(t, filepath.Join(t.TempDir(), "x.db"))
	at := time.Date(2026, 1, 31, 12, 10, 0, 0, time.UTC)
	event := func(received time.Time, reasons ...automations.Reason) func(*Tx) error {
		d := &automations.Delivery{ID: newID(), Event: "e", Payload: []byte("{}"), ReceivedAt: received}
		for _, r := range reasons {
			d.Verdicts = append(d.Verdicts, automations.Verdict{Reason: r})
		}
		return func(tx *Tx) error { return tx.AddDelivery(d) }
	}
	db.CountRejected()
	db.CountRejected()
	db.must(t, func(tx *Tx) error {
		return errors.Join(event(at, automations.Started)(tx), event(at, automations.Deduplicated)(tx), event(at.Add(TallySlot), automations.Unmatched)(tx))
	})
	db.must(t, event(at, automations.Deduplicated, automations.Resumed))
	got := map[automations.Tally]map[int]int64{}
	db.View(func(tx *Tx) error {
		tx.Tallies(at, func(slot time.Time, workflow automations.ID, kind automations.Tally, n int64) {
			if got[kind] == nil {
				got[kind] = map[int]int64{}
			}
			got[kind][int(slot.Sub(at.Truncate(TallySlot))/TallySlot)] += n
		})
		return nil
	})
	if got[automations.TallyEvents][0] != 3 || got[automations.TallyEvents][1] != 1 || got[automations.TallyDeduplicated][0] != 1 || got[automations.TallyUnmatched][1] != 1 {
		t.Errorf("%v", got)
	}
	rejected := int64(0)
	for _, n := range got[automations.TallyRejected] {
		rejected += n
	}
	if rejected != 2 {
		t.Errorf("%d rejected", rejected)
	}
}

func TestWatch(t *testing.T) {
	db := openAt(t, filepath.Join(t.TempDir(), "x.db"))
	one, two := db.Watch(), db.Watch()
	select {
	case <-one:
		t.Error("told of a commit that was not")
	default:
	}
	db.must(t, func(tx *Tx) error { return tx.Probe() })
	<-one
	<-two
}
