package server

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"
)

var generated = flag.Int("generated", 5_000, "how many requests TestFuzzedRequests makes up")

// dice makes things up, always the same ones for the same seed.
type dice struct{ *rand.Rand }

func newDice(seed uint64) dice { return dice{rand.New(rand.NewPCG(seed, 1))} }

func pick[T any](d dice, from ...T) T { return from[d.IntN(len(from))] }

// text is a string of any kind, as JSON.
func (d dice) text() string {
	return pick(d, `"start"`, `"a@example.com"`, `"B@EXAMPLE.com"`, `""`, `" "`, `"résumé"`, `"\u0000"`, `"\ud800"`, `"🙂"`, `"resend:x"`, `"2026-01-01T00:00:00Z"`, `"in 2 days"`, `"enabled"`,
		`"`+strings.Repeat("x", d.IntN(600))+`"`, `"0190d1a2-0000-7000-8000-000000000000"`, `"<script>"`, `"{{x}}"`, `"\r\nBcc: a@b.de"`, `"`+string([]byte{0xff})+`"`, `"opt_in"`, `"trigger"`, `"full_access"`)
}

// value is any JSON value, or something that is none.
func (d dice) value(depth int) string {
	if depth > 4 {
		return "1"
	}
	switch d.IntN(9) {
	case 0:
		return d.text()
	case 1:
		return pick(d, "0", "-1", "1.5", "1e400", "9007199254740993", "123456789012345678901234567890", "-0", "01", "1e999999999")
	case 2:
		return pick(d, "true", "false", "null")
	case 3:
		return d.object(depth+1, "x", "y", "id", "type", "key")
	case 4:
		items := make([]string, d.IntN(4))
		for i := range items {
			items[i] = d.value(depth + 1)
		}
		return "[" + strings.Join(items, ",") + "]"
	case 5:
		return strings.Repeat("[", d.IntN(80)) + "1" + strings.Repeat("]", d.IntN(80))
	default:
		return d.text()
	}
}

// object has some of the names as members, and now and then others.
func (d dice) object(depth int, names ...string) string {
	var members []string
	for _, name := range names {
		if d.IntN(3) > 0 {
			members = append(members, `"`+name+`":`+d.value(depth))
		}
		if d.IntN(30) == 0 {
			members = append(members, `"`+name+`":`+d.value(depth)) // twice
		}
	}
	if d.IntN(10) == 0 {
		members = append(members, d.text()+`:`+d.value(depth))
	}
	return "{" + strings.Join(members, ",") + "}"
}

// eventBody is a body for /events/send, often one that is taken.
func (d dice) eventBody() string {
	if d.IntN(3) == 0 {
		return d.object(1, "event", "email", "contact_id", "contactId", "payload", "properties", "occurred_at")
	}
	body := `{"event":` + pick(d, `"start"`, `"Start"`, `"other"`, d.text()) + `,"email":` + pick(d, `"a@example.com"`, `"A@Example.com "`, fmt.Sprintf(`"c%d@example.com"`, d.IntN(50)), d.text())
	if d.IntN(2) == 0 {
		body += `,"payload":` + pick(d, `{}`, `{"plan":"pro","n":12345678901234567890}`, `null`, d.value(1))
	}
	body += pick(d, "}", "}", "}", "}\n", "", "} x", ",}")
	if d.IntN(20) == 0 { // one byte is another
		raw := []byte(body)
		raw[d.IntN(len(raw))] = byte(d.IntN(256))
		body = string(raw)
	}
	return body
}

var (
	anyID   = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`)
	anyTime = regexp.MustCompile(`20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`)
)

// TestBothPrefixesAnswerAlike sends 10,000 generated events to /events/send and
// to /api/events/send.
func TestBothPrefixesAnswerAlike(t *testing.T) {
	r := newRig(t)
	r.automation("a", `[{"key":"t","type":"trigger","config":{"event_name":"start"}},{"key":"w","type":"wait_for_event","config":{"event_name":"never","timeout":"1 day"}}]`, "")
	d := newDice(1)
	statuses := map[int]int{}
	for range 10_000 {
		body := d.eventBody()
		plain, api := r.do(http.MethodPost, "/events/send", body), r.do(http.MethodPost, "/api/events/send", body)
		same := func(a *reply) string {
			return anyTime.ReplaceAllString(anyID.ReplaceAllString(string(a.raw), "ID"), "TIME")
		}
		if plain.status != api.status || same(plain) != same(api) {
			t.Fatalf("%q\n/events/send     %d %s\n/api/events/send %d %s", body, plain.status, plain.raw, api.status, api.raw)
		}
		statuses[plain.status]++
	}
	t.Log(statuses)
	if statuses[202] < 1000 || statuses[400] < 500 || statuses[422] < 1000 {
		t.Errorf("the requests are too much alike: %v", statuses)
	}
}

// fuzzBody is a body for any route: the names are those that bodies of the API
// have.
func (d dice) fuzzBody() string {
	names := []string{"id", "name", "status", "steps", "connections", "trigger_event_name", "deduplication", "email", "first_name", "unsubscribed", "properties", "segments", "topics",
		"event", "payload", "schema", "key", "type", "fallback_value", "alias", "from", "to", "cc", "subject", "html", "text", "variables", "template", "headers", "attachments", "tags", "scheduled_at",
		"permission", "expires_at", "reason", "emails", "ids", "origin", "event_name", "description", "default_subscription", "topic_id", "reply_to", "version", "contact", "trigger", "wait", "endpoint"}
	some := make([]string, 1+d.IntN(6))
	for i := range some {
		some[i] = pick(d, names...)
	}
	switch d.IntN(8) {
	case 0:
		return d.value(0)
	case 1:
		return d.eventBody()
	case 2:
		return "[" + d.object(0, some...) + "," + d.object(0, some...) + "]"
	case 3:
		steps := make([]string, d.IntN(5))
		for i := range steps {
			steps[i] = `{"key":"` + pick(d, "t", "a", "b", "c") + `","type":"` + pick(d, "trigger", "delay", "wait_for_event", "condition", "send_email", "contact_update", "end", "nonsense") +
				`","config":` + d.object(1, "event_name", "duration", "timeout", "template", "fields", "type", "rules", "subject", "html") + `}`
		}
		return `{"name":"x","steps":[` + strings.Join(steps, ",") + `],"connections":` + pick(d, `[]`, `[{"from":"t","to":"a"}]`, `[{"from":"t","to":"a"},{"from":"a","to":"t"}]`, d.value(1)) + `}`
	default:
		return d.object(0, some...)
	}
}

// goodBodies are bodies that routes take, to begin from.
var goodBodies = map[string]string{
	"/events/send":            `{"event":"start","email":"a@example.com","payload":{"plan":"pro"}}`,
	"/events/send/batch":      `[{"event":"start","email":"a@example.com"},{"event":"x","email":"b@example.com"}]`,
	"/v1/events":              `{"event_name":"start","email":"a@example.com","properties":{"a":1}}`,
	"/events":                 `{"name":"type","schema":{"type":"object","properties":{"plan":{"type":"string"}}}}`,
	"/events/{id}":            `{"schema":{"plan":"string"}}`,
	"/automations":            `{"name":"x","status":"enabled","steps":[{"key":"t","type":"trigger","config":{"event_name":"start"}},{"key":"m","type":"send_email","config":{"subject":"Hi {{n}}","text":"x"}}],"connections":[{"from":"t","to":"m"}],"deduplication":{"window":"1 hour"}}`,
	"/automations/{id}":       `{"name":"y","status":"enabled","deduplication":null}`,
	"/contacts":               `{"email":"new@example.com","first_name":"Ada","properties":{"plan":"pro"},"unsubscribed":false}`,
	"/contacts/batch":         `[{"email":"new@example.com","first_name":"Ada"},{"email":"a@example.com","properties":{"plan":"pro"}}]`,
	"/contacts/{id}":          `{"first_name":"Ada","properties":{"plan":null}}`,
	"/contacts/{id}/topics":   `[{"id":"0190d1a2-0000-7000-8000-000000000000","subscription":"opt_in"}]`,
	"/segments":               `{"name":"Pro"}`,
	"/topics":                 `{"name":"News","default_subscription":"opt_in"}`,
	"/contact-properties":     `{"key":"plan","type":"string","fallback_value":"x"}`,
	"/templates":              `{"name":"T","alias":"start","subject":"Hi {{name}}","html":"<p>{{{name|x}}}</p>","variables":[{"key":"name","type":"string"}]}`,
	"/templates/{id}":         `{"html":"<b>{{a}}</b>"}`,
	"/templates/{id}/preview": `{"version":"draft","contact":{"email":"a@example.com","first_name":"Ada"},"event":{"a":1},"steps":{"s":{"output":{}}},"wait":{},"variables":{"name":"x"}}`,
	"/emails":                 `{"from":"a@example.com","to":["b@example.com"],"subject":"x","html":"<p>x</p>","tags":[{"name":"a","value":"b"}],"attachments":[{"filename":"x","content":"aGk="}]}`,
	"/emails/batch":           `[{"from":"a@example.com","to":"b@example.com","subject":"x","text":"x"}]`,
	"/suppressions":           `{"email":"s@example.com","origin":"bounce"}`,
	"/suppressions/import":    "email,origin\na@example.com,bounce\n",
	"/webhooks":               `{"endpoint":"https://hooks.invalid/x","events":["contact.created"],"status":"disabled"}`,
	"/webhooks/{id}":          `{"events":["email.sent"]}`,
	"/api-keys":               `{"name":"k","permission":"events_access"}`,
}

// spoilt is a good body with some of its values, or bytes, replaced.
func (d dice) spoilt(body string) string {
	for range d.IntN(3) {
		if d.IntN(3) == 0 {
			raw := []byte(body)
			raw[d.IntN(len(raw))] = byte(d.IntN(256))
			body = string(raw)
			continue
		}
		values := regexp.MustCompile(`:("[^"]*"|\d+|true|false|null)`).FindAllStringIndex(body, -1)
		if len(values) > 0 {
			at := pick(d, values...)
			body = body[:at[0]+1] + d.value(2) + body[at[1]:]
		}
	}
	return body
}

// TestFuzzedRequests sends made-up requests to every route: none may panic or
// be answered with 5xx, and every answer is held to openapi.yaml.
func TestFuzzedRequests(t *testing.T) {
	r := newRig(t)
	id := r.automation("a", `[{"key":"t","type":"trigger","config":{"event_name":"start"}},{"key":"d","type":"delay","config":{"duration":"1 day"}}]`, "")
	r.madeUp = true
	run := r.do(http.MethodPost, "/events/send", `{"event":"start","email":"a@example.com"}`).want(202).text("automation_runs.0.id")
	ids := []string{id, run, "a@example.com", "start", "0190d1a2-0000-7000-8000-000000000000", "%00", "..%2f", "%ff", "x%2Fy", strings.Repeat("z", 300), "+", "%F0%9F%99%82"}
	all := routes()
	d := newDice(2)
	statuses := map[int]int{}
	var slowest time.Duration
	var what string
	for range *generated {
		rt := pick(d, all...)
		if rt.path == "/api-keys/{id}" && rt.method == http.MethodDelete {
			continue // it might be our own
		}
		path := pick(d, rt.prefixes()...) + regexp.MustCompile(`\{\w+\}`).ReplaceAllStringFunc(rt.path, func(string) string { return pick(d, ids...) })
		if d.IntN(4) == 0 {
			path += "?" + pick(d, "limit", "after", "before", "status", "search", "verdict", "from", "email", "id", "origin", "segment_id") + "=" + pick(d, "1", "0", "%00", "-1", "x", id, "a@example.com", "2026-01-01T00:00:00Z", "%ff")
		}
		body := ""
		if rt.method != http.MethodGet || d.IntN(10) == 0 {
			body = d.fuzzBody()
			if good := goodBodies[rt.path]; good != "" && d.IntN(4) > 0 {
				body = d.spoilt(good)
			}
		}
		header := []string{"Content-Type", pick(d, "application/json", "application/json", "application/json", "application/json", "application/json; charset=utf-8", "", "text/csv", "text/plain")}
		if d.IntN(3) == 0 {
			header = append(header, "Idempotency-Key", pick(d, "a", "b", "", strings.Repeat("k", 300)))
		}
		if d.IntN(3) == 0 {
			header = append(header, "User-Agent", "resend-test")
		}
		began := time.Now()
		a := r.do(rt.method, path, body, header...)
		if took := time.Since(began); took > slowest {
			slowest, what = took, rt.method+" "+rt.path
		}
		statuses[a.status]++
		if a.status >= 500 || t.Failed() {
			t.Fatalf("%s %s %q %q\nanswered %d %s", rt.method, path, header, body, a.status, a.raw)
		}
	}
	t.Logf("%v, the slowest %s in %s", statuses, what, slowest)
}

// FuzzEvents sends any bytes to the two event doors.
func FuzzEvents(f *testing.F) {
	d := newDice(3)
	for range 100 {
		f.Add([]byte(d.eventBody()))
	}
	r := newRig(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, path := range []string{"/events/send", "/v1/events", "/events/send/batch"} {
			req := httptest.NewRequest(http.MethodPost, path, strings.NewReader(string(body)))
			req.Header.Set("Authorization", "Bearer "+r.key)
			rec := httptest.NewRecorder()
			r.public.ServeHTTP(rec, req)
			if rec.Code >= 500 || !json.Valid(rec.Body.Bytes()) {
				t.Errorf("%s %q answered %d %s", path, body, rec.Code, rec.Body)
			}
		}
	})
}
