package server

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
)

// Everything that is held about an address comes out, and nothing about
// others; after the erasure nothing comes out but that it is suppressed.
func TestExportAndErase(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		segment := r.do(http.MethodPost, "/segments", `{"name":"vip"}`).want(201).text("id")
		topic := r.do(http.MethodPost, "/topics", `{"name":"news","default_subscription":"opt_in"}`).want(201).text("id")
		contact := r.do(http.MethodPost, "/contacts", `{"email":"Ada@Example.com","first_name":"Ada","segments":["`+segment+`"],"topics":[{"id":"`+topic+`","subscription":"opt_out"}]}`).want(201).text("id")
		r.do(http.MethodPost, "/contacts", `{"email":"bob@example.org"}`).want(201)
		r.automation("hello", `[{"key":"t","type":"trigger","config":{"event_name":"go"}},{"key":"m","type":"send_email","config":{"subject":"Hi","html":"<p>{{event.n}}</p>"}},
			{"key":"w","type":"wait_for_event","config":{"event_name":"more"}}]`, "")
		r.do(http.MethodPost, "/events/send", `{"event":"go","email":"ada@example.com","payload":{"n":"one"}}`).want(202)
		r.do(http.MethodPost, "/events/send", `{"event":"go","email":"bob@example.org","payload":{"n":"other"}}`).want(202)
		synctest.Wait() // the run has sent its mail
		r.do(http.MethodPost, "/emails", `{"from":"x@example.org","to":"ADA@example.com","subject":"by hand","text":"hello"}`).want(200)
		r.do(http.MethodPost, "/suppressions", `{"email":"ada@example.com"}`).want(201)
		synctest.Wait()

		a := r.do(http.MethodGet, "/contacts/ADA@example.com/export", "").want(200)
		a.has("email", "ada@example.com").has("contact.id", contact).has("segments.0.name", "vip").has("topics.0.subscription", "opt_out").
			has("suppression.email", "ada@example.com").has("deliveries.0.payload.n", "one").has("deliveries.1", nil).has("runs.0.contact_id", contact).
			has("runs.0.status", "waiting").has("runs.1", nil).has("emails.1.email.subject", "by hand").has("emails.2", nil)
		if html := a.text("emails.0.email.html"); !strings.Contains(html, "one") || a.at("emails.0.message") == nil {
			t.Errorf("the content of the mail: %s", a.raw)
		}
		if strings.Contains(string(a.raw), "bob@") {
			t.Errorf("there is something about others: %s", a.raw)
		}
		if by := r.do(http.MethodGet, "/contacts/"+contact+"/export", "").want(200); string(by.raw) != string(a.raw) {
			t.Errorf("by id it is not the same: %s", by.raw)
		}
		run := a.text("runs.0.id")
		automation := a.text("runs.0.automation_id")

		r.do(http.MethodPost, "/contacts/"+contact+"/erase", "").want(200).has("finished", true).has("email", "ada@example.com").has("contact_id", contact)
		r.do(http.MethodGet, "/automations/"+automation+"/runs/"+run, "").want(200).has("status", "cancelled")
		r.do(http.MethodGet, "/contacts/"+contact+"/export", "").want(404).has("code", "contact_not_found")
		a = r.do(http.MethodGet, "/contacts/ada@example.com/export", "").want(200)
		a.has("contact", nil).has("deliveries.0", nil).has("runs.0", nil).has("emails.0", nil).has("suppression.email", nil).has("suppression.origin", "manual")
		a = r.do(http.MethodGet, "/contacts/bob@example.org/export", "").want(200)
		a.has("deliveries.0.payload.n", "other").has("runs.0.status", "waiting").has("emails.1", nil)
	})
}

// An address that no contact has can be exported and erased; what is no
// address names nobody.
func TestEraseWithoutContact(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.send(r.public, r.key, http.MethodPost, "/v1/events", `{"event_name":"nobody listens","email":"ada@example.com"}`).want(404)
		r.send(r.public, r.key, http.MethodPost, "/v1/events", `{"event_name":"nobody listens","email":"bob@example.org","properties":{"by":"Ada <ADA@example.com>","n":1}}`).want(404)
		r.do(http.MethodGet, "/contacts/ada@example.com/export", "").want(200).has("contact", nil).has("deliveries.0.email", "ada@example.com").has("deliveries.1", nil)
		for range 2 { // once more does no harm
			r.do(http.MethodPost, "/contacts/ada@example.com/erase", "").want(200).has("finished", true).has("contact_id", nil)
		}
		list := r.do(http.MethodGet, "/deliveries", "").want(200)
		list.has("data.1.email", nil).has("data.0.email", "bob@example.org").has("data.0.payload.by", "Ada <[erased]>").has("data.0.payload.n", 1)
		for _, path := range []string{"/contacts/nobody/export", "/contacts/0190d1a2-0000-7000-8000-000000000000/export"} {
			r.do(http.MethodGet, path, "").want(404).has("code", "contact_not_found")
		}
		r.do(http.MethodPost, "/contacts/nobody/erase", "").want(404)
	})
}

// A long export is one JSON document, however many transactions it takes.
func TestLongExport(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		const events = exportRows + 100
		for sent := 0; sent < events; sent += 500 {
			batch := make([]string, min(500, events-sent))
			for i := range batch {
				batch[i] = `{"event":"e","email":"ada@example.com"}`
			}
			r.do(http.MethodPost, "/events/send/batch", "["+strings.Join(batch, ",")+"]").want(202)
		}
		a := r.do(http.MethodGet, "/contacts/ada@example.com/export", "").want(200)
		var doc struct{ Deliveries []json.RawMessage }
		if err := json.Unmarshal(a.raw, &doc); err != nil || len(doc.Deliveries) != events {
			t.Errorf("%d deliveries, %v", len(doc.Deliveries), err)
		}
	})
}
