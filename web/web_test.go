package web

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
	"github.com/opensend/opensend/storage/storagetest"
)

const script = `<script>alert(1)</script>`

// fill stores one of everything, with a script in every text.
func fill(t *testing.T, db *storage.DB) (delivery, workflow, run, email automations.ID) {
	t.Helper()
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	id := func() automations.ID { return uuid.Must(uuid.NewV7()) }
	delivery, workflow, run, email = id(), id(), id(), id()
	err := db.Update(func(tx *storage.Tx) error {
		definition, err := automations.ParseDefinition(json.RawMessage(`[{"key":"t","type":"trigger","config":{"event_name":"x"}},{"key":"m","type":"send_email","config":{"subject":"s","html":"h"}}]`), nil, "", id)
		if err != nil {
			return err
		}
		contact := &automations.Contact{ID: id(), Email: "a@example.com", FirstName: script, CreatedAt: now}
		ref := automations.RunRef{WorkflowID: workflow, RunID: run}
		for _, err := range []error{
			tx.CreateContact(contact),
			tx.SaveWorkflow(&automations.Workflow{ID: workflow, Name: script, Revision: 1, CreatedAt: now}),
			tx.AddRevision(&automations.Revision{WorkflowID: workflow, Number: 1, Definition: definition, CreatedAt: now}),
			tx.AddDelivery(&automations.Delivery{
				ID: delivery, Event: script, ContactID: contact.ID, Email: script, Payload: json.RawMessage(`{"a":"` + script + `"}`), ReceivedAt: now,
				Verdicts: []automations.Verdict{{Reason: automations.Started, WorkflowID: workflow, RunID: run, Compared: []automations.Comparison{{Field: script, Operator: "equals", Expected: json.RawMessage(`"` + script + `"`)}}}},
			}),
			tx.InsertRun(&automations.Run{
				ID: run, WorkflowID: workflow, Revision: 1, Status: automations.RunCompleted, TriggerEventID: delivery, ContactID: contact.ID, FailureReason: script, CreatedAt: now,
				Steps: map[string]*automations.StepState{"m": {Status: automations.StepCompleted, StartedAt: now, Output: json.RawMessage(`{"email_id":"` + email.String() + `","x":"` + script + `"}`), Error: script}},
			}),
			tx.InsertEmail(&automations.Email{ID: email, Status: automations.EmailCaptured, Run: ref, StepKey: "m", From: script, To: []string{script}, Subject: script, LastError: script, CreatedAt: now},
				&automations.EmailContent{HTML: "<p>Hi</p>" + script, Text: script}),
		} {
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return delivery, workflow, run, email
}

func TestPages(t *testing.T) {
	db := storagetest.Open(t)
	d, err := New(Config{DB: db, BaseURL: "http://127.0.0.1:8787", Captures: true})
	if err != nil {
		t.Fatal(err)
	}
	get := func(path string, cookie *http.Cookie) *http.Response {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		if cookie != nil {
			r.AddCookie(cookie)
		}
		w := httptest.NewRecorder()
		d.Handler().ServeHTTP(w, r)
		return w.Result()
	}
	signIn := get(strings.TrimPrefix(d.SignInURL(), "http://127.0.0.1:8787"), nil)
	if signIn.StatusCode != http.StatusSeeOther || len(signIn.Cookies()) != 1 || !signIn.Cookies()[0].HttpOnly {
		t.Fatalf("sign in: %d %v", signIn.StatusCode, signIn.Cookies())
	}
	cookie := signIn.Cookies()[0]
	if body := read(t, get("/dashboard", cookie)); !strings.Contains(body, "No events yet") || !strings.Contains(body, "curl http://127.0.0.1:8787/events/send") {
		t.Errorf("the empty page: %s", body)
	}
	delivery, workflow, run, email := fill(t, db)
	for path, words := range map[string]string{
		"/dashboard": "captured",
		"/dashboard/deliveries/" + delivery.String():                "What it did",
		"/dashboard/runs/" + workflow.String() + "/" + run.String(): "send_email",
		"/dashboard/emails/" + email.String():                       "<h2>Text</h2>",
	} {
		if resp := get(path, nil); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s without signing in: %d", path, resp.StatusCode)
		}
		if resp := get(path, &http.Cookie{Name: cookieName, Value: "guess"}); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s with a guess: %d", path, resp.StatusCode)
		}
		resp := get(path, cookie)
		body := read(t, resp)
		if resp.StatusCode != http.StatusOK || !strings.Contains(body, words) || strings.Contains(body, script) {
			t.Errorf("%s: %d\n%s", path, resp.StatusCode, body)
		}
		if csp := resp.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: CSP %q", path, csp)
		}
	}
	framed := get("/dashboard/emails/"+email.String()+"/html", cookie)
	if body := read(t, framed); !strings.Contains(body, "<p>Hi</p>") || !strings.HasPrefix(framed.Header.Get("Content-Security-Policy"), "sandbox;") {
		t.Errorf("the mail in its frame: %v %s", framed.Header, body)
	}
	if resp := get("/dashboard/emails/"+email.String()+"/html", nil); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a mail without signing in: %d", resp.StatusCode)
	}
	for path, status := range map[string]int{"/dashboard/emails/x": 404, "/dashboard/nowhere": 404, "/dashboard/sign-in?token=x": 403, "/": 303, "/dashboard/style.css": 200} {
		if resp := get(path, cookie); resp.StatusCode != status {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
}

func read(t *testing.T, resp *http.Response) string {
	t.Helper()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
