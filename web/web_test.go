package web

import (
	"bufio"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/engine"
	"github.com/opensend/opensend/server"
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
	e, err := engine.New(engine.Config{DB: db, BaseURL: base})
	if err != nil {
		t.Fatal(err)
	}
	api, err := server.New(server.Config{DB: db, Engine: e})
	if err != nil {
		t.Fatal(err)
	}
	d, err := New(Config{DB: db, Engine: e, API: api.Control(), BaseURL: base})
	if err != nil {
		t.Fatal(err)
	}
	return db, d
}

const base = "http://127.0.0.1:8787"

// browser is a client of the dashboard that keeps its cookies.
type browser struct {
	t       *testing.T
	d       *Dashboard
	cookies map[string]string
}

func (b *browser) do(method, path, form string, headers ...string) *http.Response {
	b.t.Helper()
	r := httptest.NewRequest(method, base+path, strings.NewReader(form))
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	w := httptest.NewRecorder()
	b.d.Handler().ServeHTTP(w, r)
	resp := w.Result()
	for _, c := range resp.Cookies() {
		if b.cookies[c.Name] = c.Value; c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		}
	}
	return resp
}

func (b *browser) get(path string) *http.Response { return b.do(http.MethodGet, path, "") }

func (b *browser) want(resp *http.Response, status int, words string) string {
	b.t.Helper()
	body := read(b.t, resp)
	if resp.StatusCode != status || !strings.Contains(body, words) {
		b.t.Fatalf("status %d instead of %d, or no %q in:\n%s", resp.StatusCode, status, words, body)
	}
	return body
}

const password = "correct horse battery"

// signedIn makes the first user with the link of the first start.
func signedIn(t *testing.T, d *Dashboard) *browser {
	t.Helper()
	b := &browser{t, d, map[string]string{}}
	link, err := d.Invitation()
	if err != nil {
		t.Fatal(err)
	}
	path := strings.TrimPrefix(link, base)
	b.want(b.get(path), 200, "Welcome to opensend")
	_, secret, _ := strings.Cut(path, "invitation=")
	b.want(b.do(http.MethodPost, "/dashboard/join", "invitation="+secret+"&name=Ada&password="+password+"&again="+password), 303, "")
	return b
}

func TestPages(t *testing.T) {
	db, d := newDashboard(t)
	b := signedIn(t, d)
	b.want(b.get("/dashboard"), 200, "Nothing has come in yet")
	delivery, workflow, run, email := fill(t, db)
	for path, words := range map[string]string{
		"/dashboard":                             "in the last 24 hours",
		"/dashboard/events":                      "started",
		"/dashboard/events/" + delivery.String(): "What it did",
		"/dashboard/runs/" + workflow.String() + "/" + run.String(): "send email",
		"/dashboard/runs":                                              "completed",
		"/dashboard/automations":                                       "0 in flight",
		"/dashboard/automations/" + workflow.String():                  "written in the step",
		"/dashboard/automations/" + workflow.String() + "/edit?step=m": "What to send",
		"/dashboard/automations/" + workflow.String() + "/runs":        "completed",
		"/dashboard/automations/" + workflow.String() + "/revisions":   "There is one revision",
		"/dashboard/automations/" + workflow.String() + "/settings":    "Delete the automation",
		"/dashboard/mail":                                              "captured",
		"/dashboard/mail/" + email.String():                            "?tab=text",
	} {
		resp := b.get(path)
		body := b.want(resp, 200, words)
		if strings.Contains(body, script) || strings.Contains(body, "style=") || strings.Contains(body, "onclick") {
			t.Errorf("%s lets through what a record holds, or what the policy forbids:\n%s", path, body)
		}
		if csp := resp.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: CSP %q", path, csp)
		}
	}
	framed := b.get("/dashboard/mail/" + email.String() + "/html")
	if body := read(t, framed); !strings.Contains(body, "<p>Hi</p>") || !strings.HasPrefix(framed.Header.Get("Content-Security-Policy"), "sandbox;") {
		t.Errorf("the mail in its frame: %v %s", framed.Header, body)
	}
	for path, status := range map[string]int{"/dashboard/mail/x": 404, "/dashboard/nowhere": 404, "/": 303, "/dashboard/static/style.css": 200, "/dashboard/static/htmx.min.js": 200} {
		if resp := b.get(path); resp.StatusCode != status {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
}

// Nothing answers without a session: every route but those that are open.
func TestNothingAnswersWithoutASession(t *testing.T) {
	db, d := newDashboard(t)
	fill(t, db)
	for _, known := range []bool{false, true} {
		if known {
			signedIn(t, d)
		}
		for _, cookie := range []string{"", "guess"} {
			b := &browser{t, d, map[string]string{sessionCookie: cookie}}
			for _, rt := range routes() {
				path := home + strings.NewReplacer("{id}", "x", "{workflow}", "x", "{run}", "x").Replace(rt.path)
				resp := b.do(rt.method, path, "")
				body := read(t, resp)
				to := resp.Header.Get("Location")
				if !rt.open && rt.method == http.MethodGet && (resp.StatusCode != http.StatusSeeOther || !strings.HasPrefix(to, "/dashboard/sign-in?")) {
					t.Errorf("%s: %d to %s: %s", path, resp.StatusCode, to, body)
				}
				if !rt.open && rt.method == http.MethodPost && (resp.StatusCode != http.StatusUnauthorized || !strings.Contains(body, "Your session has ended") || strings.Contains(body, "a@example.com")) {
					t.Errorf("%s %s: %d to %s: %s", rt.method, path, resp.StatusCode, to, body)
				}
				if rt.open && (strings.Contains(body, "a@example.com") || resp.StatusCode == http.StatusSeeOther) {
					t.Errorf("%s %s without a session: %d %s", rt.method, path, resp.StatusCode, body)
				}
			}
		}
	}
	if resp := (&browser{t, d, map[string]string{}}).do(http.MethodGet, "/dashboard", "", "HX-Request", "true"); resp.StatusCode != http.StatusUnauthorized || read(t, resp) != "" {
		t.Errorf("a part of a page without a session: %d", resp.StatusCode)
	}
	if resp := (&browser{t, d, map[string]string{}}).do(http.MethodGet, "/dashboard/live", "", "Accept", "text/event-stream"); resp.StatusCode != http.StatusUnauthorized || read(t, resp) != "" {
		t.Errorf("what changes without a session: %d", resp.StatusCode)
	}
}

// What has been done is said by the page that is opened, not to a part of another
// that looks again meanwhile.
func TestNoticesReachPages(t *testing.T) {
	_, d := newDashboard(t)
	b := signedIn(t, d)
	b.do(http.MethodPost, "/dashboard/contacts/segments", "name=Customers")
	b.do(http.MethodGet, "/dashboard", "", "HX-Request", "true")
	const said = `<p class="banner good" role="status">`
	b.want(b.get("/dashboard/contacts/segments"), 200, said)
	if again := read(t, b.get("/dashboard/contacts/segments")); strings.Contains(again, said) {
		t.Error("it is said twice")
	}
}

func TestSigningIn(t *testing.T) {
	db, d := newDashboard(t)
	first, err := d.Invitation()
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t, d, map[string]string{}}
	b.want(b.get("/dashboard/sign-in"), 200, "Nobody has set a password yet")
	second, err := d.Invitation()
	if err != nil {
		t.Fatal(err)
	}
	b.want(b.get(strings.TrimPrefix(first, base)), 422, "not good any more") // replaced by the next start's
	_, secret, _ := strings.Cut(second, "invitation=")
	join := func(form string) *http.Response {
		return b.do(http.MethodPost, "/dashboard/join", "invitation="+secret+"&"+form)
	}
	b.want(join("name=Ada&password=short&again=short"), 422, "at least 10 characters")
	b.want(join("name=Ada&password="+password+"&again=other+password"), 422, "the two passwords differ")
	b.want(join("name=&password="+password+"&again="+password), 422, "name is required")
	b.want(join("name=Ada&password="+password+"&again="+password), 303, "")
	b.want(b.get("/dashboard"), 200, "Welcome")
	b.want(join("name=Eve&password="+password+"&again="+password), 422, "not good any more") // used
	if link, err := d.Invitation(); err != nil || link != "" {
		t.Errorf("an invitation although there is a user: %s %v", link, err)
	}

	old := b.cookies[sessionCookie]
	if strings.Contains(rawFile(t, db), old) || strings.Contains(rawFile(t, db), password) {
		t.Error("the file gives away a session or a password")
	}
	b.want(b.do(http.MethodPost, "/dashboard/sign-out", "", "Sec-Fetch-Site", "cross-site"), 403, "") // from another site
	b.want(b.get("/dashboard"), 200, "")
	b.want(b.do(http.MethodPost, "/dashboard/sign-out", ""), 303, "")
	again := &browser{t, d, map[string]string{sessionCookie: old}}
	b.want(again.get("/dashboard"), 303, "")

	in := func(name, password, to string) *http.Response {
		return b.do(http.MethodPost, "/dashboard/sign-in", url.Values{"name": {name}, "password": {password}, "to": {to}}.Encode())
	}
	b.want(in("nobody", password, ""), 422, "the name or the password is wrong")
	for to, want := range map[string]string{"/dashboard/mail?x=1": "/dashboard/mail?x=1", "https://evil.example/dashboard": "/dashboard", "//evil.example/dashboard": "/dashboard", "/elsewhere": "/dashboard"} {
		if resp := in("aDa", password, to); resp.Header.Get("Location") != want {
			t.Errorf("to %s: %d %s", to, resp.StatusCode, resp.Header.Get("Location"))
		}
	}
	for range freeGuesses {
		in("Ada", "wrong", "")
	}
	b.want(in("Ada", password, ""), 422, "too many wrong passwords")
}

// A session ends when it is not used, and in any case; all of somebody's can be
// ended at once.
func TestSessionsEnd(t *testing.T) {
	db, d := newDashboard(t)
	one := signedIn(t, d)
	two := &browser{t, d, map[string]string{}}
	two.want(two.do(http.MethodPost, "/dashboard/sign-in", "name=Ada&password="+password), 303, "")
	age := func(b *browser, change func(*automations.Session)) {
		err := db.Update(func(tx *storage.Tx) error {
			s, err := tx.Session(b.cookies[sessionCookie])
			if err != nil {
				return err
			}
			change(s)
			return tx.SaveSession(b.cookies[sessionCookie], s)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	age(one, func(s *automations.Session) { s.SeenAt = s.SeenAt.Add(-6 * 24 * time.Hour) })
	one.want(one.get("/dashboard"), 200, "") // and this use counts
	age(one, func(s *automations.Session) { s.SeenAt = s.SeenAt.Add(-6 * 24 * time.Hour) })
	one.want(one.get("/dashboard"), 200, "")
	age(one, func(s *automations.Session) { s.SeenAt = s.SeenAt.Add(-automations.SessionIdle) })
	one.want(one.get("/dashboard"), 303, "")
	age(two, func(s *automations.Session) { s.CreatedAt = s.CreatedAt.Add(-automations.SessionLife) })
	two.want(two.get("/dashboard"), 303, "")
	for _, b := range []*browser{one, two} {
		b.want(b.do(http.MethodPost, "/dashboard/sign-in", "name=Ada&password="+password), 303, "")
	}
	one.want(one.do(http.MethodPost, "/dashboard/sign-out", "everywhere=1"), 303, "")
	two.want(two.get("/dashboard"), 303, "")
}

func rawFile(t *testing.T, db *storage.DB) string {
	t.Helper()
	raw, err := os.ReadFile(db.Path())
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
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
	link := func(token []byte) string { return "/unsubscribe/" + base64.RawURLEncoding.EncodeToString(token) }
	var all, ofNews, forged string
	err := db.Update(func(tx *storage.Tx) error {
		token := tx.UnsubscribeToken(contact.ID, automations.ID{})
		all, ofNews = link(token), link(tx.UnsubscribeToken(contact.ID, news.ID))
		token[len(token)-1] ^= 1
		forged = link(token)
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
	for _, bad := range []string{"/unsubscribe/x", all + "x", forged, "/unsubscribe/" + strings.Repeat("A", 43)} {
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

// A page that was made before something was written is told at once, whenever
// it begins to listen.
func TestLiveTellsWhatWasMissed(t *testing.T) {
	db, d := newDashboard(t)
	b := signedIn(t, d)
	page := b.want(b.get("/dashboard"), 200, `data-live="/dashboard/live?seen=`)
	seen := regexp.MustCompile(`live\?seen=(\d+)`).FindString(page)
	fill(t, db)
	server := httptest.NewServer(d.Handler())
	defer server.Close()
	defer d.Stop()
	r, err := http.NewRequest(http.MethodGet, server.URL+"/dashboard/"+seen, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.AddCookie(&http.Cookie{Name: sessionCookie, Value: b.cookies[sessionCookie]})
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if lines.Text() == "event: change" {
			return
		}
	}
	t.Error("the page was not told")
}

// Every file of a page belongs to a route, and can be read.
func TestPagesAreWhole(t *testing.T) {
	_, d := newDashboard(t)
	paths, err := fs.Glob(files, "pages/*.html")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		name := strings.TrimSuffix(strings.TrimPrefix(path, "pages/"), ".html")
		if name == "layout" || name == "parts" {
			continue
		}
		if d.pages[name] == nil {
			t.Errorf("no route shows %s", path)
		} else if _, err := d.pages[name](); err != nil {
			t.Error(err)
		}
	}
	if len(paths) != len(d.pages)+2 {
		t.Errorf("%d files, %d pages", len(paths), len(d.pages))
	}
}

// Static files are the same compressed and plain, and the first page with all
// that it loads stays small.
func TestStaticFilesAreSmall(t *testing.T) {
	_, d := newDashboard(t)
	b := signedIn(t, d)
	page := read(t, b.get("/dashboard"))
	bytes := len(page)
	for _, m := range regexp.MustCompile(`(?:src|href)="(/dashboard/static/[^"]+)"`).FindAllStringSubmatch(page, -1) {
		plain := read(t, b.get(m[1]))
		resp := b.do(http.MethodGet, m[1], "", "Accept-Encoding", "gzip")
		small := read(t, resp)
		z, err := gzip.NewReader(strings.NewReader(small))
		if err != nil || resp.Header.Get("Content-Encoding") != "gzip" || resp.Header.Get("Content-Type") == "" {
			t.Fatalf("%s: %v %v", m[1], resp.Header, err)
		}
		if whole, err := io.ReadAll(z); err != nil || string(whole) != plain || plain == "" {
			t.Errorf("%s is another file when it is compressed: %v", m[1], err)
		}
		bytes += len(small)
	}
	t.Logf("the first page takes %d bytes", bytes)
	if bytes > 60<<10 {
		t.Errorf("the first page takes %d bytes", bytes)
	}
	if resp := b.do(http.MethodGet, "/dashboard/static/nothing.css", "", "Accept-Encoding", "gzip"); resp.StatusCode != http.StatusNotFound {
		t.Errorf("a file that is not there: %d", resp.StatusCode)
	}
}
