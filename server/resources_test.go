package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

func TestEventTypes(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		schema := `{"type":"object","properties":{"meta":{"type":"object","properties":{"source":{"type":"string"}}}},"required":["plan"]}`
		id := r.do(http.MethodPost, "/events", `{"name":"a/b c?:é","schema":`+schema+`}`).want(201).has("object", "event").has("schema.required.0", "plan").text("id")
		r.do(http.MethodPost, "/api/events", `{"name":"a/b c?:é"}`).want(409).has("code", "event_name_taken").has("name", "conflict")
		for _, ref := range []string{id, strings.ToUpper(id), "a%2Fb%20c%3F%3A%C3%A9"} {
			r.do(http.MethodGet, "/events/"+ref, "").want(200).has("id", id)
		}
		a := r.do(http.MethodPost, "/events/send", `{"event":"a/b c?:é","email":"a@example.com","payload":{"meta":{"source":1}}}`).want(422)
		a.has("code", "event_payload_invalid").has("details.0.path", "payload.meta.source").has("details.1.path", "payload.plan").has("details.1.message", "is required")
		r.do(http.MethodGet, "/contacts", "").has("data.0", nil)
		r.do(http.MethodPost, "/events/send", `{"event":"a/b c?:é","email":"a@example.com","payload":{"plan":"x","more":[1]}}`).want(202)
		r.do(http.MethodPatch, "/events/"+id, `{"schema":{"plan":"number"}}`).want(200).has("schema.plan", "number")
		r.do(http.MethodPost, "/events/send", `{"event":"a/b c?:é","email":"a@example.com","payload":{"plan":"x"}}`).want(422).has("details.0.path", "payload.plan")
		r.do(http.MethodPatch, "/events/"+id, `{"schema":null,"name":"renamed"}`).want(200).has("schema", nil)
		r.do(http.MethodPost, "/events/send", `{"event":"a/b c?:é","email":"a@example.com","payload":{"plan":"x"}}`).want(202)
		r.do(http.MethodPatch, "/events/"+id, `{}`).want(422)
		r.do(http.MethodPost, "/events", `{"name":"send"}`).want(422)
		r.do(http.MethodPost, "/events", `{"schema":{}}`).want(422).has("name", "missing_required_field")
		for _, bad := range []string{`{"type":"sting"}`, `{"plan":"string","seats":"integer"}`, `{"$ref":"http://example.com/x"}`, `{"$ref":"file:///etc/passwd"}`, `{"pattern":"("}`, `7`, `{"allOf":[{"$ref":"#"},{"$ref":"#"}]}`} {
			r.do(http.MethodPost, "/events", `{"name":"bad","schema":`+bad+`}`).want(422).has("code", "event_schema_invalid")
		}
		if a := r.do(http.MethodPost, "/events", `{"name":"bad","schema":{"type":"sting"}}`).want(422); !strings.HasPrefix(a.text("message"), "schema.type: ") {
			t.Errorf("the message does not say where: %s", a.raw)
		}
		r.do(http.MethodGet, "/events", "").has("data.0.name", "renamed").has("data.1", nil)
		r.do(http.MethodDelete, "/events/renamed", "").want(200).has("object", "event").has("deleted", true)
		r.do(http.MethodGet, "/events/"+id, "").want(404).has("code", "event_not_found")
		second := r.do(http.MethodPost, "/events", `{"name":"old"}`).want(201).text("id")
		r.do(http.MethodDelete, "/api/events?id="+second, "").want(200)
	})
}

func TestContacts(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		a := r.do(http.MethodPost, "/contacts", `{"email":"Ada@Example.com","first_name":"Ada","properties":{"n":9007199254740993,"gone":"x"}}`).want(201).has("object", "contact").has("last_name", nil)
		r.do(http.MethodPost, "/contacts", `{"email":"ada@example.com"}`).want(409).has("code", "contact_exists")
		path := "/contacts/" + a.text("id")
		r.do(http.MethodPatch, path, `{"properties":{"gone":null,"new":true},"last_name":"L","id":"`+a.text("id")+`"}`).want(200).has("first_name", "Ada").has("properties.gone", nil).has("properties.new", true)
		r.do(http.MethodPatch, "/contacts/ADA@example.com", `{"first_name":null,"email":"lovelace@example.com"}`).want(200).has("first_name", nil).has("email", "lovelace@example.com")
		r.do(http.MethodGet, "/contacts/ada@example.com", "").want(404)
		r.do(http.MethodPatch, path, `{"email":"a b"}`).want(422).has("details.0.path", "email")
		r.do(http.MethodPatch, path, `{"first_name":"a\r\nb"}`).want(422)
		r.do(http.MethodPatch, path, `{}`).want(422)
		r.do(http.MethodPatch, path, `{"unsubscribed":"no","segments":[]}`).want(422)
		r.do(http.MethodPatch, path, `{"email":null,"unsubscribed":null,"properties":null}`).want(422)
		r.do(http.MethodGet, path, "").has("email", "lovelace@example.com").has("unsubscribed", false)
		for i := range 25 {
			r.do(http.MethodPost, "/contacts", fmt.Sprintf(`{"email":"c%02d@example.com","unsubscribed":%t}`, i, i%2 == 0)).want(201)
		}
		first := r.do(http.MethodGet, "/contacts", "").has("has_more", true).has("data.0.email", "c24@example.com")
		second := r.do(http.MethodGet, "/contacts?after="+first.at("data").([]any)[19].(map[string]any)["id"].(string), "").has("has_more", false).has("data.0.email", "c04@example.com").has("data.5.email", "lovelace@example.com")
		r.do(http.MethodGet, "/contacts?limit=2&before="+second.text("data.0.id"), "").has("has_more", true).has("data.0.email", "c06@example.com").has("data.1.email", "c05@example.com")
		r.do(http.MethodGet, "/contacts?search=LOVE", "").has("data.0.id", a.text("id")).has("data.1", nil)
		r.do(http.MethodGet, "/contacts?status=unsubscribed&limit=1", "").has("data.0.email", "c24@example.com")
		r.do(http.MethodDelete, "/contacts/"+second.text("data.0.id"), "").want(200)
		r.do(http.MethodGet, "/contacts?limit=1&after="+second.text("data.0.id"), "").has("data.0.email", "c03@example.com") // the cursor's row has gone
		for _, query := range []string{"limit=0", "limit=101", "limit=x", "after=x", "status=x", "segment_id=x", "after=" + a.text("id") + "&before=" + a.text("id")} {
			r.do(http.MethodGet, "/contacts?"+query, "").want(422)
		}
	})
}

func TestTemplates(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		a := r.do(http.MethodPost, "/templates", `{"name":"T","alias":"t","subject":"{{a}}","html":"<p>{{{b|x}}} {{contact.email}} {{{FIRST_NAME}}}</p>","reply_to":"r@example.com","from":""}`).want(201)
		a.has("status", "draft").has("variables.0.key", "a").has("variables.1.key", "b").has("variables.2", nil).has("reply_to.0", "r@example.com").has("from", nil)
		r.do(http.MethodPost, "/templates", `{"name":"T","alias":"t","html":"x"}`).want(409).has("code", "template_alias_taken")
		r.do(http.MethodPost, "/templates", `{"name":"T","html":"{{#if x}}"}`).want(422).has("details.0.path", "html")
		r.do(http.MethodPost, "/templates", `{"name":"T","html":"{{x"}`).want(422)
		r.do(http.MethodPost, "/templates", `{"name":"T","html":"{{x}}","variables":[{"key":"y","type":"string"}]}`).want(422).has("code", "template_variable_unknown")
		r.do(http.MethodPost, "/templates", `{"name":"T","html":"x","variables":[{"key":"EMAIL"}]}`).want(422)
		r.do(http.MethodPost, "/templates", `{"name":"T"}`).want(422).has("name", "missing_required_field")
		r.do(http.MethodPost, "/templates", `{"name":"T","html":"x","subject":"a\nb"}`).want(422)
		r.do(http.MethodPost, "/templates/t/publish", "").want(200).has("status", "published").has("has_unpublished_versions", false)
		r.do(http.MethodPatch, "/templates/t", `{"html":"new"}`).want(200).has("has_unpublished_versions", true).has("status", "published")
		r.do(http.MethodGet, "/templates/t?version=published", "").want(200).has("html", "<p>{{{b|x}}} {{contact.email}} {{{FIRST_NAME}}}</p>")
		r.do(http.MethodGet, "/templates/t?version=draft", "").want(200).has("html", "new")
		r.do(http.MethodGet, "/templates/t?version=sent", "").want(422)
		r.do(http.MethodPatch, "/templates/t", `{"name":"","html":"","text":"plain","subject":null,"reply_to":null,"alias":null,"variables":null}`).want(200).
			has("name", "T").has("html", "new").has("text", "plain").has("subject", "{{a}}").has("reply_to.0", "r@example.com").has("alias", "t")
		for _, nothing := range []string{`{}`, `{"name":"","html":""}`, `{"name":null,"html":null,"variables":null,"id":"x"}`} {
			r.do(http.MethodPatch, "/templates/t", nothing).want(422)
		}
		r.do(http.MethodPatch, "/templates/t", `{"alias":"u"}`).want(200)
		r.do(http.MethodGet, "/templates/t", "").want(404)
		r.do(http.MethodGet, "/templates/u", "").want(200).has("html", "new")
		long := strings.Repeat("é", maxName)
		r.do(http.MethodPatch, "/templates/u", `{"name":"`+long+`"}`).want(200)
		twin := r.do(http.MethodPost, "/templates/u/duplicate", "").want(201)
		r.do(http.MethodPatch, "/templates/"+twin.text("id"), `{"name":"`+twin.text("name")+`"}`).want(200).has("name", long[:2*(maxName-7)]+" (copy)")
		r.do(http.MethodDelete, "/templates/"+a.text("id"), "").want(200).has("deleted", true)
		r.do(http.MethodPost, "/templates", `{"name":"T","alias":"u","html":"x"}`).want(201) // the alias is free again
	})
}

// Everything wrong with a template's text is told with its place in it.
func TestTemplateErrorsHavePlaces(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		a := r.do(http.MethodPost, "/templates", `{"name":"T","subject":"{{a b}}","html":"<p>\n  {{#if x}} {{ok}} {{/if}}\n<a href={{url}}>","text":"é {{x"}`).want(422).has("code", "template_invalid")
		for i, want := range []string{"subject 1 1", "html 2 3", "html 2 20", "html 3 9", "text 1 3"} {
			at := fmt.Sprint("details.", i, ".")
			if got := fmt.Sprint(a.at(at+"path"), " ", a.at(at+"line"), " ", a.at(at+"column")); got != want {
				t.Errorf("detail %d is at %s, want %s", i, got, want)
			}
		}
		a.has("details.5", nil).has("details.1.message", `line 2, column 3: "#if x" is not the name of a variable; use a name or a path such as event.plan`)
		id := r.do(http.MethodPost, "/templates", `{"name":"T","html":"{{a}}","variables":[{"key":"a"}]}`).want(201).text("id")
		r.do(http.MethodPatch, "/templates/"+id, `{"html":"\n{{b}}"}`).want(422).has("code", "template_variable_unknown").has("details.0.line", 2).has("details.0.column", 1)
		r.do(http.MethodPatch, "/templates/"+id, `{"variables":[]}`).want(422).has("details.0.path", "html")
		r.do(http.MethodGet, "/templates/"+id, "").has("html", "{{a}}").has("has_unpublished_versions", true)
		for _, key := range []string{"FIRST_NAME", "OPENSEND_UNSUBSCRIBE_URL", "contact", "event", "steps", "a b", "", strings.Repeat("x", 51)} {
			r.do(http.MethodPost, "/templates", `{"name":"T","html":"x","variables":[{"key":"`+key+`"}]}`).want(422).has("details.0.path", "variables[0].key")
		}
		var names, keys strings.Builder
		for i := range 51 {
			fmt.Fprintf(&names, "{{v%d}}\\n", i)
			fmt.Fprintf(&keys, `{"key":"v%d"},`, i)
		}
		r.do(http.MethodPost, "/templates", `{"name":"T","html":"`+names.String()+`"}`).want(422).has("details.0.line", 51).has("details.1", nil)
		r.do(http.MethodPost, "/templates", `{"name":"T","html":"x","variables":[`+strings.TrimSuffix(keys.String(), ",")+`]}`).want(422).has("details.0.path", "variables")
		r.do(http.MethodPost, "/templates", `{"name":"T","html":"`+strings.Replace(names.String(), "{{v50}}", "", 1)+`{{contact.email}}{{EMAIL}}{{a.b}}"}`).want(201)
		step := `{"name":"a","steps":[{"key":"t","type":"trigger","config":{"event_name":"x"}},{"key":"m","type":"send_email","config":%s}]}`
		a = r.do(http.MethodPost, "/automations", fmt.Sprintf(step, `{"subject":"x","html":"<b>\n {{"}`)).want(422).has("code", "send_email_content_invalid")
		a.has("details.0.path", "steps[1].config.html").has("details.0.line", 2).has("details.0.column", 2)
		r.do(http.MethodPost, "/automations", fmt.Sprintf(step, `{"subject":"x\r\nBcc: y@example.com","text":"x"}`)).want(422).has("details.0.path", "steps[1].config.subject")
		r.do(http.MethodPost, "/automations", fmt.Sprintf(step, `{"subject":"{{x","template":{"id":"t"}}`)).want(422).has("details.0.path", "steps[1].config.subject")
	})
}

func TestPreview(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		ada := r.do(http.MethodPost, "/contacts", `{"email":"ada@example.com","first_name":"Ada <3","properties":{"plan":"pro"}}`).want(201).text("id")
		r.do(http.MethodPost, "/contact-properties", `{"key":"city","type":"string","fallback_value":"Rome"}`).want(201)
		content := `{"name":"T","alias":"t","from":"T <t@example.com>","subject":"{{FIRST_NAME}}: {{n}}","html":"<p title=\"{{contact.first_name}}\">{{FIRST_NAME}} {{{body}}} {{contact.properties.city}} {{who|you}} {{who}} {{EMAIL}} {{event.a}}{{trigger.a}}{{a}} {{steps.s.output.x}} {{wait.w.y}} {{{OPENSEND_UNSUBSCRIBE_URL}}}</p>",
			"variables":[{"key":"n","type":"number","fallback_value":7},{"key":"body","type":"html","fallback_value":"<i>none</i>"},{"key":"who"},{"key":"a"}]}`
		r.do(http.MethodPost, "/templates", content).want(201)
		preview := func(body string) *reply {
			t.Helper()
			return r.do(http.MethodPost, "/templates/t/preview", body).want(200)
		}
		status := func(a *reply, name string) string {
			for _, v := range a.at("variables").([]any) {
				if v := v.(map[string]any); v["name"] == name {
					return fmt.Sprint(v["status"], " ", v["value"], " ", v["type"])
				}
			}
			return "not listed"
		}

		bare := preview("").has("object", "template_preview").has("version", "draft").has("from", "T <t@example.com>").has("subject", "{{FIRST_NAME}}: 7")
		bare.has("html", `<p title="{{contact.first_name}}">{{FIRST_NAME}} <i>none</i> Rome you {{who}} {{EMAIL}} {{event.a}}{{trigger.a}}{{a}} {{steps.s.output.x}} {{wait.w.y}} https://opensend.example/unsubscribe/preview</p>`)
		for name, want := range map[string]string{
			"FIRST_NAME": "missing <nil> <nil>", "n": "filled 7 number", "body": "filled <i>none</i> html", "who": "missing <nil> string", "contact.properties.city": "filled Rome <nil>",
			"event.a": "missing <nil> <nil>", "OPENSEND_UNSUBSCRIBE_URL": "used https://opensend.example/unsubscribe/preview <nil>",
		} {
			if got := status(bare, name); got != want {
				t.Errorf("%s is %s, want %s", name, got, want)
			}
		}
		typed := preview(`{"content":{"subject":"{{m|none}}","html":"<b>{{FIRST_NAME}}</b>","variables":[{"key":"m"}]},"contact":{"first_name":"Ada"}}`)
		typed.has("subject", "none").has("html", "<b>Ada</b>").has("from", "T <t@example.com>")
		r.do(http.MethodPost, "/templates/t/preview", `{"content":{"html":"{{x"}}`).want(422).has("details.0.path", "content.html")
		r.do(http.MethodPost, "/templates/t/preview", `{"content":{"name":"x"}}`).want(422).has("details.0.path", "content.name")
		preview("").has("subject", "{{FIRST_NAME}}: 7") // what is stored stays
		full := preview(`{"contact":"ADA@example.com","event":{"a":1},"steps":{"s":{"output":{"x":2}}},"wait":{"w":{"y":3}},"variables":{"n":"12.5","body":"<b>B</b>","who":"{{n}}","FIRST_NAME":null}}`)
		full.has("subject", "Ada <3: 12.5").has("text", "Ada <3 B Rome {{n}} {{n}} ada@example.com 111 2 3 https://opensend.example/unsubscribe/preview")
		full.has("html", `<p title="Ada &lt;3">Ada &lt;3 <b>B</b> Rome {{n}} {{n}} ada@example.com 111 2 3 https://opensend.example/unsubscribe/preview</p>`)
		for _, v := range full.at("variables").([]any) {
			if v := v.(map[string]any); v["status"] != "used" && v["name"] != "contact.properties.city" {
				t.Errorf("%v", v)
			}
		}
		sample := preview(`{"contact":{"email":"S@example.com","first_name":"Sam","properties":{"city":"Oslo"}},"trigger":{"a":"t"},"event":{"a":"e"},"variables":{"n":"x","body":[],"who":{}}}`)
		sample.has("subject", "Sam: {{n}}").has("variables.1.message", `the variable "n" must be a number`)
		for name, want := range map[string]string{
			"n": "invalid <nil> number", "body": "invalid <nil> html", "who": "invalid <nil> string", "a": "used e string", "trigger.a": "used t <nil>", "EMAIL": "used s@example.com <nil>", "contact.properties.city": "used Oslo <nil>",
		} {
			if got := status(sample, name); got != want {
				t.Errorf("%s is %s, want %s", name, got, want)
			}
		}
		preview(`{"contact":"`+ada+`"}`).has("variables.0.status", "used")

		r.do(http.MethodPost, "/templates/t/preview", `{"version":"published"}`).want(409).has("code", "template_not_published")
		r.do(http.MethodPost, "/templates/t/publish", "").want(200)
		r.do(http.MethodPatch, "/templates/t", `{"subject":"new"}`).want(200)
		preview(`{"version":"published"}`).has("version", "published").has("subject", "{{FIRST_NAME}}: 7")
		preview(`{}`).has("subject", "new")
		for body, path := range map[string]string{
			`{"version":"old"}`: "version", `{"contact":7}`: "contact", `{"contact":{"email":"x"}}`: "contact.email", `{"contact":{"name":"x"}}`: "contact.name", `{"event":[]}`: "event", `{"steps":"x"}`: "steps", `{"variables":[]}`: "variables", `{"varables":{}}`: "varables",
		} {
			r.do(http.MethodPost, "/templates/t/preview", body).want(422).has("details.0.path", path)
		}
		r.do(http.MethodPost, "/templates/t/preview", `{"contact":"nobody@example.com"}`).want(404).has("code", "contact_not_found")
		r.do(http.MethodPost, "/templates/none/preview", "").want(404).has("code", "template_not_found")
		r.do(http.MethodPatch, "/templates/t", `{"html":"`+strings.Repeat("{{who}}", 50)+`"}`).want(200)
		r.do(http.MethodPost, "/templates/t/preview", `{"variables":{"who":"`+strings.Repeat("x", 100<<10)+`"}}`).want(422).has("code", "template_too_large")
		r.do(http.MethodGet, "/emails", "").has("data.0", nil)
	})
}

// A variable's type is held to when mail is made, too.
func TestVariableTypes(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.do(http.MethodPost, "/templates", `{"name":"T","alias":"t","subject":"x","html":"{{n}} {{{h}}} {{s|fallback}}","variables":[{"key":"n","type":"number"},{"key":"h","type":"html","fallback_value":"<hr>"},{"key":"s","fallback_value":"declared"}]}`).want(201)
		r.do(http.MethodPost, "/templates/t/publish", "").want(200)
		send := func(variables string) *reply {
			return r.do(http.MethodPost, "/emails", `{"to":"b@example.com","template":{"id":"t","variables":`+variables+`}}`)
		}
		send(`{"n":"seven"}`).want(422).has("code", "template_variable_invalid").has("message", `the variable "n" must be a number`)
		send(`{"n":7,"h":1}`).want(422).has("code", "template_variable_invalid")
		send(`{"n":7,"s":[]}`).want(422).has("code", "template_variable_invalid")
		send(`{}`).want(422).has("code", "template_variable_missing")
		id := send(`{"n":1e400}`).want(200).text("id")
		r.do(http.MethodGet, "/emails/"+id, "").has("html", "1e400 <hr> fallback")
	})
}

func TestWrongTypeIsOneProblem(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		for path, body := range map[string]string{
			"/events/send": `{"event":7,"email":"a@example.com","payload":{}}`,
			"/contacts":    `{"email":7}`,
			"/events":      `{"name":7}`,
			"/automations": `{"name":"a","steps":[{"key":"t","type":"trigger","config":{"event_name":7}}]}`,
		} {
			r.do(http.MethodPost, path, body).want(422).has("name", "validation_error").has("details.1", nil)
		}
		both := r.do(http.MethodPost, "/events/send", `{"event":7,"email":8}`).want(422)
		both.has("details.0.message", "event must be a string").has("details.1.message", "email must be a string").has("details.2", nil)
	})
}

func TestAutomationErrors(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		trigger := `{"key":"t","type":"trigger","config":{"event_name":"x"}}`
		for _, c := range []struct{ body, code, path string }{
			{`{"name":"a"}`, "automation_steps_required", "steps"},
			{`{"steps":[` + trigger + `]}`, "missing_required_field", "name"},
			{`{"name":"a","steps":[{"key":"d","type":"delay","config":{"duration":"1 h"}}]}`, "trigger_must_be_first", "steps[0].type"},
			{`{"name":"a","steps":[` + trigger + `,{"key":"d","type":"delay","config":{"duration":"0 s"}}]}`, "delay_duration_invalid", "steps[1].config.duration"},
			{`{"name":"a","steps":[` + trigger + `,{"key":"d","type":"delay","config":{"duration":"367 days"}}]}`, "delay_duration_too_long", "steps[1].config.duration"},
			{`{"name":"a","steps":[` + trigger + `,{"key":"d","type":"dealy","config":{}}]}`, "step_type_invalid", "steps[1].type"},
			{`{"name":"a","steps":[` + trigger + `,{"key":"a","type":"end"},{"key":"b","type":"end"}],"connections":[{"from":"t","to":"a"}]}`, "step_unreachable", "steps[2]"},
			{`{"name":"a","steps":[` + trigger + `,{"key":"a","type":"end"}],"connections":[{"from":"t","to":"nowhere"}]}`, "connection_unknown_step", "connections[0].to"},
			{`{"name":"a","trigger_event_name":"y","steps":[` + trigger + `]}`, "trigger_event_name_mismatch", "trigger_event_name"},
			{`{"name":"a","steps":[` + trigger + `,{"key":"u","type":"contact_update","config":{"fields":{"email":"nobody"}}}]}`, "contact_update_invalid", "steps[1].config.fields.email"},
			{`{"name":"a","steps":[` + trigger + `,{"key":"u","type":"contact_update","config":{"email":"nobody"}}]}`, "contact_update_invalid", "steps[1].config.email"},
			{`{"name":"a","steps":[` + trigger + `,{"key":"d","type":"delay","config":{"duration":60}}]}`, "validation_error", "steps[1].config.duration"},
			{`{"name":"a","status":"on","steps":[` + trigger + `]}`, "validation_error", "status"},
			{`{"name":"a","steps":[` + trigger + `],"deduplication":{"window":"31 days"}}`, "deduplication_invalid", "deduplication.window"},
		} {
			a := r.do(http.MethodPost, "/automations", c.body).want(422).has("code", c.code)
			if c.path != "" {
				a.has("details.0.path", c.path)
			}
		}
		r.do(http.MethodGet, "/automations", "").has("data.0", nil)
		filled := r.do(http.MethodPost, "/automations", `{"name":"a","triggerEventName":"y","steps":[{"key":"any:thing","type":"trigger","config":{}}],"connections":null}`).want(201)
		filled.has("trigger_event_name", "y").has("steps.0.config.event_name", "y").has("status", "draft")
		r.do(http.MethodGet, "/automations/nonsense", "").want(404).has("code", "automation_not_found")

		path := "/automations/" + r.automation("p", `[`+trigger+`,{"key":"e","type":"end"}]`, `[{"from":"t","to":"e"}]`)
		r.do(http.MethodPatch, path, `{"name":null,"status":"disabled","steps":null,"connections":null,"triggerEventName":null}`).want(200).has("name", "p").has("status", "disabled").has("revision", 1)
		for _, nothing := range []string{`{}`, `{"id":"x","name":null,"status":null,"steps":null,"connections":null}`} {
			r.do(http.MethodPatch, path, nothing).want(422).has("name", "validation_error")
		}
		r.do(http.MethodPatch, path, `{"trigger_event_name":"z"}`).want(200).has("trigger_event_name", "z").has("steps.0.config.event_name", "z").has("connections.0.to", "e").has("revision", 2)
		r.do(http.MethodPatch, path, `{"trigger_event_name":"resend:z"}`).want(422).has("code", "event_name_reserved")
		r.do(http.MethodPatch, path, `{"steps":[`+trigger+`,{"key":"e","type":"end"}]}`).want(422).has("details.0.path", "connections")
		r.do(http.MethodPatch, path, `{"steps":[`+trigger+`]}`).want(200).has("trigger_event_name", "x").has("connections.0", nil).has("steps.1", nil)
		r.do(http.MethodPost, "/automations", `{"name":"a","trigger_event_name":" y ","steps":[{"key":"t","type":"trigger","config":{"event_name":" y "}}]}`).want(201).has("trigger_event_name", " y ")
		r.do(http.MethodGet, "/automations/"+filled.text("id")+"/runs/nonsense", "").want(404).has("code", "run_not_found")
		r.do(http.MethodGet, "/automations/"+filled.text("id")+"/runs?status=running,failed", "").want(200)
		r.do(http.MethodGet, "/automations/"+filled.text("id")+"/runs?status=sleeping", "").want(422)
	})
}

func TestUnknownRoutes(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		for _, path := range []string{"/nowhere", "/events/", "/contacts//x", "/./contacts", "/contacts/../events", "/api", "/api/api/events"} {
			a := r.do(http.MethodGet, path, "").want(404).has("name", "not_found")
			if a.header.Get("Location") != "" || a.header.Get("X-Request-Id") == "" {
				t.Errorf("%s: headers %v", path, a.header)
			}
		}
		if a := r.do(http.MethodPut, "/contacts", "{}").want(405).has("name", "method_not_allowed"); !strings.Contains(a.header.Get("Allow"), "POST") {
			t.Errorf("Allow is %q", a.header.Get("Allow"))
		}
		r.do(http.MethodPost, "/contacts", `{"email":"a@example.com"}`, "Content-Type", "text/plain").want(415)
		r.do(http.MethodPost, "/contacts", `{"email":"a@example.com"}`, "Content-Encoding", "gzip").want(415).has("name", "unsupported_media_type")
		r.do(http.MethodPost, "/contacts", `{"email":"a@example.com"}`, "Content-Type", "application/json; charset=utf-8", "Content-Encoding", "identity").want(201)
		for i, kind := range []string{"Application/JSON;charset", "application/json, application/json", "application/vnd.api+json"} {
			r.do(http.MethodPost, "/contacts", fmt.Sprintf(`{"email":"a%d@example.com"}`, i), "Content-Type", kind).want(201)
		}
		r.do(http.MethodGet, "/contacts", "a=b", "Content-Type", "application/x-www-form-urlencoded").want(200)
		r.do(http.MethodDelete, "/contacts/a1@example.com", "a=b", "Content-Type", "application/x-www-form-urlencoded").want(200)
		r.do(http.MethodPost, "/contacts", `{"email":"`+strings.Repeat("a", 1<<20)+`"}`).want(413).has("name", "payload_too_large")
		for _, query := range []string{"search=50%", "limit=1;status=x", "search=%zz"} {
			r.do(http.MethodGet, "/contacts?"+query, "").want(422)
		}
		r.do(http.MethodGet, "/contacts?search=50%25&limit=1", "").want(200)
		r.do(http.MethodGet, "/healthz", "").want(200)
		r.do(http.MethodGet, "/readyz", "").want(200).has("status", "ready")
	})
}

// TestAuthorization tries every route with every kind of key. A route is found
// in the table, so a new one is tried too.
func TestAuthorization(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		events, sending, full := r.newKey("events_access"), r.newKey("sending_access"), r.newKey("full_access")
		metrics := r.newKey("metrics_access")
		testEvents, testSending, testFull := r.testKey("events_access"), r.testKey("sending_access"), r.testKey("full_access")
		revoked := r.send(r.trust, "", http.MethodPost, "/api-keys", `{"name":"x"}`).want(201)
		r.send(r.trust, "", http.MethodDelete, "/api-keys/"+revoked.text("id"), "").want(200)
		expired := r.send(r.trust, "", http.MethodPost, "/api-keys", `{"name":"x","expires_at":"2000-01-01T00:00:01Z"}`).want(201).text("token")
		r.send(r.public, expired, http.MethodGet, "/contacts", "").want(200)
		time.Sleep(time.Second)
		typo := full[:20] + "7" + full[21:]
		if typo == full {
			typo = full[:20] + "6" + full[21:]
		}
		for _, rt := range routes() {
			for _, prefix := range rt.prefixes() {
				time.Sleep(10 * time.Second) // so much is refused only slowly; see TestStrangers
				path := prefix + strings.NewReplacer("{id}", "x", "{run}", "x", "{segment}", "x", "{delivery}", "x").Replace(rt.path)
				status := func(key string) int { return r.send(r.public, key, rt.method, path, "").status }
				if rt.access == accessNone {
					if got := status(""); got != http.StatusOK {
						t.Errorf("%s %s without a key: %d", rt.method, path, got)
					}
					continue
				}
				if rt.access == accessProvider { // an API key opens nothing; what does is in TestProviders
					for _, key := range []string{"", "os_x", full, sending, testFull} {
						if got := status(key); got != http.StatusNotFound {
							t.Errorf("%s %s, which is not configured: %d", rt.method, path, got)
						}
					}
					continue
				}
				none := http.StatusUnauthorized
				if rt.door == mailDiverDoor {
					none = http.StatusForbidden
				}
				for name, key := range map[string]string{
					"none": "", "malformed": "os_x", "typo": typo, "unknown": "re_123", "revoked": revoked.text("token"), "expired": expired,
				} {
					if got := status(key); got != none {
						t.Errorf("%s %s with key %s: %d, want %d", rt.method, path, name, got, none)
					}
				}
				for _, p := range []struct {
					key  string
					want bool
				}{
					{full, true}, {events, rt.access == accessEvents}, {sending, rt.access == accessSending}, {metrics, rt.access == accessMetrics},
					{testFull, rt.access != accessLive}, {testEvents, rt.access == accessEvents}, {testSending, rt.access == accessSending},
				} {
					if opened := status(p.key) != http.StatusForbidden; opened != p.want {
						t.Errorf("%s %s: opened %v, want %v", rt.method, path, opened, p.want)
					}
				}
				if rec := r.send(r.public, "", rt.method, path, "", "Cookie", "opensend_session="+full); rec.status != none {
					t.Errorf("%s %s with a cookie: %d", rt.method, path, rec.status)
				}
			}
		}
		r.send(r.public, "", http.MethodGet, "/contacts", "", "Authorization", "bearer "+full).want(200) // the scheme has no case
		refused := r.send(r.public, "", http.MethodGet, "/contacts", "", "Authorization", "Basic "+full).want(401).has("name", "missing_api_key")
		if how := refused.header.Get("WWW-Authenticate"); how != "Bearer" {
			t.Errorf("WWW-Authenticate: %q", how)
		}
		r.send(r.public, "os_x", http.MethodGet, "/contacts", "", "User-Agent", "resend-go/3").want(403).has("name", "invalid_api_key")
		r.send(r.public, "os_x", http.MethodGet, "/api/contacts", "", "User-Agent", "resend-go/3").want(401)
		r.do(http.MethodPost, "/api-keys", `{"name":"x","permission":"all"}`).want(422)
		if list := r.do(http.MethodGet, "/api-keys", ""); strings.Contains(string(list.raw), "token") || strings.Contains(string(list.raw), "os_") {
			t.Errorf("the list shows a token: %s", list.raw)
		}
	})
}

// Updates that share a transaction with one that fails are run again; what they
// store must not show it.
func TestSharedTransactionsAreInvisible(t *testing.T) {
	r := newRig(t)
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			r.db.Update(func(tx *storage.Tx) error {
				if err := tx.Probe(); err != nil {
					return err
				}
				return errors.New("spoils the transaction")
			})
		})
		wg.Go(func() {
			a := r.do(http.MethodPost, "/automations", `{"name":"a","status":"enabled","steps":[{"key":"t","type":"trigger","config":{"event_name":"x"}}]}`)
			if a.status != 201 || a.at("revision") != json.Number("1") {
				t.Errorf("%d %s", a.status, a.raw)
				return
			}
			if got := r.do(http.MethodGet, "/automations/"+a.text("id"), ""); got.status != 200 || string(got.raw) != string(a.raw) {
				t.Errorf("%d %s", got.status, got.raw)
			}
		})
	}
	wg.Wait()
}

func TestAudiencesAreSegments(t *testing.T) {
	r := newRig(t)
	id := r.do(http.MethodPost, "/audiences", `{"name":"Old"}`).want(201).text("id")
	r.do(http.MethodPatch, "/audiences/"+id, `{"name":"Older"}`).want(200)
	r.do(http.MethodGet, "/audiences/"+id, "").want(200).has("name", "Older")
	r.do(http.MethodGet, "/segments/"+id, "").want(200).has("name", "Older")
	r.do(http.MethodPatch, "/segments/"+id, `{"name":""}`).want(422)
	r.do(http.MethodPatch, "/segments/"+id, `{"name":"Oldest"}`).want(200)
	contact := r.do(http.MethodPost, "/audiences/"+id+"/contacts", `{"email":"a@example.com"}`).want(201).has("segments.0", id).text("id")
	r.do(http.MethodPatch, "/audiences/"+id+"/contacts/a@example.com", `{"first_name":"Ada"}`).want(200)
	r.do(http.MethodGet, "/audiences/"+id+"/contacts/"+contact, "").want(200).has("first_name", "Ada")
	other := r.do(http.MethodPost, "/audiences", `{"name":"Other"}`).want(201).text("id")
	for audience, code := range map[string]string{other: "contact_not_found", contact: "segment_not_found", "nonsense": "segment_not_found"} {
		for _, method := range []string{http.MethodGet, http.MethodPatch, http.MethodDelete} {
			r.do(method, "/audiences/"+audience+"/contacts/a@example.com", `{"first_name":"No"}`).want(404).has("code", code)
		}
	}
	r.do(http.MethodPost, "/audiences/"+id+"/contacts", `{"email":"b@example.com","segments":["`+other+`","`+id+`",{"id":"`+other+`"}]}`).want(201).
		has("segments.0", id).has("segments.1", other).has("segments.2", nil)
	r.do(http.MethodPost, "/contacts", `{"email":"c@example.com","segments":["`+id+`"`+strings.Repeat(`,"`+id+`"`, 1000)+`]}`).want(422)
	third := r.do(http.MethodPost, "/segments", `{"name":"Third"}`).want(201).text("id")
	for _, segment := range []string{third, other} { // the order in which they are joined does not matter
		r.do(http.MethodPost, "/contacts/"+contact+"/segments/"+segment, "").want(200)
	}
	list := "/contacts/" + contact + "/segments"
	r.do(http.MethodGet, list, "").has("data.0.id", third).has("data.1.id", other).has("data.2.id", id).has("has_more", false)
	r.do(http.MethodGet, list+"?limit=2", "").has("data.1.id", other).has("data.2", nil).has("has_more", true)
	r.do(http.MethodGet, list+"?limit=2&after="+other, "").has("data.0.id", id).has("data.1", nil).has("has_more", false)
	r.do(http.MethodGet, list+"?limit=1&before="+id, "").has("data.0.id", other).has("data.1", nil).has("has_more", true)
	r.do(http.MethodDelete, "/audiences/"+id, "").want(200).has("deleted", true)
	r.do(http.MethodGet, "/audiences/"+id, "").want(404)
	r.do(http.MethodGet, "/contacts/"+contact, "").want(200).has("segments.0", third).has("segments.2", nil)
	gone, _ := automations.ParseID(third) // with its contact still to be taken out of it
	if err := r.db.Update(func(tx *storage.Tx) error { return tx.DeleteSegment(gone) }); err != nil {
		t.Fatal(err)
	}
	r.do(http.MethodGet, "/contacts/"+contact, "").want(200).has("segments.0", other).has("segments.1", nil)
	r.do(http.MethodGet, "/contacts?segment_id="+third, "").want(200).has("data.0", nil)
	r.do(http.MethodGet, list, "").want(200).has("data.0.id", other).has("data.1", nil)
	r.do(http.MethodGet, "/contacts/"+contact+"/export", "").want(200).has("segments.0.id", other).has("segments.1", nil)
}

func TestRenameAPIKey(t *testing.T) {
	r := newRig(t)
	id := r.do(http.MethodPost, "/api-keys", `{"name":"a","permission":"events_access"}`).want(201).text("id")
	r.do(http.MethodPatch, "/api-keys/"+id, `{"name":"b"}`).want(200).has("name", "b").has("permission", "events_access")
	r.do(http.MethodPatch, "/api-keys/"+id, `{"permission":"full_access"}`).want(422)
	r.do(http.MethodPatch, "/api-keys/"+id, `{}`).want(422)
}

func TestSuppressionsAsCSV(t *testing.T) {
	r := newRig(t)
	csv := func(path, body string) *reply {
		return r.send(r.public, r.key, http.MethodPost, path, body, "Content-Type", "text/csv; charset=utf-8")
	}
	export := func() string { return string(r.do(http.MethodGet, "/api/suppressions/export", "").want(200).raw) }
	if got := export(); got != "email,origin,created_at\n" {
		t.Errorf("empty: %q", got)
	}
	csv("/api/suppressions/import", "\ufeffname,EMAIL,origin\n\"Lovelace, Ada\",Ada@Example.com,Bounce\nBob,bob@example.com,\nX,nonsense,\nY,y@example.com,whim\nZ\nAgain,ada@example.com,\n").want(200).
		has("created", 2).has("existing", 1).has("errors.0.line", 4).has("errors.1.line", 5).has("errors.2.line", 6).has("errors.3", nil)
	r.do(http.MethodGet, "/suppressions/ada@example.com", "").want(200).has("origin", "bounce")
	lines := strings.Split(strings.TrimSpace(export()), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[1], "bob@example.com,manual,20") || !strings.HasPrefix(lines[2], "ada@example.com,bounce,20") {
		t.Errorf("%q", lines)
	}
	csv("/suppressions/import", export()).want(200).has("created", 0).has("existing", 2)
	csv("/suppressions/import", "").want(422)
	csv("/suppressions/import", "address\na@example.com\n").want(422)
	csv("/suppressions/import", "email,origin,created_at\n").want(200).has("created", 0)
	csv("/suppressions/import", "E-Mail;Origin\nada@example.com;manual\n").want(200).has("existing", 1)
	csv("/suppressions/import", "email\nnew@example.com\n\"open\n").want(422)
	r.do(http.MethodGet, "/suppressions/new@example.com", "").want(404) // nothing of a broken file is imported
	r.do(http.MethodPost, "/suppressions/import", "email\na@example.com\n").want(415)
	var many strings.Builder
	many.WriteString("email\n")
	for i := range 1203 {
		fmt.Fprintf(&many, "m%d@example.com\n", i)
	}
	csv("/suppressions/import", many.String()).want(200).has("created", 1203)
	if n := strings.Count(export(), "\n"); n != 1206 {
		t.Errorf("%d lines", n)
	}
}
