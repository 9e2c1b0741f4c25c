package server

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

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

// newest is the id of the last line of the log; zero when there is none.
func (r *rig) newest() (id automations.ID, route string) {
	r.t.Helper()
	err := r.db.View(func(tx *storage.Tx) error {
		last, _, err := tx.Changes(storage.Page{Limit: 1}, nil)
		if len(last) == 1 {
			id, route = last[0].ID, last[0].Method+" "+last[0].Route
		}
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return id, route
}

// checkNoted fails the test when a request that changed something has no line
// in the log.
func (r *rig) checkNoted(req *http.Request, before automations.ID, a *reply) {
	r.t.Helper()
	method, path := document().operation(req)
	method = strings.ToUpper(method)
	i := slices.IndexFunc(routes(), func(rt route) bool { return rt.method == method && rt.path == path })
	if i < 0 || !routes()[i].audited() || a.status >= 300 || req.URL.Query().Get("dry_run") == "true" {
		return
	}
	if path == "/suppressions/import" && a.at("created") == json.Number("0") && a.at("existing") == json.Number("0") {
		return
	}
	if id, route := r.newest(); id == before || route != method+" "+path {
		r.t.Errorf("%s changed something, and the last line of the log is %s", a.call, route)
	}
}

// A change and its line are one transaction, wherever it is made.
func TestChangeAndLineAreOneTransaction(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.do(http.MethodGet, "/contacts", "").want(200) // the use of the key is noted now
		run := r.waitingRun()
		for _, call := range [][3]string{
			{http.MethodPost, "/segments", `{"name":"S"}`},
			{http.MethodPost, "/contacts", `{"email":"bob@example.com"}`},
			{http.MethodPost, "/contacts/batch", `[{"email":"eve@example.com"}]`},
			{http.MethodPost, "/webhooks", `{"endpoint":"https://example.com/","events":["email.sent"]}`},
			{http.MethodPost, run + "/cancel", ""},
		} {
			synctest.Wait()
			before := r.db.LastCommit()
			if r.do(call[0], call[1], call[2]); r.db.LastCommit() != before+1 {
				t.Errorf("%s %s took %d transactions", call[0], call[1], r.db.LastCommit()-before)
			}
		}
	})
}

// waitingRun is the path of a run that waits.
func (r *rig) waitingRun() string {
	id := r.automation("A", `[{"key":"t","type":"trigger","config":{"event_name":"go"}},{"key":"d","type":"delay","config":{"duration":"1 day"}}]`, "")
	run := r.do(http.MethodPost, "/events/send", `{"event":"go","email":"ada@example.com"}`).want(202).text("automation_runs.0.id")
	return "/automations/" + id + "/runs/" + run
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
			if got := strings.Join([]string{c.By, c.Method, c.Route, c.Path}, " "); got != want || (c.KeyID == automations.ID{}) != !strings.HasPrefix(want, "key") {
				t.Errorf("change %d is %s by %s, want %s", i, got, c.KeyID, want)
			}
		}
	})
}

// A key that was renamed is noted by its name of now.
func TestChangesOfARenamedKey(t *testing.T) {
	r := newRig(t)
	key := r.do(http.MethodPost, "/api-keys", `{"name":"old"}`).want(201)
	for _, name := range []string{"old", "new"} {
		r.do(http.MethodPatch, "/api-keys/"+key.text("id"), `{"name":"`+name+`"}`).want(200)
		r.send(r.public, key.text("token"), http.MethodPost, "/segments", `{"name":"S"}`).want(201)
		if by := r.changes()[0].By; by != "key "+name {
			t.Errorf("noted for %q, want %q", by, "key "+name)
		}
	}
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
