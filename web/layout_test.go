package web

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/opensend/opensend/automations"
)

func definition(t testing.TB, steps, connections string) automations.Definition {
	t.Helper()
	d, err := automations.ParseDefinition(json.RawMessage(steps), json.RawMessage(connections), "", newID)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Whatever is connected with whatever, each step is drawn once, within the
// drawing, and over no other.
func TestLayoutOverlapsNothing(t *testing.T) {
	kinds := []automations.StepType{automations.StepDelay, automations.StepCondition, automations.StepWaitForEvent, automations.StepEnd}
	for seed := range uint64(400) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		d := automations.Definition{Steps: []automations.Step{{Key: "t", Type: automations.StepTrigger}}}
		for i := range rnd.IntN(30) {
			d.Steps = append(d.Steps, automations.Step{Key: fmt.Sprint("s", i), Type: kinds[rnd.IntN(len(kinds))]})
		}
		for range rnd.IntN(50) {
			d.Connections = append(d.Connections, automations.Connection{
				From: d.Steps[rnd.IntN(len(d.Steps))].Key, To: d.Steps[rnd.IntN(len(d.Steps))].Key, Type: automations.EdgeTypes()[rnd.IntN(5)],
			})
		}
		if rnd.IntN(3) == 0 {
			d.Connections = append(d.Connections, automations.Connection{From: "t", To: "nowhere", Type: automations.EdgeDefault})
		}
		checkDrawing(t, fmt.Sprintf("seed %d", seed), d, layOut(d))
	}
}

func checkDrawing(t *testing.T, name string, d automations.Definition, drawing *flowDrawing) {
	t.Helper()
	if len(drawing.Nodes) != len(d.Steps) {
		t.Fatalf("%s: %d of %d steps are drawn", name, len(drawing.Nodes), len(d.Steps))
	}
	top := map[string]int{}
	for i, a := range drawing.Nodes {
		top[a.Step.Key] = a.Y
		if a.X < 0 || a.Y < 0 || a.X+nodeWidth > drawing.Width || a.Y+nodeHeight > drawing.Height {
			t.Fatalf("%s: %s lies at %d, %d, outside of %d x %d", name, a.Step.Key, a.X, a.Y, drawing.Width, drawing.Height)
		}
		for _, b := range drawing.Nodes[:i] {
			if a.X < b.X+nodeWidth && b.X < a.X+nodeWidth && a.Y < b.Y+nodeHeight && b.Y < a.Y+nodeHeight {
				t.Fatalf("%s: %s lies over %s", name, a.Step.Key, b.Step.Key)
			}
		}
	}
	for _, n := range drawing.Nodes {
		for _, w := range n.Ways {
			if w.ToY < n.Y+nodeHeight+rowGap || w.To != "" && w.ToY != top[w.To] {
				t.Fatalf("%s: the way from %s to %q ends at %d, and the step at %d leads to %d", name, n.Step.Key, w.To, w.ToY, n.Y, top[w.To])
			}
		}
	}
}

// Branches stand side by side and in the order of their labels, and what they
// share stands below both, in the middle.
func TestLayoutOfBranches(t *testing.T) {
	d := definition(t, `[{"key":"t","type":"trigger"},{"key":"c","type":"condition"},{"key":"yes","type":"delay"},{"key":"no","type":"delay"},{"key":"both","type":"end"}]`,
		`[{"from":"t","to":"c"},{"from":"c","to":"no","type":"condition_not_met"},{"from":"c","to":"yes","type":"condition_met"},{"from":"yes","to":"both"},{"from":"no","to":"both"}]`)
	at := map[string]*drawnStep{}
	for _, n := range layOut(d).Nodes {
		at[n.Step.Key] = n
	}
	if at["yes"].Y != at["no"].Y || at["yes"].X+nodeWidth > at["no"].X {
		t.Errorf("yes at %d, %d; no at %d, %d", at["yes"].X, at["yes"].Y, at["no"].X, at["no"].Y)
	}
	if at["both"].Y <= at["no"].Y || at["both"].X != at["c"].X || at["both"].X != (at["yes"].X+at["no"].X)/2 {
		t.Errorf("both at %d, %d below c at %d", at["both"].X, at["both"].Y, at["c"].X)
	}
}

// A panel that is sent back as it is changes nothing, whatever spelling the
// config has.
func TestPanelsKeepConfigs(t *testing.T) {
	for kind, configs := range map[automations.StepType][]string{
		automations.StepTrigger:      {`{"event_name":"x"}`, `{"eventName":" x ","conditions":{"predicate":{"left":{"var":"event.a"},"operator":"eq","right":5}}}`},
		automations.StepDelay:        {`{"duration":"PT1H"}`, `{}`},
		automations.StepWaitForEvent: {`{"event_name":"y","timeout_seconds":90,"filterRule":{"type":"or","rules":[{"type":"rule","field":"a","operator":"is_empty","value":1},{"field":"b","operator":"in","value":["x","y"]}]}}`},
		automations.StepCondition: {
			`{"type":"and","rules":[{"type":"rule","field":"a","operator":"equals","value":"5"},{"type":"or","rules":[{"type":"rule","field":"b","operator":"contains","value":" x"},{"type":"rule","field":"c","operator":"exists"}]}]}`,
			`{"type":"rule","field":"a","operator":"equals","value":{"var":"contact.email"}}`, `{"type":"rule","field":"a","operator":"weird"}`,
		},
		automations.StepSendEmail: {
			`{"template":{"id":"welcome","variables":{"b":"x","a":{"var":"event.n"},"c":12}},"reply_to":["a@example.com","b@example.com"]}`,
			`{"template_id":"welcome","variables":{"a":"true"}}`, "{\"subject\":\"Hi\",\"html\":\"\\n<p>a</p>\\r\\n<p>\",\"text\":\"\"}",
		},
		automations.StepContactUpdate: {`{"fields":{"email":null,"first_name":""},"properties":{"a":null,"b":{"c":[1]}}}`, `{"unsubscribed":true,"lastName":{"var":"event.x"}}`},
		automations.StepAddToSegment:  {`{"segmentId":"01890a5d-ac96-774b-bcce-b302099a8057"}`},
		automations.StepEnd:           {`{}`},
	} {
		for _, config := range configs {
			d := draft{definition(t, `[{"key":"k","type":"`+string(kind)+`","config":`+config+`}]`, ""), nil}
			set := settingsOf(d.Steps[0], nil)
			p := newPanel(d, "k", suggestions{}, nil)
			if back := formSettings(kind, panelForm(p)); !back.equal(set) {
				t.Errorf("%s %s: the panel sends back\n%+v\ninstead of\n%+v", kind, config, back, set)
			}
			again := d.Steps[0]
			if again.Config = configOf(again, set); !settingsOf(again, nil).equal(set) {
				t.Errorf("%s %s: written as %s, which is read as something else", kind, config, again.Config)
			}
		}
	}
}

// The builder offers every type of step, and every page has words for it.
func TestEveryStepTypeHasItsWords(t *testing.T) {
	offered := map[string]bool{string(automations.StepTrigger): true} // each automation has one
	for _, i := range insertables {
		offered[i.Type] = true
	}
	for _, kind := range automations.StepTypes() {
		if !offered[string(kind)] || panelTitles[kind] == "" || stepTypeWords[kind] == "" {
			t.Errorf("%s is missing in insertables, panelTitles or stepTypeWords", kind)
		}
	}
}

// panelForm is what a browser sends of a panel.
func panelForm(p *panel) map[string][]string {
	form := map[string][]string{}
	for _, f := range append(p.Fields, p.More...) {
		form["set."+f.Name] = []string{strings.ReplaceAll(f.Value, "\n", "\r\n")}
	}
	for _, pair := range p.Pairs {
		form["pair.name"], form["pair.value"] = append(form["pair.name"], pair.Name), append(form["pair.value"], pair.Value)
	}
	var rules func(n *ruleNode)
	rules = func(n *ruleNode) {
		form[n.Path+".type"], form[n.Path+".field"], form[n.Path+".operator"], form[n.Path+".value"] = []string{n.Type}, []string{n.Field}, []string{n.Operator}, []string{n.Value}
		for _, rule := range n.Rules {
			rules(rule)
		}
	}
	if p.Match != nil {
		rules(p.Match)
	}
	return form
}

// The ready-made automations are valid, and their texts come back as they are.
func TestStarters(t *testing.T) {
	starters, err := readStarters()
	if err != nil || len(starters) != 4 {
		t.Fatalf("%d starters, %v", len(starters), err)
	}
	for _, s := range starters {
		d := definition(t, string(s.Steps), string(s.Connections))
		flow, err := automations.Compile(d)
		if err != nil {
			t.Errorf("%s: %v", s.ID, err)
			continue
		}
		dedup, err := automations.ParseDeduplication(s.Deduplication)
		if trigger := flow.Trigger().Action.(*automations.TriggerAction).EventName; err != nil || dedup == nil || trigger != s.Trigger {
			t.Errorf("%s: %v, trigger %s", s.ID, err, trigger)
		}
		made := draft{d, dedup}
		if again, err := readDraft(made.text()); err != nil || again.text() != made.text() {
			t.Errorf("%s: %v, text\n%s\nis read as\n%s", s.ID, err, made.text(), again.text())
		}
		checkDrawing(t, s.ID, d, layOut(d))
	}
}

func TestValuesInForms(t *testing.T) {
	for raw, text := range map[string]string{`"pro"`: "pro", `"5"`: `"5"`, `5`: "5", `true`: "true", `"true"`: `"true"`, `null`: "null", `"a b"`: "a b", `" a"`: `" a"`, `"a\nb"`: `"a\nb"`, `"<b>"`: "<b>", `{"var":"event.x"}`: `{"var":"event.x"}`, `1e400`: "1e400"} {
		if got := valueText(json.RawMessage(raw)); got != text {
			t.Errorf("%s is shown as %s", raw, got)
		}
		if back := readValue(text); string(back) != raw {
			t.Errorf("%s is read back as %s", raw, back)
		}
	}
	if got := string(readValues("a, 2, ", nil)); got != `["a",2]` {
		t.Error(got)
	}
	for raw, plain := range map[string]string{`"\u003cp\u003E"`: `"<p>"`, `"\\u003c"`: `"\\u003c"`, `"\u00e9\u0026"`: `"\u00e9&"`, `"a\"`: `"a\"`} {
		if got := string(plainJSON(json.RawMessage(raw))); got != plain {
			t.Errorf("%s is written as %s", raw, got)
		}
	}
}
