package web

import (
	"encoding/json"
	"html"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// send sends an event with the form and returns the path of its page.
func (b *browser) send(form url.Values) string {
	b.t.Helper()
	resp := b.do(http.MethodPost, "/dashboard/events/send", form.Encode())
	b.want(resp, 303, "")
	return resp.Header.Get("Location")
}

// automation stores an enabled automation with a trigger that has a condition.
func (b *browser) automation(event, name string) automations.ID {
	b.t.Helper()
	var made struct{ ID automations.ID }
	v := &visit{Request: mustRequest(), d: b.d, user: &automations.User{Name: "Ada"}}
	err := v.call(http.MethodPost, "/automations", map[string]any{
		"name": name, "status": "enabled",
		"steps": []any{
			map[string]any{"key": "t", "type": "trigger", "config": map[string]any{"event_name": event, "conditions": map[string]any{"type": "rule", "field": "event.plan", "operator": "equals", "value": "pro"}}},
			map[string]any{"key": "d", "type": "delay", "config": map[string]any{"duration": "1 day"}},
		},
	}, &made)
	if err != nil {
		b.t.Fatal(err)
	}
	return made.ID
}

func mustRequest() *http.Request {
	r, _ := http.NewRequest(http.MethodGet, "/", nil)
	return r
}

func TestSendingAnEvent(t *testing.T) {
	db, d := newDashboard(t)
	b := signedIn(t, d)
	b.want(b.get("/dashboard/events"), 200, "No events yet")
	b.want(b.get("/dashboard/events/unmatched"), 200, "Every event that is stored did something")
	b.automation("paid", "Thanks"+script)
	b.want(b.get("/dashboard/events/send?event=paid"), 200, `value="paid"`)
	refuse := func(form url.Values, words string) {
		t.Helper()
		b.want(b.do(http.MethodPost, "/dashboard/events/send", form.Encode()), 422, words)
	}
	refuse(url.Values{"event": {"paid"}, "email": {"nobody"}}, "is not an e-mail address")
	refuse(url.Values{"event": {"paid"}, "email": {"a@example.com"}, "payload": {"{"}}, "the payload is not JSON")
	refuse(url.Values{"event": {"paid"}, "email": {"a@example.com"}, "payload": {"[]"}}, "payload must be")
	refuse(url.Values{"event": {" "}, "email": {"a@example.com"}}, "event name is empty")

	form := url.Values{"event": {"paid"}, "email": {"Ada@example.com"}, "payload": {`{"plan":"pro","note":"it's ` + script + `"}`}, "test": {"1"}, "once": {"k1"}}
	path := b.send(form)
	if again := b.send(form); again != path {
		t.Errorf("pressed twice: %s and %s", path, again)
	}
	body := b.want(b.get(path), 200, "1 run started, 0 runs resumed")
	for _, words := range []string{`chip test`, "started run ", "Its runs", `data-confirm="Send paid for ada@example.com again, as a test?`, `event.plan equals &#34;pro&#34;`, `href="/dashboard/contacts/`} {
		if !strings.Contains(body, words) {
			t.Errorf("the page has no %q:\n%s", words, body)
		}
	}
	if strings.Contains(body, script) {
		t.Error("a script is let through")
	}
	err := db.View(func(tx *storage.Tx) error {
		id, _ := automations.ParseID(strings.TrimPrefix(path, home+"/events/"))
		d, err := tx.Delivery(id)
		if err == nil && string(d.Payload) != form.Get("payload") {
			t.Errorf("the payload became %s", d.Payload)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	resp := b.do(http.MethodPost, path, "once=k2")
	if again := resp.Header.Get("Location"); resp.StatusCode != 303 || again == path {
		t.Errorf("sending again: %d %s", resp.StatusCode, again)
	} else {
		b.want(b.get(again), 200, "chip test")
	}
	b.want(b.get(b.send(url.Values{"event": {"paid"}, "email": {"b@example.com"}, "payload": {`{"plan":"free"}`}})), 200, "the conditions of the trigger are not met")
	b.want(b.get(b.send(url.Values{"event": {"paidd"}, "email": {"b@example.com"}})), 200, `its trigger is &#34;paid&#34;, which is nearly this name`)
	b.want(b.get(b.send(url.Values{"event": {"other" + script}, "email": {"b@example.com"}})), 200, "/dashboard/automations/new?event=other%3cscript%3e")
	body = b.want(b.get("/dashboard/events/unmatched"), 200, "Create automation")
	if !strings.Contains(body, "<code>paidd</code>") || strings.Contains(body, "<code>paid</code></a></td>") || strings.Contains(body, script) {
		t.Errorf("unmatched names:\n%s", body)
	}
	gone := &automations.Delivery{ID: uuid.Must(uuid.NewV7()), Event: "erased", Payload: json.RawMessage("{}")}
	if err := db.Update(func(tx *storage.Tx) error { return tx.AddDelivery(gone) }); err != nil {
		t.Fatal(err)
	}
	erased := home + "/events/" + gone.ID.String()
	if body := b.want(b.get(erased), 200, "erased"); strings.Contains(body, "Send again") {
		t.Error("an erased event can be sent again")
	}
	b.want(b.do(http.MethodPost, erased, ""), 422, "nothing to send again")
}

// The command that is to be copied sends the payload as it is, through a shell.
func TestCurlIsQuoted(t *testing.T) {
	payload := `{"note":"it's $HOME ` + "`id`" + ` \"x\" \\ <b>"}`
	command := curl("http://127.0.0.1", "POST", "/events/send", sentEvent{Event: "a", Email: "a@example.com", Payload: json.RawMessage(payload)})
	out, err := exec.Command("sh", "-c", `curl() { while [ "$1" != -d ]; do shift; done; printf %s "$2"; }; `+command).Output()
	if want := `{"event":"a","email":"a@example.com","payload":` + payload + `}`; err != nil || string(out) != want {
		t.Errorf("%v\n%s\n%s", err, out, want)
	}
}

func TestEventFilters(t *testing.T) {
	db, d := newDashboard(t)
	b := signedIn(t, d)
	fill(t, db)
	b.automation("paid", "x")
	b.send(url.Values{"event": {"paid"}, "email": {"ada@example.com"}, "payload": {`{"plan":"pro"}`}})
	b.send(url.Values{"event": {"lost"}, "email": {"bob@example.com"}})
	for query, want := range map[string]string{
		"event=paid": "ada", "event=Paid": "", "email=BOB@example.com": "bob", "verdict=unmatched": "bob", "verdict=started&event=paid": "ada", "verdict=resumed": "",
		"from=2001-01-01T00:00&event=lost": "bob", "to=2001-01-01T00:00": "", "from=2999-01-01": "",
	} {
		body := b.want(b.get("/dashboard/events?"+query), 200, "")
		for _, who := range []string{"ada", "bob"} {
			if has := strings.Contains(body, ">"+who+"@example.com<"); has != (who == want) {
				t.Errorf("%s: %s is there: %v", query, who, has)
			}
		}
		if want == "" && !strings.Contains(body, "No event is like that") {
			t.Errorf("%s: no word about there being nothing", query)
		}
	}
	b.want(b.get("/dashboard/events?verdict=odd"), 422, "there is no verdict")
	b.want(b.get("/dashboard/events?from=soon"), 422, "from must be a time")
	b.want(b.get("/dashboard/events?contact_id=x"), 422, "contact_id must be the id of a contact")
	b.want(b.get("/dashboard/events?event="+url.QueryEscape(script)), 200, "/deliveries?event=%3Cscript%3E")
	for range pageRows {
		b.send(url.Values{"event": {"many"}, "email": {"bob@example.com"}})
	}
	body := b.want(b.get("/dashboard/events?email=bob@example.com"), 200, "Older")
	_, older, _ := strings.Cut(body, `<a class="button quiet" href="`)
	older = html.UnescapeString(older[:strings.Index(older, `"`)])
	if body := b.want(b.get(older), 200, "<code>lost</code>"); strings.Contains(body, ">ada@") || strings.Contains(body, "hx-get=\"/dashboard/events") {
		t.Errorf("the next page of a filter:\n%s", body)
	}
}

func TestEventTypeEditor(t *testing.T) {
	_, d := newDashboard(t)
	b := signedIn(t, d)
	b.want(b.get("/dashboard/events/types"), 200, "No event types")
	b.want(b.get("/dashboard/events/types/new?name=seen&infer=1"), 200, "nothing to infer from")
	b.send(url.Values{"event": {"seen"}, "email": {"a@example.com"}, "payload": {`{"plan":"pro","n":1}`}})
	b.send(url.Values{"event": {"seen"}, "email": {"a@example.com"}, "payload": {`{"plan":"free"}`}})
	body := b.want(b.get("/dashboard/events/types/new?name=seen&infer=1"), 200, "Inferred from 2 events")
	if !strings.Contains(body, "&#34;required&#34;: [\n    &#34;plan&#34;\n  ]") {
		t.Errorf("the schema:\n%s", body)
	}
	post := func(path, name, schema string) *http.Response {
		return b.do(http.MethodPost, "/dashboard/events/types"+path, url.Values{"name": {name}, "schema": {schema}}.Encode())
	}
	b.want(post("", "", ""), 422, "name")
	b.want(post("", "x", "{"), 422, "the schema is not JSON")
	b.want(post("", "x", `{"type":"sting"}`), 422, "<code>schema.type</code>")
	b.want(post("", "x", script), 422, "&lt;script&gt;")
	resp := post("", "seen", `{"type":"object","required":["plan"]}`)
	b.want(resp, 303, "")
	path := resp.Header.Get("Location")
	b.want(b.get(path), 200, "Its last events")
	b.want(post("", "seen", ""), 409, "exists")
	b.want(b.get("/dashboard/events/types"), 200, ">checked<")
	b.want(b.do(http.MethodPost, "/dashboard/events/send", "event=seen&email=a@example.com"), 422, "payload.plan")
	own := strings.TrimPrefix(path, "/dashboard/events/types")
	b.want(b.get(path+"?infer=1"), 200, "Inferred from 2 events")
	b.want(post(own, "seen", `{"type":"sting"}`), 422, "schema.type")
	b.want(post(own, "watched", ""), 303, "")
	b.want(b.get(path), 200, `value="watched"`)
	b.want(post(own+"/delete", "", ""), 303, "")
	b.want(b.get(path), 404, "no such record")
	b.want(post(own, "x", ""), 404, "no such record")
}
