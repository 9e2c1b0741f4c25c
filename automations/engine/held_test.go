package engine

import (
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
	"github.com/opensend/opensend/storage/storagetest"
)

// heldSteps wait for an hour, send, send again, and wait for two days.
const heldSteps = `[{"key":"t","type":"trigger","config":{"event_name":"start"}},
	{"key":"d","type":"delay","config":{"duration":"1 hour"}},
	{"key":"m","type":"send_email","config":{"subject":"One","text":"x"}},
	{"key":"n","type":"send_email","config":{"subject":"Two","text":"x"}},
	{"key":"e","type":"delay","config":{"duration":"2 days"}},
	{"key":"o","type":"send_email","config":{"subject":"Three","text":"x"}}]`

// heldCopy makes a backup of an engine that has a run asleep and a mail to retry,
// lets three hours pass, and opens the backup by a clock that may be ahead.
func heldCopy(t *testing.T, ahead time.Duration) (*Engine, *automations.Run) {
	e := newEngine(t, Config{})
	workflow(t, e.db, heldSteps, "", nil)
	stop := e.start(t)
	run := e.mustAccept(t, event("start", "ada@example.com")).Started[0]
	time.Sleep(idle)
	stop()
	mail := &automations.Email{
		ID: newID(), Status: automations.EmailQueued, From: "a@example.com", To: []string{"api@example.com"}, Subject: "API", MessageID: "x@example.com",
		Attempts: 1, NextAttemptAt: now().Add(4 * time.Hour), CreatedAt: now(), UpdatedAt: now(),
	}
	if err := e.db.Update(func(tx *storage.Tx) error { return tx.InsertEmail(mail, &automations.EmailContent{Text: "x"}) }); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "backup.db")
	if _, err := e.db.Backup(path, false, nil); err != nil {
		t.Fatal(err)
	}
	time.Sleep(3 * time.Hour)
	db := storagetest.Reopen(t, path)
	if err := db.Claim(now().Add(ahead)); err != nil {
		t.Fatal(err)
	}
	return newEngine(t, Config{DB: db}), run
}

// subjects are those of the mails that have a status, oldest first.
func subjects(t *testing.T, db *storage.DB, status automations.EmailStatus) (all []string) {
	t.Helper()
	err := db.View(func(tx *storage.Tx) error {
		found, _, err := tx.Emails(storage.Page{Limit: 100}, func(e *automations.Email) bool { return e.Status == status })
		for _, e := range found {
			all = append([]string{e.Subject}, all...)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func whole(t *testing.T, db *storage.DB) {
	t.Helper()
	if err := db.View(func(tx *storage.Tx) error { return tx.Check() }); err != nil {
		t.Error(err)
	}
}

// While a copy is held events are taken and nothing moves. When what fell due is
// dropped, its runs go on to what is still to come, and what came since is sent.
func TestHeldAndDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, run := heldCopy(t, 0)
		e.start(t)
		fresh := e.mustAccept(t, event("start", "new@example.com")).Started[0]
		time.Sleep(2 * time.Hour)
		if all := subjects(t, e.db, automations.EmailCaptured); e.Held() == nil || len(all) > 0 || runOf(t, e.db, fresh).Status != automations.RunQueued {
			t.Errorf("held %+v, sent %q", e.Held(), all)
		}
		if err := e.Ready(); err != nil {
			t.Errorf("a held engine takes events: %v", err)
		}
		o, err := e.Resume(true)
		if err != nil || o.Runs != 1 || o.Emails != 1 || len(o.Automations) != 1 || o.Automations[0].Name != "test" {
			t.Errorf("%+v %v", o, err)
		}
		time.Sleep(idle)
		if all := subjects(t, e.db, automations.EmailSuppressed); len(all) != 2 || all[0] != "One" || all[1] != "Two" {
			t.Errorf("dropped of the run: %q", all)
		}
		if all := subjects(t, e.db, automations.EmailCancelled); len(all) != 1 || all[0] != "API" {
			t.Errorf("dropped of the API: %q", all)
		}
		if r := runOf(t, e.db, run); r.CurrentStep != "e" || r.Status != automations.RunWaiting {
			t.Errorf("the overdue run: %+v", r)
		}
		whole(t, e.db)
		if _, err := e.Resume(true); !automations.IsKind(err, automations.KindConflict) {
			t.Errorf("resumed twice: %v", err)
		}
		time.Sleep(3 * 24 * time.Hour)
		if all := subjects(t, e.db, automations.EmailCaptured); len(all) != 4 { // three of the new run, the last of the old
			t.Errorf("sent: %q", all)
		}
	})
}

// What was not due when the clock was set right is not done: the run waits on.
func TestHeldByAClockAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, run := heldCopy(t, 7*24*time.Hour)
		if _, err := e.Resume(true); err != nil {
			t.Fatal(err)
		}
		if r := runOf(t, e.db, run); r.CurrentStep != "e" || r.Status != automations.RunWaiting {
			t.Errorf("the run is %s at %q", r.Status, r.CurrentStep)
		}
		whole(t, e.db)
	})
}

// When what fell due is sent, all of it is.
func TestHeldAndSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _ := heldCopy(t, 0)
		stop := e.start(t)
		time.Sleep(idle)
		stop()
		if e, err := New(Config{DB: e.db}); err != nil || e.Held() == nil {
			t.Errorf("a restart ends that it is held: %v", err)
		}
		e.start(t)
		if _, err := e.Resume(false); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		if all := subjects(t, e.db, automations.EmailCaptured); len(all) != 3 {
			t.Errorf("sent: %q", all)
		}
		whole(t, e.db)
	})
}
