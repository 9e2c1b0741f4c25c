package web

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// The mail of a step is shown as it is typed, with the newest event that starts
// the automation and its contact, or with what is typed for it.
func TestMailPreview(t *testing.T) {
	_, d := newDashboard(t)
	b := signedIn(t, d)
	if err := callAs(d, http.MethodPost, "/contacts", `{"email":"grace@example.com","first_name":"Grace"}`); err != nil {
		t.Fatal(err)
	}
	at, _ := made(t, b.post("/dashboard/automations", url.Values{"name": {"A"}, "event": {"user.went"}}))
	page := b.want(b.submit(b.want(b.get(at+"/edit"), 200, ""), "insert trigger default send_email", nil), 200, "a made-up contact")
	mail := url.Values{"set.subject": {"Hi {{FIRST_NAME}}"}, "set.html": {"<p>{{event.plan|free}} {{own}}" + script + "</p>"}, "pair.name": {"own"}, "pair.value": {`{"var":"event.plan"}`}}
	shows := func(page string, words ...string) {
		t.Helper()
		for _, want := range words {
			if !strings.Contains(page, want) {
				t.Errorf("no %q in\n%s", want, page)
			}
		}
		if strings.Contains(page, script) {
			t.Error("the page runs what the mail holds")
		}
	}
	shows(b.want(b.submit(page, "look", mail), 200, "Hi Ada"), `<span class="chip missing">missing</span>`, "With this one missing", `src="/dashboard/frames/`)
	if err := callAs(d, http.MethodPost, "/events/send", `{"event":"user.went","email":"grace@example.com","payload":{"plan":"pro"}}`); err != nil {
		t.Fatal(err)
	}
	mail.Del("sample.event")
	opened := b.want(b.get(at+"/edit"), 200, "")
	opened = b.want(b.submit(opened, "insert trigger default send_email", nil), 200, "Shown with grace@example.com")
	page = b.want(b.submit(opened, "look", mail), 200, "Hi Grace")
	shows(page, "&#34;plan&#34;: &#34;pro&#34;", `<td class="value">pro</td>`)
	if strings.Contains(page, "With this one missing") {
		t.Error("a value of the step is missing")
	}
	for change, words := range map[string]string{
		"sample.contact=nobody@example.com": "there is no contact", "sample.event=[1]": "must be a JSON object", "set.html=<p>{{{bad": "is not closed", "sample.contact=GRACE@example.com": "Hi Grace",
	} {
		name, value, _ := strings.Cut(change, "=")
		typed := url.Values{name: {value}}
		for other, values := range mail {
			if !typed.Has(other) {
				typed[other] = values
			}
		}
		b.want(b.submit(page, "look", typed), 200, words)
	}

	// What a run would know by then is no fault, and what is known already is shown.
	page = b.want(b.submit(page, "insert trigger default wait_for_event", nil), 200, "What to wait for")
	page = b.want(b.submit(page, "apply", url.Values{"set.event_name": {"paid"}, "key": {"pay"}}), 200, "Wait for paid")
	page = b.want(b.submit(page, "open send_email", nil), 200, "What to send")
	later := url.Values{"set.html": {"<p>{{wait.pay.amount}} {{steps.pay.output.x}}</p>"}, "set.subject": {"Hi"}}
	if page := b.want(b.submit(page, "look", later), 200, `<span class="chip later">later</span>`); strings.Contains(page, "would not be sent") {
		t.Error("a value that comes later is a fault")
	}
	if err := callAs(d, http.MethodPost, "/events/send", `{"event":"paid","email":"grace@example.com","payload":{"amount":12.50}}`); err != nil {
		t.Fatal(err)
	}
	b.want(b.submit(page, "look", later), 200, `<td class="value">12.50</td>`)

	// A template looks as it is published, whatever its draft says.
	if err := callAs(d, http.MethodPost, "/templates", `{"name":"Welcome letter","alias":"welcome","subject":"Dear {{FIRST_NAME}}","html":"<p>x</p>"}`); err != nil {
		t.Fatal(err)
	}
	if err := callAs(d, http.MethodPost, "/templates/welcome/publish", `{}`); err != nil {
		t.Fatal(err)
	}
	if err := callAs(d, http.MethodPatch, "/templates/welcome", `{"subject":"A draft"}`); err != nil {
		t.Fatal(err)
	}
	page = b.want(b.submit(page, "apply", url.Values{"set.template": {"welcome"}, "set.subject": {""}, "set.html": {""}, "pair.name": {""}}), 200, "Dear Grace")
	shows(page, `<option value="welcome" selected>Welcome letter</option>`)
	b.want(b.submit(page, "look", url.Values{"set.subject": {"Own {{event.plan}}"}}), 200, "Own pro")
	b.want(b.submit(page, "look", url.Values{"set.template": {"gone"}}), 200, "there is no such template")
}

// The text and the fields of a step may both be changed before a button is
// pressed: neither is lost, and the way back takes back what was typed first.
func TestBuilderTakesBothChanges(t *testing.T) {
	_, d := newDashboard(t)
	b := signedIn(t, d)
	at, _ := made(t, b.post("/dashboard/automations", url.Values{"starter": {"recovery"}}))
	page := b.want(b.get(at+"/edit?step=notice"), 200, "What to send")
	text := textOf(page)
	other := strings.Replace(text, `"timeout":"3 days"`, `"timeout":"5 days"`, 1)
	both := b.want(b.submit(page, "apply", url.Values{"draft": {other}, "set.subject": {"Typed"}}), 200, "Typed")
	if now := textOf(both); !strings.Contains(now, `"timeout":"5 days"`) || !strings.Contains(now, `"subject": "Typed"`) {
		t.Errorf("something was lost:\n%s", now)
	}
	subject := strings.Split(strings.SplitAfter(text, `"subject": "`)[1], `"`)[0]
	same := strings.Replace(text, subject, "By hand", 1)
	if now := textOf(b.want(b.submit(page, "apply", url.Values{"draft": {same}}), 200, "")); !strings.Contains(now, "By hand") {
		t.Errorf("the fields undo what was written by hand:\n%s", now)
	}
	page = b.want(b.submit(page, "apply", url.Values{"set.subject": {"One"}}), 200, `value="One"`)
	page = b.want(b.submit(page, "undo", url.Values{"set.subject": {"Two"}}), 200, `value="One"`)
	broken := b.want(b.submit(page, "apply", url.Values{"draft": {`{"steps":[`}}), 200, "not a draft yet")
	page = b.want(b.submit(broken, "undo", nil), 200, `value="One"`)
	page = b.want(b.submit(page, "undo", nil), 200, `value="`+subject+`"`)
	b.want(b.submit(page, "close", nil), 200, `id="step-notice" autofocus`) // where the keyboard was
}
