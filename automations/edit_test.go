package automations

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
)

var validConfigs = map[StepType]string{
	StepTrigger: `{"event_name":"x"}`, StepDelay: `{"duration":"1 h"}`, StepWaitForEvent: `{"event_name":"y","timeout":"1 day"}`,
	StepCondition: `{"type":"rule","field":"a","operator":"exists"}`, StepSendEmail: `{"subject":"s","text":"t"}`, StepContactUpdate: `{"first_name":"A"}`,
	StepContactDelete: `{}`, StepEnd: `{}`,
	StepAddToSegment: `{"segment_id":"01890a5d-ac96-774b-bcce-b302099a8057"}`, StepRemoveFromSegment: `{"segment_id":"01890a5d-ac96-774b-bcce-b302099a8057"}`,
}

func validStep(key string, t StepType) Step {
	return Step{ID: uuid.New(), Key: key, Type: t, Config: json.RawMessage(validConfigs[t])}
}

// Whatever edits follow each other, each makes a valid automation or says why
// not, and changes nothing that it was given.
func TestEditsKeepFlowsValid(t *testing.T) {
	made, refused := map[string]int{}, map[string]int{}
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		d := Definition{Steps: []Step{validStep("t", StepTrigger), validStep("w", StepWaitForEvent), validStep("d", StepDelay)}}
		for n := range 40 {
			name, next, err := randomEdit(rnd, d, n)
			if err != nil {
				if !IsKind(err, KindConflict) {
					t.Fatalf("seed %d: %s: %v", seed, name, err)
				}
				refused[name]++
				continue
			}
			if _, err := Compile(next); err != nil {
				t.Fatalf("seed %d: %s made of\n%s\n%s\n%v", seed, name, drawn(d), drawn(next), err)
			}
			made[name]++
			d = next
		}
	}
	for _, name := range []string{"insert", "remove", "connect", "disconnect", "split", "merge", "rename", "configure"} {
		if made[name] < 20 {
			t.Errorf("%s was made %d times, and refused %d times", name, made[name], refused[name])
		}
	}
}

func randomEdit(rnd *rand.Rand, d Definition, n int) (name string, next Definition, err error) {
	before := drawn(d)
	defer func() {
		if drawn(d) != before {
			panic(name + " changed what it was given")
		}
	}()
	step := d.Steps[rnd.IntN(len(d.Steps))]
	way, to := EdgeTypes()[rnd.IntN(len(EdgeTypes()))], d.Steps[rnd.IntN(len(d.Steps))].Key
	if len(d.Connections) > 0 && rnd.IntN(2) == 0 { // one that is there, or where it leads
		c := d.Connections[rnd.IntN(len(d.Connections))]
		if way, to = c.Type, c.To; d.Index(c.From) >= 0 {
			step = d.Steps[d.Index(c.From)]
		}
		if rnd.IntN(2) == 0 {
			way = EdgeTimeout
		}
	}
	switch rnd.IntN(10) {
	case 0, 1, 2:
		kind := StepTypes()[rnd.IntN(len(StepTypes()))]
		if ways := d.Connected().Ways(step); len(ways) > 0 {
			way = ways[rnd.IntN(len(ways))].Type
		}
		name = "insert"
		next, err = d.Insert(step.Key, way, validStep(d.NewKey(kind), kind))
	case 3:
		name = "remove"
		next, err = d.Remove(step.Key)
	case 4, 5:
		name = "connect"
		next, err = d.Connect(step.Key, way, to)
	case 6:
		name = "disconnect"
		next, err = d.Disconnect(step.Key, way)
	case 7:
		name = "split"
		next, err = d.Split(step.Key)
	case 8:
		name = "merge"
		next, err = d.Merge(step.Key)
	default:
		if name = "rename"; rnd.IntN(2) == 0 {
			name = "configure"
			next, err = d.Configure(step.Key, json.RawMessage(validConfigs[step.Type]))
			break
		}
		next, err = d.Rename(step.Key, fmt.Sprintf("k%d", n))
	}
	return name, next, err
}

// drawn is a definition as a line of text.
func drawn(d Definition) string {
	var out []string
	for _, s := range d.Steps {
		out = append(out, s.Key)
	}
	for _, c := range d.Connections {
		out = append(out, fmt.Sprintf("%s-%s>%s", c.From, c.Type, c.To))
	}
	return strings.Join(out, " ")
}

func TestEdits(t *testing.T) {
	steps := func(list ...string) (all []Step) {
		for i := 0; i < len(list); i += 2 {
			all = append(all, validStep(list[i], StepType(list[i+1])))
		}
		return all
	}
	chain := Definition{Steps: steps("t", "trigger", "c", "condition", "m", "send_email")}
	fork := Definition{
		Steps: steps("t", "trigger", "w", "wait_for_event", "a", "delay", "b", "delay", "z", "end"),
		Connections: []Connection{
			{"t", "w", EdgeDefault}, {"w", "a", EdgeEventCame}, {"w", "b", EdgeTimeout}, {"a", "z", EdgeDefault}, {"b", "z", EdgeDefault},
		},
	}
	for _, c := range []struct {
		name string
		edit func() (Definition, error)
		want string
	}{
		{"a chain is written out", func() (Definition, error) { return chain.Insert("c", EdgeNotMet, validStep("n", StepDelay)) },
			"t c n m t-default>c c-condition_met>m c-condition_not_met>n"},
		{"what was there follows the first way", func() (Definition, error) { return chain.Insert("t", EdgeDefault, validStep("w", StepWaitForEvent)) },
			"t w c m c-condition_met>m t-default>w w-event_received>c"},
		{"an end cuts nothing off", func() (Definition, error) { return chain.Insert("t", EdgeDefault, validStep("e", StepEnd)) },
			"nothing would lead to c, m any more; remove it first"},
		{"a branch goes with its step", func() (Definition, error) { return fork.Remove("w") }, "t a z t-default>a a-default>z"},
		{"the trigger stays", func() (Definition, error) { return fork.Remove("t") }, "the first step cannot be removed; an automation begins with it"},
		{"one of two ways", func() (Definition, error) { return fork.Disconnect("a", EdgeDefault) },
			"t w a b z t-default>w w-event_received>a w-timeout>b b-default>z"},
		{"the only way", func() (Definition, error) { return fork.Disconnect("t", EdgeDefault) }, "nothing would lead to w, a, b, z any more; remove it first"},
		{"a circle", func() (Definition, error) { return chain.Connect("m", EdgeDefault, "c") },
			`leading "m" on to "c" would close a circle; runs only go forward`},
		{"two ways to two steps", func() (Definition, error) { return fork.Merge("w") }, `the two ways out of "w" must lead to the same step to become one`},
		{"a key that is taken", func() (Definition, error) { return fork.Rename("a", "b") }, `there is a step "b" already`},
	} {
		d, err := c.edit()
		got := drawn(d)
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: %s\ninstead of %s", c.name, got, c.want)
		}
	}
	if ways := chain.Connected().Ways(chain.Steps[1]); !slices.Equal(ways, []Way{{EdgeMet, "m"}, {EdgeNotMet, ""}}) {
		t.Error(ways)
	}
}

// Edits of what is no valid automation do not panic.
func TestEditsOfBrokenDefinitions(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		var d Definition
		for range 1 + rnd.IntN(5) {
			d.Steps = append(d.Steps, validStep(fmt.Sprint("k", rnd.IntN(4)), StepTypes()[rnd.IntN(len(StepTypes()))]))
		}
		for range rnd.IntN(8) {
			d.Connections = append(d.Connections, Connection{fmt.Sprint("k", rnd.IntN(5)), fmt.Sprint("k", rnd.IntN(5)), EdgeTypes()[rnd.IntN(5)]})
		}
		for n := range 40 {
			if _, next, err := randomEdit(rnd, d, n); err == nil && len(next.Steps) > 0 {
				d = next
			}
		}
	}
}
