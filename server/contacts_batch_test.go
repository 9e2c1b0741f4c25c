package server

import (
	"net/http"
	"strings"
	"testing"
)

func TestContactBatch(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		vip := r.do(http.MethodPost, "/segments", `{"name":"VIP"}`).want(201).text("id")
		r.do(http.MethodPost, "/contact-properties", `{"key":"plan","type":"string"}`).want(201)
		ada := r.do(http.MethodPost, "/contacts", `{"email":"ada@example.com","first_name":"Ada","properties":{"old":1}}`).want(201).text("id")
		body := `[{"email":"Ada@example.com","last_name":"L","properties":{"plan":"pro"},"segments":["` + vip + `"]},{"email":"bob@example.com"},{"email":"BOB@example.com","first_name":"Bob"},` +
			`{"email":"no"},{"email":"c@example.com","properties":{"plan":7}},{"email":"d@example.com","segments":["` + ada + `"]},{"mail":"x"},7]`
		refused := func(a *reply) {
			t.Helper()
			a.has("data.3.code", "email_invalid").has("data.4.code", "contact_property_type_mismatch").has("data.5.code", "segment_not_found").has("data.6.statusCode", 422).has("data.7.statusCode", 422).has("data.8", nil)
		}
		a := r.do(http.MethodPost, "/contacts/batch?dry_run=true", body).want(200)
		a.has("data.0.result", "updated").has("data.0.id", ada).has("data.1.result", "created").has("data.1.id", nil).has("data.2.result", "updated")
		refused(a)
		r.do(http.MethodPost, "/contacts/batch?dry_run=true&existing=skip", body).want(200).has("data.0.result", "skipped").has("data.1.result", "created").has("data.2.result", "skipped")
		r.do(http.MethodGet, "/contacts", "").has("data.0.last_name", nil).has("data.1", nil)

		a = r.do(http.MethodPost, "/api/contacts/batch", body).want(200).has("data.0.result", "updated").has("data.1.result", "created").has("data.2.result", "updated")
		refused(a)
		r.do(http.MethodGet, "/contacts/"+ada, "").has("first_name", "Ada").has("last_name", "L").has("properties.old", 1).has("properties.plan", "pro").has("segments.0", vip)
		r.do(http.MethodGet, "/contacts/"+a.text("data.1.id"), "").has("first_name", "Bob")
		for _, address := range []string{"c@example.com", "d@example.com"} {
			r.do(http.MethodGet, "/contacts/"+address, "").want(404)
		}
		r.do(http.MethodPost, "/contacts/batch?existing=skip", `[{"email":"ada@example.com","last_name":"Other"}]`).want(200).has("data.0.result", "skipped").has("data.0.id", ada)
		r.do(http.MethodGet, "/contacts/"+ada, "").has("last_name", "L")

		r.do(http.MethodPost, "/contacts/batch", `[]`).want(422)
		r.do(http.MethodPost, "/contacts/batch", `[`+strings.Repeat(`{},`, 500)+`{}]`).want(422)
		r.do(http.MethodPost, "/contacts/batch?existing=drop", body).want(422)
		r.do(http.MethodPost, "/contacts/batch?dry_run=1", body).want(422)
		r.do(http.MethodPost, "/contacts/batch", `{}`).want(422)
	})
}
