package web

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// newTemplate makes a template over its page and returns the page's path.
func newTemplate(t *testing.T, b *browser, name string) string {
	t.Helper()
	resp := b.do(http.MethodPost, "/dashboard/templates", url.Values{"name": {name}}.Encode())
	b.want(resp, 303, "")
	return resp.Header.Get("Location")
}

func readTemplate(t *testing.T, db *storage.DB, path string) (template *automations.Template) {
	t.Helper()
	id, _ := automations.ParseID(path[strings.LastIndex(path, "/")+1:])
	err := db.View(func(tx *storage.Tx) (err error) {
		template, err = tx.Template(id)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return template
}

func TestTemplateEditor(t *testing.T) {
	db, d := newDashboard(t)
	b := signedIn(t, d)
	b.want(b.get("/dashboard/templates"), 200, "No templates yet")
	b.want(b.do(http.MethodPost, "/dashboard/templates", "name="), 422, "name")
	path := newTemplate(t, b, "Welcome"+script)
	for _, page := range []string{"/dashboard/templates", path} {
		if body := b.want(b.get(page), 200, "draft"); strings.Contains(body, script) {
			t.Errorf("%s lets through the name", page)
		}
	}
	post := func(do string, form url.Values) *http.Response { return b.do(http.MethodPost, path+do, form.Encode()) }
	form := func(more ...string) url.Values {
		f := url.Values{"name": {"Welcome"}, "alias": {"welcome"}, "subject": {"Hello {{FIRST_NAME}}"}, "html": {"<p>\r\n{{plan}} {{n}}</p>"}, "event": {"{}"}, "values": {`{"plan":"pro"}`}}
		for i := 0; i < len(more); i += 2 {
			f[more[i]] = append(f[more[i]], more[i+1])
		}
		return f
	}
	body := b.want(post("/preview", form()), 200, "Hello Ada")
	for _, words := range []string{`chip used">used`, `chip missing">missing`, "missing or invalid the mail would not be sent"} {
		if !strings.Contains(body, words) {
			t.Errorf("the preview does not say %q", words)
		}
	}
	_, rest, _ := strings.Cut(body, `src="/dashboard/frames/`)
	frame := b.get("/dashboard/frames/" + rest[:strings.Index(rest, `"`)])
	if b.want(frame, 200, "pro {{n}}"); !strings.HasPrefix(frame.Header.Get("Content-Security-Policy"), "sandbox;") {
		t.Errorf("the frame's policy: %s", frame.Header.Get("Content-Security-Policy"))
	}
	if was := readTemplate(t, db, path); was.Name != "Welcome"+script {
		t.Errorf("a preview stored %+v", was)
	}
	for words, bad := range map[string]url.Values{
		"line 2, column": form("name", ""), "must be a JSON object": form(), "no contact": form("contact", "nobody@example.com"),
	} {
		switch words {
		case "line 2, column":
			bad.Set("html", "<p>\n{{</p>")
		case "must be a JSON object":
			bad.Set("event", "{oops")
		}
		b.want(post("/preview", bad), 200, words) // htmx shows what is well
	}
	b.want(b.get("/dashboard/frames/unknown"), 404, "")

	b.want(post("", form()), 303, "")
	if saved := readTemplate(t, db, path); saved.Alias != "welcome" || saved.Draft.HTML != "<p>\n{{plan}} {{n}}</p>" || saved.Draft.Declared || saved.Published != nil {
		t.Errorf("saved as %+v", saved)
	}
	bad := form()
	bad.Set("alias", "not an alias")
	b.want(post("", bad), 422, "an alias has 1 to 100 letters")
	declared := form("key", "plan", "type", "string", "fallback", "free", "key", "n", "type", "number", "fallback", "7", "key", "", "type", "string", "fallback", "")
	b.want(post("/publish", declared), 303, "")
	saved := readTemplate(t, db, path)
	if want := `[{"key":"plan","type":"string","fallback":"free"},{"key":"n","type":"number","fallback":7}]`; saved.Published == nil || !saved.Draft.Declared || text(t, saved.Published.Variables) != want {
		t.Errorf("declared and published as %s", text(t, saved.Published))
	}
	b.want(b.get(path), 200, `value="free"`)
	b.want(post("/preview", declared), 200, `chip filled">filled`)
	changed := form("key", "plan", "type", "string", "fallback", "free", "key", "n", "type", "number", "fallback", "7")
	changed.Set("html", "<p>{{other}}</p>")
	b.want(post("", changed), 422, "is not among the variables")
	changed.Set("html", "<p>new</p>")
	b.want(post("", changed), 303, "")
	b.want(b.get(path), 200, "unpublished changes")

	resp := post("/duplicate", nil)
	b.want(resp, 303, "")
	b.want(b.get(resp.Header.Get("Location")), 200, "(copy)")
	b.want(post("/delete", nil), 303, "")
	b.want(b.get(path), 404, "no such record")
	b.want(post("", form()), 404, "no such record")
}

func text(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// What depends on a template is named before it is deleted or published.
func TestTemplateNamesItsSenders(t *testing.T) {
	db, d := newDashboard(t)
	b := signedIn(t, d)
	path := newTemplate(t, b, "Welcome")
	b.want(b.get(path), 200, "No automation sends it.")
	id := readTemplate(t, db, path).ID
	err := db.Update(func(tx *storage.Tx) error {
		newID := func() automations.ID { return uuid.Must(uuid.NewV7()) }
		definition, err := automations.ParseDefinition(json.RawMessage(`[{"key":"t","type":"trigger","config":{"event_name":"x"}},{"key":"m","type":"send_email","config":{"template":"`+id.String()+`"}}]`), nil, "", newID)
		if err != nil {
			return err
		}
		w := &automations.Workflow{ID: newID(), Name: "Series", Revision: 1}
		if err := tx.SaveWorkflow(w); err != nil {
			return err
		}
		return tx.AddRevision(&automations.Revision{WorkflowID: w.ID, Number: 1, Definition: definition})
	})
	if err != nil {
		t.Fatal(err)
	}
	b.want(b.get(path), 200, "1 automations send it")
	b.want(b.get(path), 200, ">Series</a>")
}

// A test has what the preview shows, stored or not.
func TestTemplateTest(t *testing.T) {
	db, d := newDashboard(t)
	b := signedIn(t, d)
	path := newTemplate(t, b, "Welcome")
	form := url.Values{"name": {"Welcome"}, "from": {"a@example.com"}, "subject": {"Hi {{FIRST_NAME}}"}, "html": {"<p>typed</p>"}, "to": {"me@example.com"}}
	resp := b.do(http.MethodPost, path+"/test", form.Encode())
	b.want(resp, 303, "")
	b.want(b.get(resp.Header.Get("Location")), 200, "Hi Ada")
	if draft := readTemplate(t, db, path).Draft; draft.HTML != firstDraft {
		t.Errorf("a test stored %s", draft.HTML)
	}
	form.Set("to", "nobody")
	b.want(b.do(http.MethodPost, path+"/test", form.Encode()), 422, "nobody")
	form.Set("to", "me@example.com")
	form.Set("html", "{{")
	b.want(b.do(http.MethodPost, path+"/test", form.Encode()), 422, "nothing was sent")
}

func TestFramesAreBounded(t *testing.T) {
	var f frames
	first := f.keep("a")
	if html, ok := f.find(first); !ok || html != "a" {
		t.Error("what was kept is gone")
	}
	for range maxFrames {
		f.keep("b")
	}
	if _, ok := f.find(first); ok || len(f.kept) != maxFrames {
		t.Errorf("%d are kept", len(f.kept))
	}
}

// A form that is too large, or was cut short, does nothing: it is not taken for
// an empty one.
func TestFormsThatCannotBeRead(t *testing.T) {
	_, d := newDashboard(t)
	b := signedIn(t, d)
	if err := callAs(d, http.MethodPost, "/templates", `{"name":"Kept","alias":"kept","subject":"S","html":"<p>h</p>"}`); err != nil {
		t.Fatal(err)
	}
	page := b.want(b.get("/dashboard/templates"), 200, "Kept")
	at := regexp.MustCompile(`/dashboard/templates/[0-9a-f-]{36}`).FindString(page)
	b.want(b.post(at, url.Values{"name": {"Kept"}, "subject": {"New"}, "html": {strings.Repeat("x", maxForm)}}), 413, "too large")
	b.want(b.do(http.MethodPost, at, "name=Kept&subject=New&html=%3"), 413, "cut short")
	b.want(b.get(at), 200, `name="subject" value="S"`)
	automation, _ := made(t, b.post("/dashboard/automations", url.Values{"name": {"A"}, "event": {"x"}}))
	builder := b.want(b.get(automation+"/edit"), 200, "")
	b.want(b.submit(builder, "apply", url.Values{"past": {strings.Repeat("x", maxForm)}}), 413, "too large")
}

// Two who change the same template do not overwrite each other without knowing.
func TestTemplateInTwoTabs(t *testing.T) {
	_, d := newDashboard(t)
	b := signedIn(t, d)
	at := newTemplate(t, b, "Both")
	field := func(page, name string) string {
		return strings.Split(strings.SplitAfter(page, `name="`+name+`" value="`)[1], `"`)[0]
	}
	opened := field(b.want(b.get(at), 200, ""), "seen")
	form := func(subject, seen string) url.Values {
		return url.Values{"name": {"Both"}, "subject": {subject}, "html": {"<p>x</p>"}, "event": {"{}"}, "values": {"{}"}, "seen": {seen}}
	}
	b.want(b.post(at, form("First", opened)), 303, "")
	page := b.want(b.post(at+"/publish", form("Second", "2026-01-31T12:00:00Z")), 422, "saved elsewhere")
	if field(page, "subject") != "Second" {
		t.Error("what was typed is lost")
	}
	b.want(b.get(at), 200, `value="First"`)
	b.want(b.post(at, form("Second", field(page, "seen"))), 303, "")
	b.want(b.get(at), 200, `value="Second"`)
}
