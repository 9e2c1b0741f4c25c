package automations

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
)

// MaxSteps is how many steps a workflow may have.
const MaxSteps = 150

// ParseDefinition reads steps and connections as clients send them, in snake
// or camel case. A trigger event name given beside the steps fills an empty
// trigger config. Steps without an id get one from newID. What the parts mean
// together is for Compile to judge.
func ParseDefinition(steps, connections json.RawMessage, triggerEventName string, newID func() ID) (Definition, error) {
	var p Problems
	d := Definition{Steps: parseSteps(&p, steps, newID), Connections: parseConnections(&p, connections)}
	if err := p.Err(); err != nil {
		return Definition{}, err
	}
	if triggerEventName != "" && len(d.Steps) > 0 && d.Steps[0].Type == StepTrigger {
		filled, err := fillTrigger(d.Steps[0].Config, triggerEventName)
		if err != nil {
			return Definition{}, err
		}
		d.Steps[0].Config = filled
	}
	return d, nil
}

func parseSteps(p *Problems, raw json.RawMessage, newID func() ID) []Step {
	var items []json.RawMessage
	if len(raw) > 0 && json.Unmarshal(raw, &items) != nil {
		p.Add("", "steps", "steps must be a list")
		return nil
	}
	if len(items) > MaxSteps {
		p.Add("automation_too_many_steps", "steps", "an automation may have %d steps; this one has %d", MaxSteps, len(items))
		return nil
	}
	steps := make([]Step, 0, len(items))
	for i, item := range items {
		step, err := parseStep(item, i, newID)
		p.Include(fmt.Sprintf("steps[%d]", i), err)
		steps = append(steps, step)
	}
	slices.SortStableFunc(steps, func(a, b Step) int { return cmp.Compare(a.Position, b.Position) })
	for i := range steps {
		steps[i].Position = i
	}
	return steps
}

func parseStep(raw json.RawMessage, index int, newID func() ID) (Step, error) {
	f, err := ObjectFields(raw)
	if err != nil {
		return Step{}, err
	}
	var p Problems
	f.Unknown(&p, "id", "key", "type", "config", "position", "created_at", "updated_at")
	step := Step{Key: f.String(&p, "key"), Type: StepType(f.String(&p, "type")), Config: f.Object(&p, "config"), Position: index}
	if step.Config == nil {
		step.Config = json.RawMessage("{}")
	}
	if n := f.Int(&p, "position"); n != nil {
		step.Position = int(max(-1, min(*n, 1<<20)))
	}
	id, ok := ParseID(f.String(&p, "id"))
	if !ok {
		id = newID()
	}
	step.ID = id
	if !slices.Contains(StepTypes(), step.Type) {
		hint := ""
		if near := Nearest(string(step.Type), stepTypeNames()); near != "" {
			hint = "; did you mean " + near + "?"
		}
		p.Add("step_type_invalid", "type", "%q is not a step type%s", shorten(string(step.Type), 40), hint)
	}
	return step, p.Err()
}

// StepTypes are all the types that a step can have.
func StepTypes() []StepType {
	return []StepType{
		StepTrigger, StepDelay, StepWaitForEvent, StepCondition, StepSendEmail, StepContactUpdate,
		StepContactDelete, StepAddToSegment, StepRemoveFromSegment, StepEnd,
	}
}

func stepTypeNames() (names []string) {
	for _, t := range StepTypes() {
		names = append(names, string(t))
	}
	return names
}

func parseConnections(p *Problems, raw json.RawMessage) (list []Connection) {
	var items []json.RawMessage
	if len(raw) > 0 && json.Unmarshal(raw, &items) != nil {
		p.Add("", "connections", "connections must be a list")
		return nil
	}
	if len(items) > 2*MaxSteps {
		p.Add("", "connections", "an automation may have %d connections", 2*MaxSteps)
		return nil
	}
	for i, item := range items {
		path := fmt.Sprintf("connections[%d]", i)
		f, err := ObjectFields(item)
		if err != nil {
			p.Include(path, err)
			continue
		}
		var own Problems
		f.Unknown(&own, "id", "from", "to", "type")
		c := Connection{From: f.String(&own, "from"), To: f.String(&own, "to"), Type: EdgeType(f.String(&own, "type"))}
		if c.Type == "" {
			c.Type = EdgeDefault
		}
		p.Include(path, own.Err())
		list = append(list, c)
	}
	return list
}

// RenameTrigger gives the trigger another event name, in place. A definition
// without steps stays as it is.
func (d *Definition) RenameTrigger(eventName string) error {
	if len(d.Steps) == 0 {
		return nil
	}
	f, err := ObjectFields(d.Steps[0].Config)
	if err == nil {
		d.Steps[0].Config, err = f.withEventName(eventName)
	}
	return err
}

func (f Fields) withEventName(name string) (config json.RawMessage, err error) {
	delete(f, "eventName")
	if f["event_name"], err = json.Marshal(name); err != nil {
		return nil, err
	}
	return json.Marshal(f)
}

// fillTrigger puts the event name into a trigger config that has none.
func fillTrigger(config json.RawMessage, eventName string) (json.RawMessage, error) {
	f, err := ObjectFields(config)
	if err != nil {
		return nil, err
	}
	var p Problems
	switch has := f.String(&p, "event_name", "eventName"); {
	case has == "":
		return f.withEventName(eventName)
	case has != eventName:
		p.Add("trigger_event_name_mismatch", "trigger_event_name", "trigger_event_name is %q but the trigger step has %q; send one of them", shorten(eventName, 60), shorten(has, 60))
	}
	return config, p.Err()
}
