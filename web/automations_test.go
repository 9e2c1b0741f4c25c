package web

import (
	"context"
	"encoding/json"
	"html"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/server"
	"github.com/opensend/opensend/storage"
)

// submit presses a button of a page's builder, as a browser does: with
// everything that the form holds. change sets other fields before.
func (b *browser) submit(page, do string, change url.Values) *http.Response {
	b.t.Helper()
	_, rest, _ := strings.Cut(page, `<form id="builder"`)
	_, rest, _ = strings.Cut(rest, `action="`)
	path, rest, _ := strings.Cut(rest, `"`)
	rest, _, _ = strings.Cut(rest, "</form>")
	form := url.Values{"do": {do}}
	add := func(name, value string) {
		form.Add(name, strings.ReplaceAll(html.UnescapeString(value), "\n", "\r\n"))
	}
	for _, m := range regexp.MustCompile(`<input ([^>]*)>`).FindAllStringSubmatch(rest, -1) {
		if attribute(m[1], "type") != "checkbox" {
			add(attribute(m[1], "name"), attribute(m[1], "value"))
		}
	}
	for _, m := range regexp.MustCompile(`(?s)<textarea ([^>]*)>\n(.*?)</textarea>`).FindAllStringSubmatch(rest, -1) {
		add(attribute(m[1], "name"), m[2])
	}
	for _, m := range regexp.MustCompile(`(?s)<select ([^>]*)>(.*?)</select>`).FindAllStringSubmatch(rest, -1) {
		chosen := regexp.MustCompile(`<option value="([^"]*)" selected>`).FindStringSubmatch(m[2])
		if chosen != nil {
			add(attribute(m[1], "name"), chosen[1])
		}
	}
	for name, values := range change {
		form[name] = values
	}
	return b.post(path, form)
}

func attribute(tag, name string) string {
	m := regexp.MustCompile(`(?:^|\s)` + name + `="([^"]*)"`).FindStringSubmatch(tag)
	if m == nil {
		return ""
	}
	return m[1]
}

// made is where a redirect leads, without what is behind the automation.
func made(t *testing.T, resp *http.Response) (at string, id automations.ID) {
	t.Helper()
	if resp.StatusCode != http.StatusSeeOther {
		t.Fatalf("status %d: %s", resp.StatusCode, read(t, resp))
	}
	at = strings.TrimSuffix(resp.Header.Get("Location"), "/edit")
	id, ok := automations.ParseID(at[strings.LastIndex(at, "/")+1:])
	if !ok {
		t.Fatalf("it leads to %q", at)
	}
	return at, id
}

func definitionOf(t *testing.T, db *storage.DB, id automations.ID) (w *automations.Workflow, d automations.Definition) {
	t.Helper()
	err := db.View(func(tx *storage.Tx) (err error) {
		if w, err = tx.Workflow(id); err != nil {
			return err
		}
		revision, err := tx.Revision(id, w.Revision)
		if err == nil {
			d = revision.Definition
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return w, d
}

// An automation is built by pressing buttons and filling in fields alone, and
// published when nothing is wrong with it.
func TestBuilder(t *testing.T) {
	db, d := newDashboard(t)
	b := signedIn(t, d)
	b.want(b.get("/dashboard/automations"), 200, "No automations yet")
	b.want(b.get("/dashboard/automations/new?event=user.went"), 200, `value="user.went"`)
	b.want(b.post("/dashboard/automations", url.Values{"name": {"A" + script}, "event": {"resend:x"}}), 422, "reserved")
	at, id := made(t, b.post("/dashboard/automations", url.Values{"name": {"A" + script}, "event": {"start" + script}}))
	page := b.want(b.get(at+"/edit"), 200, "Add after trigger")
	if strings.Contains(page, script) || strings.Contains(page, "style=") {
		t.Error("the builder lets through what a record holds")
	}
	press := func(do, words string, change url.Values) {
		t.Helper()
		page = b.want(b.submit(page, do, change), 200, words)
	}
	press("at trigger default", "Ask a question", nil)
	press("insert trigger default condition", "<code>rules[0]</code>: the field must be", nil) // it has no field yet
	press("apply", "If plan is pro", url.Values{"rules.0.field": {"event.plan"}, "rules.0.value": {"pro"}})
	press("group rules", "One of these", nil)
	press("drop rules.1", "If plan is pro", nil)
	press("insert condition condition_met send_email", "What to send", nil)
	press("apply", "Runs would fail", url.Values{"set.subject": {"Hi " + script}, "set.html": {"<p>Hello {{event.plan}}</p>"}, "key": {"hello"}})
	press("insert condition condition_not_met wait_for_event", "Wait for", nil)
	press("at wait_for_event timeout", "<h2>Add after pay, ", url.Values{"set.event_name": {"paid"}, "set.timeout": {"2 days"}, "key": {"pay"}})
	press("insert pay timeout delay", "Wait 1 day", nil)
	press("apply", "is not a duration", url.Values{"set.duration": {"soon"}})
	press("review", "Publish revision 2", nil)
	press("publish", "Nothing was published", nil)
	press("undo", "Wait 1 day", nil)
	press("connect pay event_received", "Wait 1 day", url.Values{"to": {"hello"}})
	press("connect hello default", "close a circle", url.Values{"to": {"condition"}})
	press("remove trigger", "cannot be removed", nil)
	press("open trigger", "When it starts", nil)
	press("apply", "dropped", url.Values{"set.dedup": {"on"}, "set.dedup_window": {"2 hours"}, "set.dedup_key": {"order_id"}})
	if strings.Contains(page, script) {
		t.Error("the builder lets through what a record holds")
	}
	press("review", "<span class=\"chip added\">added</span> connection pay timeout → delay", nil)
	if w, _ := definitionOf(t, db, id); w.Revision != 1 || w.Deduplication != nil {
		t.Errorf("it was published before: %+v", w)
	}
	b.want(b.submit(page, "publish", url.Values{"enable": {"1"}}), 303, "")
	w, def := definitionOf(t, db, id)
	if w.Revision != 2 || w.Status != automations.StatusEnabled || w.Deduplication == nil || w.Deduplication.WindowSeconds != 7200 || w.Deduplication.Key[0] != "event.order_id" {
		t.Errorf("published: %+v %+v", w, w.Deduplication)
	}
	text := draft{Definition: def}.text()
	for _, want := range []string{`"html": "<p>Hello {{event.plan}}</p>"`, `{"from":"pay","to":"hello","type":"event_received"}`, `{"from":"pay","to":"delay","type":"timeout"}`, `"timeout":"2 days"`, `"value": "pro"`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	b.want(b.get(at), 200, "Revision 2 is published.")
	b.want(b.get(at+"/revisions"), 200, "From revision 1 to revision 2")
	b.want(b.get(at+"/revisions?from=1&to=9"), 404, "")
	b.want(b.get(at+"/edit?revision=1"), 200, "data-unsaved")
}

// The text beside the drawing is the same thing: it may be changed by hand,
// and what is wrong with it is said without losing it.
func TestBuilderText(t *testing.T) {
	db, d := newDashboard(t)
	b := signedIn(t, d)
	at, id := made(t, b.post("/dashboard/automations", url.Values{"starter": {"recovery"}}))
	first := b.want(b.get(at+"/edit"), 200, "Payment recovery")
	if strings.Contains(first, "data-unsaved") {
		t.Error("an automation that was just made has changes")
	}
	for text, words := range map[string]string{
		`{"steps":[`: "not a draft yet", `{"steps":[{"key":"a","type":"send_mail"}]}`: "did you mean send_email?", `{"steps":[]}`: "needs steps", `{"step":[]}`: "did you mean steps?",
		`{"steps":[{"key":"a","type":"end"}]}`: "must be the trigger",
		`{"steps":[{"key":"t","type":"trigger","config":{"event_name":"x"}},{"key":"t","type":"end","config":{}}]}`:  "two steps have the key",
		`{"steps":[{"key":"t","type":"trigger","config":{"event_name":"x"}}],"connections":[{"from":"t","to":"t"}]}`: "connected to itself",
	} {
		page := b.want(b.submit(first, "apply", url.Values{"draft": {text}}), 200, words)
		if !strings.Contains(html.UnescapeString(page), "\n"+text) && words != "must be the trigger" && !strings.Contains(words, "two steps") && !strings.Contains(words, "itself") {
			t.Errorf("%s was lost", text)
		}
		b.want(b.submit(page, "publish", nil), 200, "") // whatever is pressed now
		b.want(b.submit(page, "remove a", nil), 200, "")
	}
	edited := textOf(first)
	edited = strings.Replace(edited, `"timeout":"3 days"`, `"timeout":"5 days"`, 1)
	page := b.want(b.submit(first, "open three_days", url.Values{"draft": {edited}}), 200, `value="5 days"`)
	page = b.want(b.submit(page, "undo", nil), 200, `value="3 days"`)
	page = b.want(b.submit(page, "split notice", nil), 200, "no way that is for both outcomes")

	// Somebody else publishes meanwhile.
	if err := callAs(d, http.MethodPatch, "/automations/"+id.String(), `{"trigger_event_name":"other"}`); err != nil {
		t.Fatal(err)
	}
	page = b.want(b.submit(b.want(b.submit(page, "open mark", nil), 200, "payment_overdue"), "publish", url.Values{"pair.value": {"false"}}), 200, "was published while you changed")
	b.want(b.do(http.MethodPost, at+"/edit", "do=publish&base=2&draft="+url.QueryEscape(textOf(page)), "HX-Request", "true"), 200, "")
	if w, def := definitionOf(t, db, id); w.Revision != 3 || !strings.Contains(string(def.Steps[5].Config), "false") {
		t.Errorf("revision %d: %s", w.Revision, def.Steps[5].Config)
	}
}

// textOf is the draft that a page of the builder shows.
func textOf(page string) string {
	_, rest, _ := strings.Cut(page, `<textarea id="draft"`)
	_, rest, _ = strings.Cut(rest, ">\n")
	text, _, _ := strings.Cut(rest, "</textarea>")
	return html.UnescapeString(text)
}

func callAs(d *Dashboard, method, path, body string) error {
	v := &visit{d: d, user: &automations.User{Name: "test"}}
	v.Request, _ = http.NewRequest(method, path, nil)
	return v.call(method, path, json.RawMessage(body), nil)
}

func TestAutomationButtons(t *testing.T) {
	db, d := newDashboard(t)
	b := signedIn(t, d)
	at, id := made(t, b.post("/dashboard/automations", url.Values{"starter": {"trial"}}))
	b.want(b.get("/dashboard/automations"), 200, "0 in flight")
	b.want(b.get("/dashboard/automations?status=enabled"), 200, "No automation is like that.")
	b.want(b.post(at+"/enable", nil), 303, "")
	b.want(b.post(at+"/delete", nil), 409, "stop it before deleting it")
	b.want(b.post(at+"/settings", url.Values{"name": {"Renamed"}, "set.dedup": {"on"}, "set.dedup_window": {"40 days"}}), 422, "window")
	b.want(b.post(at+"/settings", url.Values{"name": {"Renamed"}, "set.dedup": {"off"}}), 303, "")
	if w, _ := definitionOf(t, db, id); w.Name != "Renamed" || w.Status != automations.StatusEnabled || w.Deduplication == nil || w.Deduplication.Enabled || w.Revision != 1 {
		t.Errorf("%+v", w)
	}
	b.want(b.post(at+"/disable", nil), 303, "")
	twin, _ := made(t, b.post(at+"/duplicate", nil))
	b.want(b.get(twin), 200, "Renamed (copy)")
	b.want(b.get(at+"/settings"), 200, "Delete the automation")
	b.want(b.post(at+"/delete", nil), 303, "")
	for _, path := range []string{at, at + "/edit", at + "/runs", at + "/revisions", at + "/settings", home + "/automations/x"} {
		b.want(b.get(path), 404, "")
	}
	for _, action := range []string{"/enable", "/disable", "/duplicate", "/delete", "/edit", "/settings"} {
		b.want(b.post(at+action, nil), 404, "")
	}
}

// A run is seen, helped on and ended from its page; many from their list.
func TestRunPages(t *testing.T) {
	if testHeader != server.TestHeader {
		t.Fatalf("the dashboard asks for tests with %s, and the API listens to %s", testHeader, server.TestHeader)
	}
	synctest.Test(t, func(t *testing.T) {
		db, d := newDashboard(t)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- d.cfg.Engine.Run(ctx) }()
		defer func() {
			stop()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}()
		b := signedIn(t, d)
		b.want(b.get("/dashboard/runs"), 200, "No runs yet")
		at, id := made(t, b.post("/dashboard/automations", url.Values{"name": {"Flow"}, "event": {"start"}}))
		err := callAs(d, http.MethodPatch, "/automations/"+id.String(), `{"status":"enabled","steps":[{"key":"t","type":"trigger","config":{"event_name":"start"}},
			{"key":"w","type":"wait_for_event","config":{"event_name":"paid","timeout":"3 days","filter_rule":{"type":"rule","field":"ok","operator":"equals","value":true}}},
			{"key":"yes","type":"delay","config":{"duration":"1 day"}},{"key":"no","type":"send_email","config":{"subject":"s","text":"t"}},{"key":"z","type":"end"}],
			"connections":[{"from":"t","to":"w"},{"from":"w","to":"yes","type":"event_received"},{"from":"w","to":"no","type":"timeout"},{"from":"yes","to":"z"},{"from":"no","to":"z"}]}`)
		if err != nil {
			t.Fatal(err)
		}
		start := func(email string, header ...string) string {
			v := &visit{d: d, user: &automations.User{Name: "test"}, Request: (&http.Request{}).WithContext(ctx)}
			var sent struct {
				Runs []struct{ ID automations.ID } `json:"automation_runs"`
			}
			if err := v.send(http.MethodPost, "/events/send", "application/json", []byte(`{"event":"start","email":"`+email+`"}`), &sent, header...); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			return home + "/runs/" + id.String() + "/" + sent.Runs[0].ID.String()
		}
		run := start("a@example.com")
		page := b.want(b.get(run), 200, "waiting for <code>paid</code> until <time datetime=\"2000-01-04T00:00:00.000Z\"")
		if !strings.Contains(page, `by <time datetime="2000-01-05T00:00:00.000Z"`) {
			t.Errorf("no time of the end in\n%s", page)
		}
		b.want(b.post(run+"/fire", url.Values{"payload": {"{"}}), 422, ">\n{</textarea>")
		b.want(b.post(run+"/retry", nil), 409, "only a failed run")
		fired := b.post(run+"/fire", url.Values{"payload": {`{"ok":false}`}})
		b.want(b.get(fired.Header.Get("Location")), 200, "conditions not met")
		fired = b.post(run+"/fire", url.Values{"payload": {`{"ok":true}`}})
		b.want(b.get(fired.Header.Get("Location")), 200, "the run goes on")
		synctest.Wait()
		b.want(b.get(run), 200, "not on its way")
		b.want(b.post(run+"/fire", url.Values{"payload": {`{}`}}), 422, "does not wait for an event")
		b.want(b.post(run+"/skip-wait", nil), 303, "")
		synctest.Wait()
		b.want(b.get(run), 200, "chip completed")
		b.want(b.post(run+"/skip-wait", nil), 409, "only a run that waits")

		test := start("t@example.com", testHeader, "true") // its event is a test's, too
		b.want(b.get(b.post(test+"/fire", url.Values{"payload": {`{"ok":true}`}}).Header.Get("Location")), 200, "the run goes on")
		b.want(b.post(test+"/cancel", nil), 303, "")
		b.want(b.post(test+"/cancel", nil), 409, "cancelled already")

		failed := start("f@example.com") // there is no sender
		b.want(b.post(failed+"/skip-wait", nil), 303, "")
		synctest.Wait()
		b.want(b.get(failed), 200, "Retry from no")
		waiting := []string{start("x@example.com"), start("y@example.com")}
		time.Sleep(time.Minute)
		b.want(b.get(at), 200, "2 runs in flight")
		b.want(b.get("/dashboard/runs"), 200, `data-confirm="Cancel 2 runs?"`)
		b.want(b.get("/dashboard/runs?status=failed"), 200, `data-confirm="Retry 1 run?"`)
		b.want(b.get("/dashboard/runs?contact=X@example.com"), 200, "x@example.com")
		for query, empty := range map[string]string{"contact=nobody@example.com": "No run is like that", "status=skipped": "No run is like that", "contact=%3Cscript%3E": "No run is like that"} {
			if page := b.want(b.get("/dashboard/runs?"+query), 200, empty); strings.Contains(page, "<script>") {
				t.Error(query)
			}
		}
		b.want(b.get(at+"/runs?status=in_flight"), 200, "y@example.com")
		b.want(b.post("/dashboard/runs/retry", url.Values{"status": {"failed"}}), 303, "")
		b.want(b.get("/dashboard/runs"), 200, "1 run made due again.")
		cancelled := b.post("/dashboard/runs/cancel", url.Values{"automation": {id.String()}, "contact": {"x@example.com"}, "back": {"1"}})
		b.want(b.get(cancelled.Header.Get("Location")), 200, "1 run cancelled.")
		b.want(b.get(waiting[0]), 200, "chip cancelled")
		b.want(b.get(waiting[1]), 200, "chip waiting")
		for _, action := range []string{"", "/fire"} {
			if path := home + "/runs/" + id.String() + "/x" + action; action == "" {
				b.want(b.get(path), 404, "")
			} else {
				b.want(b.post(path, nil), 404, "")
			}
		}
		_ = db
	})
}

// A list over several automations goes through all of it, page by page, and
// misses nothing.
func TestRunsArePaged(t *testing.T) {
	db, _ := newDashboard(t)
	var want []automations.ID
	err := db.Update(func(tx *storage.Tx) error {
		flows := []automations.ID{newID(), newID(), newID()}
		for _, w := range flows {
			if err := tx.SaveWorkflow(&automations.Workflow{ID: w}); err != nil {
				return err
			}
		}
		for i := range 6000 {
			run := &automations.Run{ID: newID(), WorkflowID: flows[i%7%3], Status: automations.RunCompleted, CreatedAt: time.Now()}
			if i%100 == 0 {
				run.Status = automations.RunFailed
				want = append(want, run.ID)
			}
			if err := tx.InsertRun(run); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []automations.ID
	pages := 0
	err = db.View(func(tx *storage.Tx) error {
		for after := (automations.ID{}); pages < 20; {
			pages++
			found, err := findRuns(tx, runSearch{Status: "failed"}, after)
			if err != nil {
				return err
			}
			if found.Looked > maxRunLooks {
				t.Errorf("a page looked at %d runs", found.Looked)
			}
			for _, run := range found.Runs {
				got = append(got, run.ID)
			}
			if after = found.Rest; after == (automations.ID{}) {
				return nil
			}
		}
		return nil
	})
	if err != nil || len(got) != len(want) || pages < 2 {
		t.Fatalf("%d runs of %d on %d pages, %v", len(got), len(want), pages, err)
	}
	for i, id := range got {
		if id != want[len(want)-1-i] {
			t.Fatalf("run %d is another", i)
		}
	}
}

// Two who change the settings of one automation, or one event type, do not
// overwrite each other without knowing.
func TestSettingsInTwoTabs(t *testing.T) {
	_, d := newDashboard(t)
	b := signedIn(t, d)
	seen := func(page string) string {
		return html.UnescapeString(strings.Split(strings.SplitAfter(page, `name="seen" value="`)[1], `"`)[0])
	}
	automation, _ := made(t, b.post("/dashboard/automations", url.Values{"name": {"First"}, "event": {"x"}}))
	kind, _ := made(t, b.post("/dashboard/events/types", url.Values{"name": {"first"}, "schema": {`{"plan":"string"}`}}))
	for at, fields := range map[string]url.Values{
		automation + "/settings": {"set.dedup": {"on"}, "set.dedup_window": {"1 day"}},
		kind:                     {"schema": {`{"plan":"number"}`}},
	} {
		save := func(name, opened string) *http.Response {
			form := maps.Clone(fields)
			form["name"], form["seen"] = []string{name}, []string{opened}
			return b.post(at, form)
		}
		opened := seen(b.want(b.get(at), 200, ""))
		b.post(automation+"/enable", nil) // changes no settings
		b.want(save("second", opened), 303, "")
		page := b.want(save("third", opened), 422, "saved elsewhere")
		if !strings.Contains(page, `name="name" value="third"`) {
			t.Errorf("%s: what was typed is gone", at)
		}
		if stored := b.want(b.get(at), 200, ""); !strings.Contains(stored, `name="name" value="second"`) {
			t.Errorf("%s: a refusal was saved", at)
		}
		b.want(save("third", seen(page)), 303, "")
		b.want(save("", seen(b.want(b.get(at), 200, ""))), 422, "")
	}
}
