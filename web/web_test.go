package web

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/engine"
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

func newDashboard(t *testing.T) (*storage.DB, *Dashboard) {
	t.Helper()
	db := storagetest.Open(t)
	e, err := engine.New(engine.Config{DB: db, BaseURL: "http://127.0.0.1:8787"})
	if err != nil {
		t.Fatal(err)
	}
	d, err := New(Config{DB: db, Engine: e, BaseURL: "http://127.0.0.1:8787", Captures: true})
	if err != nil {
		t.Fatal(err)
	}
	return db, d
}

func TestPages(t *testing.T) {
	db, d := newDashboard(t)
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

// The link in a mail shows a page and changes nothing until its button, or that
// of a mail program, is pressed.
func TestUnsubscribe(t *testing.T) {
	db, d := newDashboard(t)
	contact := &automations.Contact{ID: uuid.Must(uuid.NewV7()), Email: "ada@example.com"}
	news := &automations.Topic{ID: uuid.Must(uuid.NewV7()), Name: "News" + script, Default: automations.OptIn}
	offers := &automations.Topic{ID: uuid.Must(uuid.NewV7()), Name: "Offers", Default: automations.OptOut}
	var all, ofNews string
	err := db.Update(func(tx *storage.Tx) error {
		all = "/unsubscribe/" + base64.RawURLEncoding.EncodeToString(tx.UnsubscribeToken(contact.ID, automations.ID{}))
		ofNews = "/unsubscribe/" + base64.RawURLEncoding.EncodeToString(tx.UnsubscribeToken(contact.ID, news.ID))
		return errors.Join(tx.CreateContact(contact), tx.SaveTopic(news), tx.SaveTopic(offers))
	})
	if err != nil {
		t.Fatal(err)
	}
	call := func(method, path, form string) (int, string) {
		r := httptest.NewRequest(method, path, strings.NewReader(form))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		d.Handler().ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	is := func(what string, unsubscribed bool, newsIs, offersIs automations.Subscription) {
		t.Helper()
		err := db.View(func(tx *storage.Tx) error {
			c, err := tx.Contact(contact.ID)
			if err != nil || c.Unsubscribed != unsubscribed || news.Subscription(c) != newsIs || offers.Subscription(c) != offersIs {
				t.Errorf("%s: %v, news %s, offers %s, %v", what, c.Unsubscribed, news.Subscription(c), offers.Subscription(c), err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{all, ofNews} {
		status, body := call(http.MethodGet, path, "")
		if status != 200 || !strings.Contains(body, "a…@example.com") || strings.Contains(body, "ada@") || strings.Contains(body, script) || !strings.Contains(body, "<button>") {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	is("looking", false, automations.OptIn, automations.OptOut)
	if status, _ := call(http.MethodPost, ofNews, "List-Unsubscribe=One-Click"); status != 200 {
		t.Error(status)
	}
	is("one click of a topic", false, automations.OptOut, automations.OptOut)
	call(http.MethodPost, all, "choice=topics&topic="+offers.ID.String())
	is("a choice", false, automations.OptOut, automations.OptIn)
	if _, body := call(http.MethodPost, all, "List-Unsubscribe=One-Click"); !strings.Contains(body, "unsubscribed from all mail") {
		t.Error(body)
	}
	is("one click", true, automations.OptOut, automations.OptIn)
	call(http.MethodPost, all, "choice=topics&topic="+news.ID.String())
	is("back again", false, automations.OptIn, automations.OptOut)
	call(http.MethodPost, ofNews, "choice=nothing")
	is("nothing at all", true, automations.OptIn, automations.OptOut)
	for _, bad := range []string{"/unsubscribe/x", all + "x", all[:len(all)-2] + "AA", "/unsubscribe/" + strings.Repeat("A", 43)} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			if status, body := call(method, bad, ""); status != 404 || !strings.Contains(body, "not valid") {
				t.Errorf("%s %s: %d", method, bad, status)
			}
		}
	}
	if err := db.Update(func(tx *storage.Tx) error { return tx.DeleteContact(contact.ID) }); err != nil {
		t.Fatal(err)
	}
	if status, _ := call(http.MethodPost, all, ""); status != 404 {
		t.Errorf("a deleted contact: %d", status)
	}
}
