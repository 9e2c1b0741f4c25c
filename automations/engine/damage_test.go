package engine

import (
	"bytes"
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
	"github.com/opensend/opensend/storage/storagetest"
)

// damage changes texts in a file that nobody has open.
func damage(t *testing.T, path string, texts ...string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	for _, text := range texts {
		raw = bytes.ReplaceAll(raw, []byte(text), bytes.ToUpper([]byte(text)))
	}
	if err = errors.Join(err, os.WriteFile(path, raw, 0o600)); err != nil {
		t.Fatal(err)
	}
}

// An automation whose record is damaged starts no runs, and a webhook is told
// nothing. Everything else goes on, runs of that automation too.
func TestDamagedDefinitionsHarmThemselvesAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := t.TempDir() + "/x.db"
		db, err := storage.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		e := newEngine(t, Config{DB: db})
		stop := e.start(t)
		damaged, sound := workflow(t, db, sleepy, "", nil), workflow(t, db, sleepy, "", nil)
		damaged.Name = "the damaged automation"
		hook := &automations.Webhook{ID: newID(), Endpoint: "https://damaged.example.com", Events: []automations.NoticeType{automations.EventReceivedNotice}, Status: automations.WebhookEnabled}
		started := e.mustAccept(t, event("start", "ada@example.com")).Started
		time.Sleep(idle)
		stop()
		err = db.Update(func(tx *storage.Tx) error { return errors.Join(tx.SaveWorkflow(damaged), tx.SaveWebhook(hook)) })
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
		damage(t, path, damaged.Name, hook.Endpoint)

		e = newEngine(t, Config{DB: storagetest.Reopen(t, path)})
		e.start(t)
		r := e.mustAccept(t, event("start", "bob@example.com"))
		if len(r.Started) != 1 || r.Started[0].WorkflowID != sound.ID {
			t.Errorf("started %v", r.Started)
		}
		time.Sleep(time.Hour)
		for _, run := range started {
			if run := runOf(t, e.db, run); run.Status != automations.RunCompleted {
				t.Errorf("a run is %s: %s", run.Status, run.FailureReason)
			}
		}
	})
}

// A mail whose content is damaged fails, and others leave.
func TestDamagedMailFailsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := t.TempDir() + "/x.db"
		db, err := storage.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		var requests []*EmailRequest
		for _, text := range []string{"the damaged text", "sound"} {
			requests = append(requests, &EmailRequest{To: []string{"a@example.com"}, Subject: text[:5], Text: text})
		}
		if _, _, err := newEngine(t, Config{DB: db}).SendEmails(requests, true, nil); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		damage(t, path, requests[0].Text)
		e := newEngine(t, Config{DB: storagetest.Reopen(t, path)})
		e.start(t)
		time.Sleep(idle)
		wantList(t, "failed", subjects(t, e.db, automations.EmailFailed), "the d")
		wantList(t, "captured", subjects(t, e.db, automations.EmailCaptured), "sound")
	})
}
