package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// shape compares an answer with a documented one, apart from the values that
// every answer has of its own.
func shape(t *testing.T, got, want any, own ...string) {
	t.Helper()
	ignore := cmp.FilterPath(func(p cmp.Path) bool {
		key, ok := p.Last().(cmp.MapIndex)
		if !ok {
			return false
		}
		for _, name := range own {
			if key.Key().String() == name {
				return true
			}
		}
		return false
	}, cmp.Comparer(func(a, b any) bool { return fmt.Sprintf("%T", a) == fmt.Sprintf("%T", b) }))
	if diff := cmp.Diff(want, got, ignore, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("the answer differs from the document (-want +got):\n%s", diff)
	}
}

func TestOpenSendExample(t *testing.T) {
	for _, path := range []string{"/events/send", "/api/events/send"} {
		inBubble(t, func(t *testing.T, r *rig) {
			a := r.do(http.MethodPost, path, seedJSON(t, "opensend.json", "request")).want(202)
			a.has("event", "user.signed_up")
			delete(a.body, "event") // beside the document: what Resend's clients read
			shape(t, a.body, seed(t, "opensend.json", "response"), "id", "contact_id", "received_at")
			id := a.text("delivery.id")
			r.do(http.MethodGet, "/deliveries/"+id, "").want(200).has("verdicts.0.verdict", "unmatched").has("email", "ada@example.com")
			r.do(http.MethodGet, "/contacts/ada@example.com", "").want(200).has("id", a.text("delivery.contact_id"))
		})
	}
}

func TestMailDiverExamples(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		post := func(name string) *reply {
			return r.do(http.MethodPost, "/v1/events", seedJSON(t, "maildiver.json", "requests."+name))
		}
		shape(t, post("user_signup").want(404).body, seed(t, "maildiver.json", "noWorkflows"))
		r.do(http.MethodGet, "/contacts/user@example.com", "").want(404) // an event nobody listens to makes no contact
		r.do(http.MethodGet, "/deliveries?email=user@example.com", "").want(200).has("data.0.verdicts.0.verdict", "unmatched")

		r.automation("signup", `[{"key":"t","type":"trigger","config":{"event_name":"User_Signed_Up"}},{"key":"e","type":"end","config":{}}]`, "")
		r.automation("purchase", `[{"key":"t","type":"trigger","config":{"event_name":"purchase_completed","conditions":{"type":"and","rules":[
			{"type":"rule","field":"amount","operator":"greater_than","value":50},{"type":"rule","field":"product.category","operator":"equals","value":"subscription"}]}}}]`, "")
		first := post("user_signup").want(200)
		shape(t, first.body, seed(t, "maildiver.json", "processed"), "event_id", "timestamp")
		shape(t, post("purchase_completed").want(200).body, seed(t, "maildiver.json", "processed"), "event_id", "timestamp")
		shape(t, post("field_examples").want(200).body, seed(t, "maildiver.json", "processed"), "event_id", "timestamp")

		again := post("user_signup").want(200)
		shape(t, again.body, seed(t, "maildiver.json", "deduplicated"), "original_event_id", "timestamp")
		again.has("original_event_id", first.text("event_id"))
		time.Sleep(300*time.Second - time.Millisecond)
		post("user_signup").want(200).has("status", "deduplicated")
		time.Sleep(time.Millisecond) // the end of the window belongs to the next one
		post("user_signup").want(200).has("status", "processed")
	})
}

func TestMailDiverErrors(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		for _, c := range []struct{ body, example string }{
			{`{"email":"a@example.com"}`, "missingField"},
			{`{"event_name":"  ","email":"a@example.com"}`, "missingField"},
			{`{"event_name":"` + strings.Repeat("é", 150) + `","email":"a@example.com"}`, "tooLong"},
			{`{"event_name":"x","email":"nobody"}`, "invalidEmail"},
		} {
			shape(t, r.do(http.MethodPost, "/v1/events", c.body).want(400).body, seed(t, "maildiver.json", c.example))
		}
		for _, c := range []struct{ body, message string }{
			{`{"event_name":"x"}`, "email is required"},
			{`{"event_name":"x","email":"a@example.com","properties":[1]}`, "properties must be an object"},
			{`{"event_name":7,"email":"a@example.com"}`, "event_name must be a string"},
			{`{"event_name":"x","email":"a@example.com"`, "Invalid JSON body"},
			{``, "Invalid JSON body"},
			{`{"event_name":"x","event_name":"y","email":"a@example.com"}`, "Invalid JSON body"},
		} {
			a := r.do(http.MethodPost, "/v1/events", c.body).want(400)
			if diff := cmp.Diff(map[string]any{"message": c.message}, a.body); diff != "" {
				t.Errorf("%s: %s", c.body, diff)
			}
		}
		body := `{"event_name":"x","email":"a@example.com"}`
		shape(t, r.send(r.public, "", http.MethodPost, "/v1/events", body).want(403).body, seed(t, "maildiver.json", "invalidHeader"))
		shape(t, r.send(r.public, "os_nonsense", http.MethodPost, "/v1/events", body).want(403).body, seed(t, "maildiver.json", "invalidKey"))
		r.do(http.MethodGet, "/v1/events", "").want(405)
		r.do(http.MethodPost, "/v1/nowhere", "{}").want(404)
		r.do(http.MethodPost, "/events", `{"name":"x","schema":{"type":"object","properties":{"n":{"type":"number"}}}}`).want(201)
		r.do(http.MethodPost, "/v1/events", `{"event_name":"X","email":"a@example.com","properties":{"n":"no"}}`).want(400).
			has("code", "event_payload_invalid").has("details.0.path", "payload.n")
		r.do(http.MethodPost, "/events", `{"name":"Order.Paid","schema":{"n":"number"}}`).want(201)
		r.automation("paid", `[{"key":"t","type":"trigger","config":{"event_name":"Order.Paid"}}]`, "")
		r.do(http.MethodPost, "/v1/events", `{"event_name":"order.paid","email":"a@example.com","properties":{"n":"no"}}`).want(400).has("code", "event_payload_invalid")
		r.do(http.MethodGet, "/deliveries", "").want(200).has("data.0", nil) // nothing was left behind
	})
}

func TestOpenSendValidation(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		id := "2d66f2de-0d0e-4a2d-8e66-831e3522d124"
		for _, c := range []struct {
			name, body string
			status     int
			code, path string
		}{
			{"no body", ``, 400, "invalid_json", ""},
			{"not JSON", `{"event":`, 400, "invalid_json", ""},
			{"two values", `{"event":"x","email":"a@example.com"} {}`, 400, "invalid_json", ""},
			{"key twice", `{"event":"x","event":"y","email":"a@example.com"}`, 400, "invalid_json", ""},
			{"key twice deep inside", `{"event":"x","email":"a@example.com","payload":{"a":[{"b":1,"\u0062":2}]}}`, 400, "invalid_json", ""},
			{"not UTF-8", "{\"event\":\"x\xff\",\"email\":\"a@example.com\"}", 400, "invalid_json", ""},
			{"not an object", `["x"]`, 422, "validation_error", ""},
			{"deep", `{"event":"x","email":"a@example.com","payload":` + strings.Repeat(`{"a":`, 64) + `1` + strings.Repeat(`}`, 64) + `}`, 422, "nesting_too_deep", ""},
			{"very deep", strings.Repeat("[", 100_000), 422, "nesting_too_deep", ""},
			{"no event", `{"email":"a@example.com"}`, 422, "missing_required_field", "event"},
			{"case of a key", `{"EVENT":"x","email":"a@example.com"}`, 422, "missing_required_field", "event"},
			{"blank event", `{"event":" \t","email":"a@example.com"}`, 422, "event_name_required", "event"},
			{"long event", `{"event":"` + strings.Repeat("😀", 256) + `","email":"a@example.com"}`, 422, "event_name_too_long", "event"},
			{"reserved event", `{"event":" ReSend:x","email":"a@example.com"}`, 422, "event_name_reserved", "event"},
			{"reserved event", `{"event":"opensend:x","email":"a@example.com"}`, 422, "event_name_reserved", "event"},
			{"NUL in the event", `{"event":"a\u0000b","email":"a@example.com"}`, 422, "event_name_invalid", "event"},
			{"event is a number", `{"event":7,"email":"a@example.com"}`, 422, "validation_error", "event"},
			{"nobody", `{"event":"x"}`, 422, "missing_required_field", "email"},
			{"both", `{"event":"x","email":"a@example.com","contact_id":"` + id + `"}`, 422, "validation_error", "email"},
			{"two ids", `{"event":"x","contactId":"3d66f2de-0d0e-4a2d-8e66-831e3522d124","contact_id":"` + id + `"}`, 422, "validation_error", "contactId"},
			{"no id", `{"event":"x","contact_id":"ada"}`, 422, "validation_error", "contact_id"},
			{"unknown id", `{"event":"x","contact_id":"` + strings.ToUpper(id) + `"}`, 404, "contact_not_found", ""},
			{"CR LF in the address", `{"event":"x","email":"a@example.com\r\nBcc: b@example.com"}`, 422, "email_invalid", "email"},
			{"display name", `{"event":"x","email":"Ada <a@example.com>"}`, 422, "email_invalid", "email"},
			{"empty address", `{"event":"x","email":""}`, 422, "email_invalid", "email"},
			{"properties", `{"event":"x","email":"a@example.com","properties":{}}`, 422, "validation_error", "properties"},
			{"misspelt payload", `{"event":"x","email":"a@example.com","paylod":{}}`, 422, "validation_error", "paylod"},
			{"payload is a list", `{"event":"x","email":"a@example.com","payload":[]}`, 422, "validation_error", "payload"},
			{"far ahead", `{"event":"x","email":"a@example.com","occurred_at":"2000-01-01T00:05:01Z"}`, 422, "validation_error", "occurred_at"},
		} {
			a := r.do(http.MethodPost, "/events/send", c.body)
			b := r.do(http.MethodPost, "/api/events/send", c.body)
			if a.status != c.status || a.at("code") != c.code || c.path != "" && a.at("details.0.path") != c.path {
				t.Errorf("%s: answered %d %s, want %d %s at %s", c.name, a.status, a.raw, c.status, c.code, c.path)
			}
			if a.at("statusCode") != json.Number(strconv.Itoa(c.status)) || a.at("message") == "" || a.at("message") != a.at("error") || a.at("name") == nil {
				t.Errorf("%s: error envelope: %s", c.name, a.raw)
			}
			if string(a.raw) != string(b.raw) {
				t.Errorf("%s: the prefix makes a difference:\n%s\n%s", c.name, a.raw, b.raw)
			}
		}
		r.do(http.MethodPost, "/events/send", `{"event":"x","email":"a@example.com","properties":{"a":1}}`).has("message", "properties is not accepted, use payload")
		r.do(http.MethodGet, "/deliveries", "").want(200).has("data.0", nil)
		r.do(http.MethodGet, "/contacts", "").want(200).has("data.0", nil)
	})
}

func TestOpenSendAccepts(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		first := r.do(http.MethodPost, "/events/send", `{"event":"x","email":"  Ada@Example.COM "}`).want(202)
		first.has("delivery.email", "ada@example.com")
		id := first.text("delivery.contact_id")
		for _, body := range []string{
			`{"event":"x","contactId":"` + strings.ToUpper(id) + `","contact_id":null}`,
			`{"event":"x","contact_id":"` + id + `","contactId":"` + id + `","email":null,"payload":null}`,
			`{"event":"` + strings.Repeat("😀", 255) + `","email":"ada@example.com"}`,
			`{"event":"x","email":"ADA@example.com","occurred_at":"2000-01-01T00:05:00Z"}`,
		} {
			r.do(http.MethodPost, "/events/send", body).want(202).has("delivery.contact_id", id).has("delivery.email", "ada@example.com")
		}
		// Payloads come back as they came, compacted: numbers, escapes, order.
		payload := `{"z":9007199254740993,"a":1e999999999,"h":"<b>&\u2028","n":1.10}`
		a := r.do(http.MethodPost, "/events/send", `{"event":"x","email":"ada@example.com","payload":`+strings.ReplaceAll(payload, ",", " ,\n ")+`}`).want(202)
		if !strings.Contains(string(a.raw), `"payload":`+payload) {
			t.Errorf("payload came back as %s", a.raw)
		}
		b := r.do(http.MethodGet, "/deliveries/"+a.text("delivery.id"), "").want(200)
		if !strings.Contains(string(b.raw), `"payload":`+payload) {
			t.Errorf("payload was stored as %s", b.raw)
		}
	})
}

func TestBatch(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		a := r.do(http.MethodPost, "/events/send/batch", `[{"event":"x","email":"a@example.com"},{"event":"","email":"a@example.com"},{"event":"y","email":"b@example.com"},7]`).want(202)
		a.has("object", "list").has("data.0.object", "event_delivery").has("data.1.statusCode", 422).has("data.2.delivery.event", "y").has("data.3.statusCode", 422)
		r.do(http.MethodPost, "/events/send/batch", `[]`).want(422)
		r.do(http.MethodPost, "/events/send/batch", `[`+strings.Repeat(`{},`, 500)+`{}]`).want(422)
		r.do(http.MethodPost, "/events/send/batch", `{}`).want(422)

		body, key := `[{"event":"once","email":"a@example.com"},{"event":"bad"}]`, []string{"Idempotency-Key", "batch-1"}
		first := r.do(http.MethodPost, "/events/send/batch", body, key...).want(202)
		again := r.do(http.MethodPost, "/api/events/send/batch", body, key...).want(202)
		if string(first.raw) != string(again.raw) || again.header.Get("Idempotent-Replayed") != "true" {
			t.Errorf("replay differs:\n%s\n%s %v", first.raw, again.raw, again.header)
		}
		r.do(http.MethodPost, "/events/send/batch", `[{"event":"other","email":"a@example.com"}]`, key...).want(409).has("code", "idempotency_conflict")
		r.do(http.MethodPost, "/events/send", `{"event":"once","email":"a@example.com"}`, key...).want(202) // another door
		if n := len(r.do(http.MethodGet, "/deliveries?event=once", "").at("data").([]any)); n != 2 {
			t.Errorf("%d deliveries, want 2", n)
		}
	})
}

func TestIdempotencyKey(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		body, key := `{"event":"x","email":"a@example.com"}`, []string{"Idempotency-Key", "order-1"}
		first := r.do(http.MethodPost, "/events/send", body, key...).want(202)
		again := r.do(http.MethodPost, "/events/send", body, key...).want(202)
		if string(first.raw) != string(again.raw) || again.header.Get("Idempotent-Replayed") != "true" || first.header.Get("Idempotent-Replayed") != "" {
			t.Errorf("replay differs:\n%s\n%s %v", first.raw, again.raw, again.header)
		}
		r.do(http.MethodPost, "/events/send", `{"event":"y","email":"a@example.com"}`, key...).want(409).has("name", "invalid_idempotent_request").has("code", "idempotency_conflict")
		r.do(http.MethodPost, "/events/send", body, "Idempotency-Key", strings.Repeat("k", 257)).want(400).has("name", "invalid_idempotency_key")
		r.do(http.MethodPost, "/events/send", body, "Idempotency-Key", "").want(400)
		r.do(http.MethodPost, "/v1/events", `{"event_name":"x","email":"a@example.com"}`, key...).want(404) // another door; and a 404 frees its key
		r.do(http.MethodPost, "/v1/events", `{"event_name":"y","email":"a@example.com"}`, key...).want(404)
		if n := len(r.do(http.MethodGet, "/deliveries", "").at("data").([]any)); n != 3 {
			t.Errorf("%d deliveries, want 3", n)
		}
		time.Sleep(24 * time.Hour)
		if late := r.do(http.MethodPost, "/events/send", body, key...).want(202); string(late.raw) == string(first.raw) {
			t.Error("the key is remembered for longer than a day")
		}
		synctest.Wait()
	})
}

func TestDoorDefaultsForDeduplication(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		id := r.automation("one", `[{"key":"t","type":"trigger","config":{"event_name":"paid"}}]`, "")
		a, b := `{"event":"paid","email":"a@example.com","payload":{"order":1}}`, `{"event_name":"paid","email":"a@example.com"}`
		r.do(http.MethodPost, "/events/send", a).want(202).has("automation_runs.0.status", "queued")
		r.do(http.MethodPost, "/events/send", a).want(202).has("automation_runs.0.status", "queued").has("deduplicated", nil)
		r.do(http.MethodPost, "/v1/events", b).want(200).has("status", "processed")
		r.do(http.MethodPost, "/v1/events", b).want(200).has("status", "deduplicated")

		set := func(dedup string) {
			r.do(http.MethodPatch, "/automations/"+id, `{"deduplication":`+dedup+`}`).want(200)
		}
		time.Sleep(time.Hour)
		set(`{"enabled":true,"window":"1 hour","key":["event.order"]}`)
		first := r.do(http.MethodPost, "/events/send", a).want(202)
		second := r.do(http.MethodPost, "/events/send", a).want(202).has("automation_runs.0", nil)
		second.has("deduplicated.0.automation_id", id).has("deduplicated.0.original_delivery_id", first.text("delivery.id")).has("deduplicated.0.window_seconds", 3600)
		for _, same := range []string{"1.0}", "10e-1}"} {
			r.do(http.MethodPost, "/events/send", strings.Replace(a, "1}", same, 1)).want(202).has("automation_runs.0", nil)
		}
		r.do(http.MethodPost, "/events/send", strings.Replace(a, "1}", `"1"}`, 1)).want(202).has("automation_runs.0.object", "automation_run")
		r.do(http.MethodPost, "/events/send", strings.Replace(a, "1}", "2}", 1)).want(202).has("automation_runs.0.object", "automation_run")
		r.do(http.MethodPost, "/events/send", strings.Replace(a, "a@", "b@", 1)).want(202).has("automation_runs.0.object", "automation_run")
		set(`{"enabled":false}`)
		r.do(http.MethodPost, "/v1/events", b).want(200).has("status", "processed")
		r.do(http.MethodPost, "/v1/events", b).want(200).has("status", "processed")
	})
}
