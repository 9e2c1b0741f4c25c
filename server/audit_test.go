package server

import (
	"net/http"
	"strings"
	"testing"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// changes reads the log, newest first.
func (r *rig) changes() (all []*automations.Change) {
	r.t.Helper()
	err := r.db.View(func(tx *storage.Tx) (err error) {
		all, _, err = tx.Changes(storage.Page{Limit: 100}, nil)
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return all
}

// Who changed what is noted: by key, by command, or for whom a trusted caller
// acts. What failed, what only reads, and the doors of events and mail are not.
func TestChangesAreNoted(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		before := len(r.changes())
		template := r.do(http.MethodPost, "/templates", `{"name":"T","html":"x"}`, "Opensend-Actor", "user Eve").want(201).text("id")
		r.send(r.trust, "", http.MethodPatch, "/api/templates/"+template, `{"name":"U"}`).want(200)
		r.send(r.trust, "", http.MethodDelete, "/templates/"+template, "", "Opensend-Actor", "user Ada").want(200)
		r.do(http.MethodPost, "/contacts", `{"email":"ada@example.com"}`).want(201)
		r.do(http.MethodPatch, "/contacts/ada@example.com", `{"first_name":"Ada"}`).want(200)

		r.do(http.MethodDelete, "/templates/"+template, "").want(404)
		r.do(http.MethodGet, "/contacts", "").want(200)
		r.do(http.MethodPost, "/templates", `{}`).want(422)
		r.do(http.MethodPost, "/events/send", `{"event":"x","email":"ada@example.com"}`).want(202)
		r.do(http.MethodPost, "/emails", `{"to":"ada@example.com","subject":"s","text":"t"}`).want(200)

		all := r.changes()
		if len(all) != before+5 {
			t.Fatalf("%d changes, want %d", len(all)-before, 5)
		}
		for i, want := range []string{
			"key test PATCH /contacts/{id} /contacts/[address]", "key test POST /contacts /contacts",
			"user Ada DELETE /templates/{id} /templates/" + template, "command PATCH /templates/{id} /api/templates/" + template, "key test POST /templates /templates",
		} {
			c := all[i]
			if got := strings.Join([]string{c.By, c.Method, c.Route, c.Path}, " "); got != want || c.Status/100 != 2 || (c.KeyID == automations.ID{}) != !strings.HasPrefix(want, "key") {
				t.Errorf("change %d is %s %d by %s, want %s", i, got, c.Status, c.KeyID, want)
			}
		}
	})
}

// Every route that changes something is noted, or is named here as one that is
// not.
func TestWhichRoutesAreNoted(t *testing.T) {
	not := map[string]bool{
		"POST /events/send": true, "POST /events/send/batch": true, "POST /v1/events": true, "POST /emails": true, "POST /emails/batch": true, "POST /mail/inbound": true, "POST /mail/inbound/ses": true, "POST /mail/inbound/postmark": true, "POST /mail/inbound/mailgun": true, "POST /templates/{id}/preview": true,
	}
	for _, rt := range append(routes(), controls()...) {
		name := rt.method + " " + rt.path
		if want := rt.method != http.MethodGet && !not[name]; rt.audited() != want {
			t.Errorf("%s is noted: %v", name, rt.audited())
		}
	}
}
