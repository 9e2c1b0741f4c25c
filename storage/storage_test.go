package storage_test

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
	"github.com/opensend/opensend/storage/storagetest"
)

func newContact(email string) *automations.Contact {
	return &automations.Contact{ID: uuid.Must(uuid.NewV7()), Email: email, CreatedAt: time.Now().UTC(), UpdatedAt: time.Now().UTC()}
}

// A failing update leaves nothing behind and harms none of those that share
// its transaction, whether it fails by an error or by a panic.
func TestFailingUpdateAlone(t *testing.T) {
	db := storagetest.Open(t)
	boom := errors.New("boom")
	var wg sync.WaitGroup
	for i := range 300 {
		wg.Go(func() {
			c := newContact(fmt.Sprintf("c%d@example.com", i))
			err := db.Update(func(tx *storage.Tx) error {
				if err := tx.CreateContact(c); err != nil {
					return err
				}
				switch i % 3 {
				case 1:
					return boom
				case 2:
					panic("boom")
				}
				return nil
			})
			if ok := err == nil; ok != (i%3 == 0) || i%3 == 1 && !errors.Is(err, boom) {
				t.Errorf("update %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	err := db.View(func(tx *storage.Tx) error {
		for i := range 300 {
			_, err := tx.ContactByEmail(fmt.Sprintf("c%d@example.com", i))
			if found := err == nil; found != (i%3 == 0) {
				t.Errorf("contact %d: %v", i, err)
			}
		}
		return tx.Check()
	})
	if err != nil {
		t.Error(err)
	}
}

func TestAddressesAreUnique(t *testing.T) {
	db := storagetest.Open(t)
	a, b := newContact("a@example.com"), newContact("b@example.com")
	err := db.Update(func(tx *storage.Tx) error { return errors.Join(tx.CreateContact(a), tx.CreateContact(b)) })
	if err != nil {
		t.Fatal(err)
	}
	b.Email = a.Email
	if err := db.Update(func(tx *storage.Tx) error { return tx.UpdateContact(b) }); !errors.Is(err, storage.ErrTaken) {
		t.Errorf("a second owner of the address: %v", err)
	}
	b.Email = "c@example.com"
	err = db.Update(func(tx *storage.Tx) error { return tx.UpdateContact(b) })
	if err != nil {
		t.Fatal(err)
	}
	db.View(func(tx *storage.Tx) error {
		if _, err := tx.ContactID("b@example.com"); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("the old address: %v", err)
		}
		return nil
	})
}

// No flipped bit in a record gives a wrong value unnoticed.
func TestBitFlips(t *testing.T) {
	db := storagetest.Open(t)
	id := uuid.Must(uuid.NewV7())
	payload := json.RawMessage(`{"needle":"` + strings.Repeat("x", 200) + `"}`)
	d := &automations.Delivery{ID: id, Event: "flip", Email: "a@example.com", Payload: payload, ReceivedAt: time.Now().UTC()}
	if err := db.Update(func(tx *storage.Tx) error { return tx.AddDelivery(d) }); err != nil {
		t.Fatal(err)
	}
	path := db.Path()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := strings.Index(string(whole), "needle")
	flips := 0
	for offset := at - 28; offset < at+200; offset += 3 {
		flipped := append([]byte(nil), whole...)
		flipped[offset] ^= 1 << (offset % 8)
		copied := filepath.Join(t.TempDir(), "flipped.db")
		if err := os.WriteFile(copied, flipped, 0o600); err != nil {
			t.Fatal(err)
		}
		db := storagetest.Reopen(t, copied)
		err := db.View(func(tx *storage.Tx) error {
			got, err := tx.Delivery(id)
			if err == nil && string(got.Payload) == string(payload) && got.Event == d.Event && got.Email == d.Email {
				t.Errorf("the flip at %d was not met", offset)
			}
			return err
		})
		if _, ok := errors.AsType[*storage.CorruptError](err); !ok {
			t.Errorf("the flip at %d went unnoticed: %v", offset, err)
		}
		flips++
	}
	t.Logf("%d flips, all noticed", flips)
}

func TestOneProcessAtATime(t *testing.T) {
	db := storagetest.Open(t)
	_, err := storage.Open(db.Path())
	inUse, ok := errors.AsType[*storage.InUseError](err)
	if !ok || inUse.PID != 0 && inUse.PID != os.Getpid() {
		t.Errorf("a second open: %v", err)
	}
	info, err := os.Stat(db.Path())
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(db.Path()), ".*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// Two that start at once on no file end up with one.
func TestConcurrentFirstOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "er", "opensend.db")
	var wg sync.WaitGroup
	var mu sync.Mutex
	opened := 0
	for range 8 {
		wg.Go(func() {
			db, err := storage.Open(path)
			if _, inUse := errors.AsType[*storage.InUseError](err); inUse {
				return
			}
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			opened++
			mu.Unlock()
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if opened == 0 {
		t.Error("nobody could open the file")
	}
	storagetest.Reopen(t, path)
}

func TestClosedStoreRefuses(t *testing.T) {
	db, err := storage.Open(filepath.Join(t.TempDir(), "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := db.Update(func(tx *storage.Tx) error { return tx.Probe() }); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("update after close: %v", err)
	}
}

// A deduplication window ends at its length, exactly, and its records are
// dropped with their slot.
func TestDedupWindows(t *testing.T) {
	db := storagetest.Open(t)
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	id := uuid.Must(uuid.NewV7())
	for _, window := range []time.Duration{time.Second, 5 * time.Minute, time.Hour, 25 * time.Hour, automations.MaxWindow} {
		for _, offset := range []time.Duration{0, 299 * time.Second, 59 * time.Minute, 23*time.Hour + 59*time.Minute} {
			since := start.Add(offset)
			key := []byte(fmt.Sprintf("%s %s", window, offset))
			mark := storage.Dedup{DeliveryID: id, Since: since, Until: since.Add(window)}
			if err := db.Update(func(tx *storage.Tx) error { return tx.AddDedup(key, mark) }); err != nil {
				t.Fatal(err)
			}
			for at, open := range map[time.Duration]bool{0: true, window / 2: true, window - time.Millisecond: true, window: false, window + time.Hour: false, -time.Millisecond: false} {
				db.View(func(tx *storage.Tx) error {
					got, err := tx.Dedup(key, since.Add(at))
					if (err == nil) != open || open && got != mark {
						t.Errorf("window %s from %s, looked at after %s: %v %v", window, offset, at, got, err)
					}
					return nil
				})
			}
		}
	}
	for _, windows := range [][2]time.Duration{{5 * time.Minute, time.Hour}, {time.Hour, 5 * time.Minute}, {time.Second, time.Minute}} { // changed meanwhile
		key, since := []byte(fmt.Sprint(windows)), start.Add(time.Minute)
		err := db.Update(func(tx *storage.Tx) error {
			if err := tx.AddDedup(key, storage.Dedup{DeliveryID: id, Since: since, Until: since.Add(windows[0])}); err != nil {
				return err
			}
			since = since.Add(windows[0])
			return tx.AddDedup(key, storage.Dedup{DeliveryID: id, Since: since, Until: since.Add(windows[1])})
		})
		if err != nil {
			t.Fatal(err)
		}
		db.View(func(tx *storage.Tx) error {
			for at, open := range map[time.Duration]bool{0: true, time.Second: true, windows[1] - time.Millisecond: true, windows[1]: false} {
				if _, err := tx.Dedup(key, since.Add(at)); (err == nil) != open {
					t.Errorf("windows %v, looked at %s after the second began: %v", windows, at, err)
				}
			}
			return nil
		})
	}
	more, dropped := true, 0
	for more {
		err := db.Update(func(tx *storage.Tx) (err error) {
			more, err = tx.DropExpired(start.Add(90*24*time.Hour), 3)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		dropped++
	}
	db.View(func(tx *storage.Tx) error {
		if _, err := tx.Dedup([]byte("720h0m0s 0s"), start); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("after dropping: %v", err)
		}
		return nil
	})
	if dropped < 2 {
		t.Errorf("%d transactions dropped everything", dropped)
	}
}

func TestEarlyEventsAreBounded(t *testing.T) {
	db := storagetest.Open(t)
	ref := automations.RunRef{WorkflowID: uuid.Must(uuid.NewV7()), RunID: uuid.Must(uuid.NewV7())}
	var first automations.ID
	err := db.Update(func(tx *storage.Tx) error {
		for i := range storage.MaxArrivals + 50 {
			id := uuid.Must(uuid.NewV7())
			if i == 0 {
				first = id
			}
			if kept, err := tx.AddArrival(ref, id); err != nil || kept != (i < storage.MaxArrivals) {
				return fmt.Errorf("event %d: kept is %v, %w", i, kept, err)
			}
		}
		if kept := tx.Arrivals(ref); len(kept) != storage.MaxArrivals || kept[0] != first {
			t.Errorf("%d kept", len(kept))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A filter that matches little costs a bounded scan, and the list goes on where
// it was cut.
func TestListIsCut(t *testing.T) {
	db := storagetest.Open(t)
	base := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	id := func(n int) (id automations.ID) {
		binary.BigEndian.PutUint64(id[:8], uint64(base.UnixMilli()+int64(n))<<16)
		return id
	}
	const scanBudget, rows = 20_000, 40_010
	err := db.Update(func(tx *storage.Tx) error {
		for i := range rows {
			name := "common"
			if i == 5 || i == rows-5 {
				name = "rare"
			}
			if err := tx.AddDelivery(&automations.Delivery{ID: id(i), Event: name, ReceivedAt: base}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	walk := func(page storage.Page, next func(*storage.Page, automations.ID)) (found []automations.ID, pages int) {
		for {
			err := db.View(func(tx *storage.Tx) error {
				looked := 0
				got, rest, err := tx.Deliveries(page, func(d *automations.Delivery) bool { looked++; return d.Event == "rare" })
				for _, d := range got {
					found = append(found, d.ID)
				}
				if looked > scanBudget || rest.More != (rest.Cut != automations.ID{}) {
					t.Errorf("%d rows looked at, %+v", looked, rest)
				}
				pages++
				next(&page, rest.Cut)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if page.After == page.Before {
				return found, pages
			}
		}
	}
	found, pages := walk(storage.Page{Limit: 5}, func(p *storage.Page, at automations.ID) { p.After = at })
	if pages != 3 || len(found) != 2 || found[0] != id(rows-5) || found[1] != id(5) {
		t.Errorf("%d pages, %v", pages, found)
	}
	found, pages = walk(storage.Page{Limit: 5, Before: id(1)}, func(p *storage.Page, at automations.ID) { p.Before = at })
	if pages != 3 || len(found) != 2 || found[0] != id(5) {
		t.Errorf("%d pages, %v", pages, found)
	}
	since := base.Add((rows - 10) * time.Millisecond)
	for _, page := range []storage.Page{{Limit: 5, Since: since}, {Limit: 5, Since: since, Before: id(1)}} {
		looked := 0
		err := db.View(func(tx *storage.Tx) error {
			got, rest, err := tx.Deliveries(page, func(d *automations.Delivery) bool { looked++; return d.Event == "rare" })
			if len(got) != 1 || got[0].ID != id(rows-5) || rest.More || looked != 10 {
				t.Errorf("%+v: %d found, %+v, %d looked at", page, len(got), rest, looked)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
