package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/mail"
	"github.com/opensend/opensend/storage"
	"github.com/opensend/opensend/storage/storagetest"
)

// newEngine makes an engine on a new file.
func newEngine(t testing.TB, cfg Config) *Engine {
	t.Helper()
	if cfg.DB == nil {
		cfg.DB = storagetest.Open(t)
	}
	cfg.From = "Example <hello@example.com>"
	cfg.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	e, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// start runs the engine until the test ends or stop is called.
func (e *Engine) start(t testing.TB) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done, stopped := make(chan error, 1), false
	go func() { done <- e.Run(ctx) }()
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return stop
}

// workflow stores an enabled workflow.
func workflow(t testing.TB, db *storage.DB, steps, connections string, dedup *automations.Deduplication) *automations.Workflow {
	t.Helper()
	d, err := automations.ParseDefinition(json.RawMessage(steps), json.RawMessage(connections), "", newID)
	if err != nil {
		t.Fatal(err)
	}
	flow, err := automations.Compile(d)
	if err != nil {
		t.Fatal(err)
	}
	w := &automations.Workflow{
		ID: newID(), Name: "test", Status: automations.StatusEnabled, Revision: 1, Deduplication: dedup, CreatedAt: now(), UpdatedAt: now(),
		Trigger: flow.Trigger().Action.(*automations.TriggerAction).EventName, StepCount: len(d.Steps),
	}
	err = db.Update(func(tx *storage.Tx) error {
		return errors.Join(tx.AddRevision(&automations.Revision{WorkflowID: w.ID, Number: 1, Definition: d, CreatedAt: now()}), tx.SaveWorkflow(w))
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func event(name, email string) *automations.Event {
	return &automations.Event{Name: name, Email: email, Payload: json.RawMessage(`{"plan":"pro"}`)}
}

func (e *Engine) mustAccept(t testing.TB, ev *automations.Event) *Receipt {
	t.Helper()
	r, _, err := e.Accept(ev, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// runOf reads the present state of a run.
func runOf(t testing.TB, db *storage.DB, r *automations.Run) (run *automations.Run) {
	t.Helper()
	err := db.View(func(tx *storage.Tx) error {
		row, err := tx.Run(r.Ref())
		if err == nil {
			run = row.Run
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// emailOf reads the mail of a run's step and what is kept of its content.
func emailOf(t testing.TB, db *storage.DB, keep func(*automations.Email) bool) (email *automations.Email, content *automations.EmailContent) {
	t.Helper()
	err := db.View(func(tx *storage.Tx) error {
		found, _, err := tx.Emails(storage.Page{Limit: 1}, keep)
		if err != nil || len(found) == 0 {
			return errors.Join(err, fmt.Errorf("%d mails", len(found)))
		}
		email = found[0]
		content, err = tx.EmailContent(email.ID)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return email, content
}

// senderFunc is a transport that does what the test says.
type senderFunc func(context.Context, mail.Envelope) (mail.Reply, error)

func (f senderFunc) Send(ctx context.Context, e mail.Envelope) (mail.Reply, error) { return f(ctx, e) }

// sendFunc is one that marks nothing.
type sendFunc func(from string, to []string, message []byte) (mail.Reply, error)

func (f sendFunc) Send(_ context.Context, e mail.Envelope) (mail.Reply, error) {
	return f(e.From, e.To, e.Message)
}

const sendNow = `[{"key":"t","type":"trigger","config":{"event_name":"start"}},
	{"key":"m","type":"send_email","config":{"subject":"Hi","html":"<p>{{event.plan}}</p>"}}]`

// idle is long enough for everything that is due to be done in virtual time.
const idle = time.Second
