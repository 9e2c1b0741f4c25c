package storage_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/engine"
	"github.com/opensend/opensend/storage"
	"github.com/opensend/opensend/storage/storagetest"
)

// failing lets a number of writes pass and then none, until it is healed. At
// the first that fails it looks at what is committed.
type failing struct {
	db     *storage.DB
	after  int32
	passed atomic.Int32
	failed atomic.Bool
	before map[string]string
}

func (f *failing) ask() error {
	if f.passed.Add(1) <= f.after {
		return nil
	}
	if !f.failed.Swap(true) {
		var err error
		if f.before, err = f.db.Dump(); err != nil {
			return err
		}
	}
	return syscall.ENOSPC // what does not stop the store for good
}

func (f *failing) heal() { f.after = 1 << 30 }

func same(t *testing.T, a, b map[string]string) bool {
	if maps.Equal(a, b) {
		return true
	}
	for key, value := range b {
		if a[key] != value {
			t.Logf("%q has come", key)
		}
	}
	return false
}

// An event is accepted, its run wakes, its mail is queued, composed and
// captured, the run ends. Every write on the way fails once: whatever it was
// part of leaves nothing behind, and once writes pass again all of it happens,
// once.
func TestEveryWriteFailsOnce(t *testing.T) {
	points := 0
	for failed := true; failed; points++ {
		t.Run(fmt.Sprint("write ", points+1), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { failed = failAt(t, points) })
		})
	}
	t.Logf("%d writes failed in turn", points-1)
	if points < 20 {
		t.Errorf("there were only %d writes", points-1)
	}
}

// failAt runs the whole way with every write failing after a number of them,
// and reports whether there were that many.
func failAt(t *testing.T, after int) bool {
	db := storagetest.Open(t)
	e, stop := everything(t, db)
	f := &failing{db: db, after: int32(after)}
	db.FailWrites(f.ask)
	_, _, err := accept(e, "go", "key")
	synctest.Wait()
	time.Sleep(5 * time.Second) // whatever fails tries again each second
	synctest.Wait()
	if !f.failed.Load() && err != nil {
		t.Fatal(err)
	}
	if f.failed.Load() {
		now, err := db.Dump()
		if err != nil {
			t.Fatal(err)
		}
		if !same(t, f.before, now) {
			t.Errorf("what failed at write %d has left something behind", after+1)
		}
	}
	f.heal()
	if err != nil {
		if _, replayed, err := accept(e, "go", "key"); err != nil || replayed != nil {
			t.Fatalf("sent again: %v %v", replayed, err)
		}
	} else if _, replayed, err := accept(e, "go", "key"); err != nil || replayed == nil {
		t.Fatalf("what was accepted is not known: %v", err)
	}
	time.Sleep(time.Minute)
	synctest.Wait()
	stop()
	db.FailWrites(nil)
	check := db.View(func(tx *storage.Tx) error {
		emails, _, err := tx.Emails(storage.Page{Limit: 10}, nil)
		if err != nil || len(emails) != 1 || emails[0].Status != automations.EmailCaptured {
			t.Errorf("there are %d mails: %v", len(emails), err)
		}
		deliveries, _, err := tx.Deliveries(storage.Page{Limit: 10}, func(d *automations.Delivery) bool { return d.Event == "go" })
		if err != nil || len(deliveries) != 1 || len(deliveries[0].Verdicts) != 2 {
			t.Errorf("there are %d events: %v", len(deliveries), err)
		}
		for _, v := range deliveries[0].Verdicts {
			run, err := tx.Run(automations.RunRef{WorkflowID: v.WorkflowID, RunID: v.RunID})
			if err != nil || run.Status != automations.RunCompleted {
				t.Errorf("run %s: %v", v.Reason, err)
			}
		}
		return errors.Join(err, tx.Check())
	})
	if check != nil {
		t.Error(check)
	}
	return f.failed.Load()
}

// everything is an engine with a run that waits for the event "go", and an
// automation that it starts.
func everything(t *testing.T, db *storage.DB) (e *engine.Engine, stop func()) {
	e, err := engine.New(engine.Config{DB: db, From: "x@example.net"})
	if err != nil {
		t.Fatal(err)
	}
	addWorkflow(t, db, `[{"key":"t","type":"trigger","config":{"event_name":"before"}},{"key":"w","type":"wait_for_event","config":{"event_name":"go"}}]`)
	addWorkflow(t, db, `[{"key":"t","type":"trigger","config":{"event_name":"go"}},
		{"key":"u","type":"contact_update","config":{"fields":{"first_name":"Ada"}}},
		{"key":"m","type":"send_email","config":{"subject":"Hi","html":"<p>x</p>"}}]`)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	if _, _, err := accept(e, "before", "first"); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	return e, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func accept(e *engine.Engine, name, key string) (*engine.Receipt, *storage.IdempotentAnswer, error) {
	ev := &automations.Event{Name: name, Email: "ada@example.com", Payload: json.RawMessage("{}"), Intake: automations.Intake{DefaultWindow: time.Hour}}
	return e.Accept(ev, &engine.Idempotency[*engine.Receipt]{
		Door: "x", Key: key, BodyHash: []byte("x"), Render: func(*engine.Receipt) (int, []byte) { return 202, []byte("{}") },
	})
}

// The control of TestEveryWriteFailsOnce: a committer that commits what a
// failed update had written is caught.
func TestHalfAnUpdateIsNoticed(t *testing.T) {
	caught := 0
	for point := range 8 {
		synctest.Test(t, func(t *testing.T) {
			db := storagetest.Open(t)
			f := &failing{db: db, after: int32(1 + point)}
			hold, held := make(chan struct{}), make(chan struct{})
			go db.Update(func(*storage.Tx) error { close(held); <-hold; return nil })
			<-held
			db.FailWritesUnseen(f.ask)
			go db.Update(func(tx *storage.Tx) error { return tx.Probe() }) // shares the transaction, and is what gets committed
			synctest.Wait()
			go db.Update(func(tx *storage.Tx) error {
				c := &automations.Contact{ID: uuid.Must(uuid.NewV7()), Email: "ada@example.com", Segments: []automations.ID{{1}, {2}}}
				return tx.CreateContact(c)
			})
			synctest.Wait()
			close(hold)
			synctest.Wait()
			now, err := db.Dump()
			if err != nil {
				t.Fatal(err)
			}
			delete(now, "meta/probe")
			delete(f.before, "meta/probe")
			if f.failed.Load() && !maps.Equal(f.before, now) {
				caught++
			}
		})
	}
	if caught != 3 { // of the four writes of the contact; before the first nothing is written
		t.Errorf("half an update was noticed at %d writes", caught)
	}
}
