package automations

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

const trig = `{"key":"t","type":"trigger","config":{"event_name":"x"}}`

func define(steps, connections string) (*Flow, Definition, error) {
	d, err := ParseDefinition(json.RawMessage(steps), json.RawMessage(connections), "", uuid.New)
	if err != nil {
		return nil, d, err
	}
	f, err := Compile(d)
	return f, d, err
}

// step writes a step; config may be empty.
func step(key, kind, config string) string {
	if config == "" {
		config = "{}"
	}
	return fmt.Sprintf(`{"key":%q,"type":%q,"config":%s}`, key, kind, config)
}

func TestDefinitionErrors(t *testing.T) {
	steps := func(more ...string) string { return "[" + strings.Join(append([]string{trig}, more...), ",") + "]" }
	yes := `{"type":"rule","field":"a","operator":"exists"}`
	for _, c := range []struct{ code, steps, connections string }{
		{"automation_steps_required", `[]`, ``},
		{"automation_too_many_steps", "[" + trig + strings.Repeat(","+step("e", "end", ""), 150) + "]", ``},
		{"trigger_must_be_first", "[" + step("e", "end", "") + "]", ``},
		{"duplicate_trigger", steps(step("u", "trigger", `{"event_name":"y"}`)), ``},
		{"duplicate_step_key", steps(step("t", "end", "")), ``},
		{"step_key_invalid", steps(step("a b", "end", "")), ``},
		{"step_key_invalid", steps(step("", "end", "")), ``},
		{"step_key_invalid", steps(`{"key":"\u0010","type":"end"}`), ``},
		{"step_key_invalid", steps(step(strings.Repeat("k", 65), "end", "")), ``},
		{"step_type_invalid", steps(step("a", "send_mail", "")), ``},
		{"connection_unknown_step", steps(step("a", "end", "")), `[{"from":"t","to":"b"}]`},
		{"connection_type_invalid", steps(step("a", "end", "")), `[{"from":"t","to":"a","type":"sometimes"}]`},
		{"connection_type_invalid", steps(step("a", "end", ""), step("b", "end", "")), `[{"from":"t","to":"a"},{"from":"a","to":"b"}]`},
		{"connection_type_invalid", steps(step("c", "condition", yes), step("b", "end", "")), `[{"from":"t","to":"c"},{"from":"c","to":"b","type":"default"}]`},
		{"connection_type_invalid", steps(step("c", "delay", `{"duration":"1 h"}`)), `[{"from":"t","to":"c"},{"from":"c","to":"t"}]`},
		{"connection_branch_duplicate", steps(step("a", "end", ""), step("b", "end", "")), `[{"from":"t","to":"a"},{"from":"t","to":"b"}]`},
		{"connection_branch_from_non_condition", steps(step("a", "end", "")), `[{"from":"t","to":"a","type":"condition_met"}]`},
		{"connection_self_loop", steps(step("d", "delay", `{"duration":"1 h"}`)), `[{"from":"t","to":"d"},{"from":"d","to":"d"}]`},
		{"automation_cycle", steps(step("d", "delay", `{"duration":"1 h"}`), step("e", "delay", `{"duration":"1 h"}`)), `[{"from":"t","to":"d"},{"from":"d","to":"e"},{"from":"e","to":"d"}]`},
		{"step_unreachable", steps(step("a", "end", ""), step("b", "end", "")), `[{"from":"t","to":"a"}]`},
		{"event_name_required", "[" + step("t", "trigger", `{}`) + "]", ``},
		{"event_name_reserved", "[" + step("t", "trigger", `{"event_name":"Resend:x"}`) + "]", ``},
		{"delay_duration_invalid", steps(step("d", "delay", `{}`)), ``},
		{"delay_duration_too_long", steps(step("d", "delay", `{"duration":"9999 days"}`)), ``},
		{"send_email_template_id_required", steps(step("m", "send_email", `{}`)), ``},
		{"send_email_content_invalid", steps(step("m", "send_email", `{"template":"x","html":"y"}`)), ``},
		{"send_email_content_invalid", steps(step("m", "send_email", `{"html":"y"}`)), ``},
		{"send_email_content_invalid", steps(step("m", "send_email", `{"subject":"x","html":"{{y"}`)), ``},
		{"", steps(step("m", "send_email", `{"template":{"id":"x","variabels":{"a":1}}}`)), ``},
		{"", steps(step("u", "contact_update", `{"fields":{"first_name":"x","properties":{"a":1}}}`)), ``},
		{"condition_rule_invalid", steps(step("c", "condition", `{}`)), ``},
		{"condition_operator_invalid", steps(step("c", "condition", `{"field":"a","operator":"is"}`)), ``},
		{"wait_for_event_timeout_invalid", steps(step("w", "wait_for_event", `{"event_name":"y","timeout":"soon"}`)), ``},
		{"wait_for_event_timeout_invalid", steps(step("w", "wait_for_event", `{"event_name":"y","timeout_seconds":0}`)), ``},
		{"contact_update_empty", steps(step("u", "contact_update", `{}`)), ``},
		{"contact_update_invalid", steps(step("u", "contact_update", `{"fields":{"email":"nobody"}}`)), ``},
		{"contact_update_invalid", steps(step("u", "contact_update", `{"unsubscribed":"yes"}`)), ``},
		{"add_to_segment_segment_id_invalid", steps(step("s", "add_to_segment", `{"segment_id":"pro"}`)), ``},
		{"remove_from_segment_segment_id_invalid", steps(step("s", "remove_from_segment", `{}`)), ``},
	} {
		_, _, err := define(c.steps, c.connections)
		if e, ok := err.(*Error); !ok || e.Code != c.code || e.Msg == "" || len(e.Details) == 0 {
			t.Errorf("%s: got %+v for %.120s %s", c.code, err, c.steps, c.connections)
		}
	}
}

func TestDefinitionSpellings(t *testing.T) {
	f, d, err := define(`[`+strings.Join([]string{
		`{"key":"w","type":"wait_for_event","config":{"eventName":"y","timeoutSeconds":60},"position":2}`,
		`{"key":"any:Thing-1","type":"trigger","config":{"eventName":"x"},"position":0}`,
		`{"key":"m1","type":"send_email","config":{"template":{"id":"welcome","variables":{"a":{"var":"plan"},"b":7}},"from":"","replyTo":"r@example.com"},"position":1}`,
		`{"key":"u","type":"contact_update","config":{"firstName":"A","lastName":null,"properties":{"p":{"var":"event.x"},"q":null}},"position":3}`,
	}, ",")+`]`, "null")
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for i, s := range f.Steps {
		order = append(order, s.Key)
		if d.Steps[i].Key != s.Key || d.Steps[i].Position != i {
			t.Errorf("step %d is %q at %d", i, d.Steps[i].Key, d.Steps[i].Position)
		}
	}
	if got := strings.Join(order, " "); got != "any:Thing-1 m1 w u" {
		t.Errorf("order %s", got)
	}
	m := f.Step("m1").Action.(*SendEmailAction)
	if m.Template != "welcome" || m.Variables["a"].Var != "event.plan" || string(m.Variables["b"].Literal) != "7" || len(m.ReplyTo) != 1 {
		t.Errorf("%+v", m)
	}
	if w := f.Step("w").Action.(*WaitAction); w.Timeout != time.Minute || f.Step("w").Next(EdgeDefault) != "u" {
		t.Errorf("%+v", w)
	}
	u := f.Step("u").Action.(*ContactUpdateAction)
	if u.FirstName == nil || u.LastName == nil || string(u.LastName.Literal) != "null" || u.Email != nil || u.Properties["p"].Var != "event.x" {
		t.Errorf("%+v", u)
	}
	if string(d.Steps[1].Config) != `{"template":{"id":"welcome","variables":{"a":{"var":"plan"},"b":7}},"from":"","replyTo":"r@example.com"}` {
		t.Errorf("the config came back as %s", d.Steps[1].Config)
	}
}

// Without connections a condition that is not met ends the run.
func TestConditionInAChain(t *testing.T) {
	f, _, err := define("["+trig+","+step("c", "condition", `{"field":"plan","operator":"eq","value":"pro"}`)+","+step("e", "end", "")+"]", "")
	if err != nil {
		t.Fatal(err)
	}
	for plan, last := range map[string]string{"pro": "e", "free": "c"} {
		payload := json.RawMessage(`{"plan":"` + plan + `"}`)
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		run := NewRun(uuid.New(), &Workflow{ID: uuid.New(), Revision: 1}, f, &Delivery{Payload: payload}, now)
		Advance(f, run, &World{Now: now, Trigger: &Delivery{Payload: payload}, Contact: &Contact{}})
		if run.Status != RunCompleted || run.Steps[last] == nil || run.Steps[last].Status != StepCompleted || (plan == "free") != (run.Steps["e"] == nil) {
			t.Errorf("%s: %s %+v", plan, run.Status, run.Steps)
		}
	}
}

func TestLongestAutomation(t *testing.T) {
	steps := []string{trig}
	for i := range MaxSteps - 1 {
		steps = append(steps, step(fmt.Sprintf("s%d", i), "contact_update", `{"first_name":"A"}`))
	}
	f, _, err := define("["+strings.Join(steps, ",")+"]", "")
	if err != nil || len(f.Steps) != MaxSteps {
		t.Fatal(err)
	}
	run := NewRun(uuid.New(), &Workflow{ID: uuid.New(), Revision: 1}, f, &Delivery{}, time.Now())
	Advance(f, run, &World{Now: time.Now(), Trigger: &Delivery{}, Contact: &Contact{}})
	if run.Status != RunCompleted || run.Transitions != MaxSteps {
		t.Errorf("%s after %d steps", run.Status, run.Transitions)
	}
}

func FuzzCompile(f *testing.F) {
	f.Add("["+trig+","+step("c", "condition", `{"field":"a","operator":"exists"}`)+","+step("e", "end", "")+"]", `[{"from":"t","to":"c"},{"from":"c","to":"e","type":"condition_met"}]`)
	f.Add("["+trig+","+step("w", "wait_for_event", `{"event_name":"y","timeout":"1 h"}`)+"]", `[{"from":"t","to":"w"}]`)
	f.Add("["+trig+","+step("d", "delay", `{"duration":"1 h"}`)+"]", `[{"from":"t","to":"d"},{"from":"d","to":"t"}]`)
	f.Fuzz(func(t *testing.T, steps, connections string) {
		if CheckJSON([]byte(steps)) != nil || connections != "" && CheckJSON([]byte(connections)) != nil {
			return
		}
		flow, d, err := define(steps, connections)
		if err != nil {
			return
		}
		if len(flow.Steps) != len(d.Steps) || flow.Steps[0].Type != StepTrigger {
			t.Fatalf("%d of %d steps can be reached", len(flow.Steps), len(d.Steps))
		}
		place := map[string]int{}
		for i, s := range flow.Steps {
			place[s.Key] = i
		}
		for i, s := range flow.Steps {
			for _, edge := range EdgeTypes() {
				if next := s.Next(edge); next != "" && place[next] <= i {
					t.Fatalf("the edge from %q to %q leads back", s.Key, next)
				}
			}
		}
	})
}

func TestTemplateContent(t *testing.T) {
	read := func(raw string) (TemplateContent, error) {
		var p Problems
		var c TemplateContent
		f, err := DecodeObject([]byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		ReadTemplateContent(f, &p, &c)
		return c, p.Err()
	}
	c, err := read(`{"subject":"{{a}}","html":"{{{b|x}}} {{a}} {{contact.email}} {{EMAIL}}","reply_to":["","r@example.com"]}`)
	if err != nil || len(c.Variables) != 2 || c.Variables[0].Key != "a" || len(c.ReplyTo) != 1 {
		t.Errorf("%+v %v", c, err)
	}
	c, err = read(`{"html":"{{n}}","variables":[{"key":"n","type":"number","fallback_value":7},{"key":"h","type":"html","fallbackValue":"<b>"}]}`)
	if err != nil || !c.Declared || string(c.Variables[0].Fallback) != "7" || string(c.Variables[1].Fallback) != `"<b>"` {
		t.Errorf("%+v %v", c, err)
	}
	for _, bad := range []string{
		`{"html":"{{x}}","variables":[]}`, `{"html":"x","variables":[{"key":"a b"}]}`, `{"html":"x","variables":[{"key":"a"},{"key":"a"}]}`, `{"html":"x","variables":[{"key":"a","type":"date"}]}`,
		`{"html":"x","variables":[{"key":"a","type":"number","fallback_value":"1"}]}`, `{"html":"x","variables":[{"key":"a","fallback_value":1}]}`, `{"html":"x","variables":[{"key":"FIRST_NAME"}]}`,
		`{"from":"nobody","html":"x"}`, `{"reply_to":["a@b.cd\r\nBcc: x@y.zz"],"html":"x"}`, `{"subject":"a\nb","html":"x"}`, `{"html":"{{}}"}`, `{"html":7}`,
		`{"html":"x","variables":[` + strings.TrimSuffix(strings.Repeat(`{"key":"a"},`, 51), ",") + `]}`,
	} {
		if c, err := read(bad); err == nil {
			t.Errorf("%s was taken as %+v", bad, c)
		}
	}
}
