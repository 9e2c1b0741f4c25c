package automations

import (
	"fmt"
	"slices"
)

// Compile validates a definition and resolves it into a Flow. Its error holds
// every problem found, with paths such as "steps[2].config.duration".
//
// Without connections the steps run in their order: a condition goes on when
// it is met and ends the run when it is not, a wait goes on either way.
func Compile(d Definition) (*Flow, error) {
	c := &compiler{flow: &Flow{byKey: map[string]*FlowStep{}}, def: d}
	c.steps()
	if err := c.p.Err(); err != nil {
		return nil, err // edges between broken steps would only repeat it
	}
	if len(d.Connections) == 0 {
		c.chain()
	} else {
		c.connect()
	}
	if err := c.p.Err(); err != nil {
		return nil, err
	}
	c.order()
	if err := c.p.Err(); err != nil {
		return nil, err
	}
	return c.flow, nil
}

type compiler struct {
	p    Problems
	def  Definition
	flow *Flow
}

func (c *compiler) steps() {
	steps := c.def.Steps
	switch {
	case len(steps) == 0:
		c.p.Add("automation_steps_required", "steps", "an automation needs steps; the first is its trigger")
		return
	case len(steps) > MaxSteps:
		c.p.Add("automation_too_many_steps", "steps", "an automation may have %d steps; this one has %d", MaxSteps, len(steps))
		return
	case steps[0].Type != StepTrigger:
		c.p.Add("trigger_must_be_first", "steps[0].type", "the first step must be the trigger")
	}
	for i, s := range steps {
		path := fmt.Sprintf("steps[%d]", i)
		switch {
		case !isStepKey(s.Key):
			c.p.Add("step_key_invalid", path+".key", "%q is not a step key; use 1 to 64 letters, digits, _, : and -", shorten(s.Key, 64))
		case c.flow.byKey[s.Key] != nil:
			c.p.Add("duplicate_step_key", path+".key", "two steps have the key %q; keys are unique", s.Key)
		}
		if i > 0 && s.Type == StepTrigger {
			c.p.Add("duplicate_trigger", path+".type", "step %q is a second trigger; an automation has one", s.Key)
		}
		action, err := parseAction(s)
		c.p.Include(path+".config", err)
		fs := &FlowStep{Step: s, Action: action, next: map[EdgeType]string{}}
		c.flow.byKey[s.Key] = fs
		c.flow.Steps = append(c.flow.Steps, fs)
	}
}

func isStepKey(key string) bool {
	for _, c := range []byte(key) {
		if !isAlnum(c) && (c < 'A' || c > 'Z') && c != '_' && c != ':' && c != '-' {
			return false
		}
	}
	return len(key) >= 1 && len(key) <= 64
}

// edges are the types of connection that may leave a step.
func (t StepType) edges() []EdgeType {
	switch t {
	case StepCondition:
		return []EdgeType{EdgeMet, EdgeNotMet}
	case StepWaitForEvent:
		return []EdgeType{EdgeEventCame, EdgeDefault, EdgeTimeout}
	case StepEnd, StepContactDelete:
		return nil
	}
	return []EdgeType{EdgeDefault}
}

// chain connects the steps in their order.
func (c *compiler) chain() {
	for i, s := range c.flow.Steps[:len(c.flow.Steps)-1] {
		switch s.Type {
		case StepEnd, StepContactDelete:
		case StepCondition:
			s.next[EdgeMet] = c.flow.Steps[i+1].Key
		default:
			s.next[EdgeDefault] = c.flow.Steps[i+1].Key
		}
	}
}

func (c *compiler) connect() {
	for i, edge := range c.def.Connections {
		path := fmt.Sprintf("connections[%d]", i)
		from, to := c.flow.byKey[edge.From], c.flow.byKey[edge.To]
		for _, end := range []struct {
			name, key string
			step      *FlowStep
		}{{"from", edge.From, from}, {"to", edge.To, to}} {
			if end.step == nil {
				c.p.Add("connection_unknown_step", path+"."+end.name, "there is no step %q to connect", shorten(end.key, 64))
			}
		}
		if from == nil || to == nil {
			continue
		}
		switch {
		case from == to:
			c.p.Add("connection_self_loop", path, "step %q is connected to itself", from.Key)
		case to.Type == StepTrigger:
			c.p.Add("connection_type_invalid", path+".to", "nothing may lead into the trigger")
		case !slices.Contains(EdgeTypes(), edge.Type):
			c.p.Add("connection_type_invalid", path+".type", "%q is not a connection type; use default, condition_met, condition_not_met, event_received or timeout", shorten(string(edge.Type), 40))
		case isBranch(edge.Type) && from.Type != StepCondition && from.Type != StepWaitForEvent:
			c.p.Add("connection_branch_from_non_condition", path+".type", "%s may leave a condition or a wait only, and %q is of type %s", edge.Type, from.Key, from.Type)
		case !slices.Contains(from.Type.edges(), edge.Type):
			c.p.Add("connection_type_invalid", path+".type", "%s may not leave %q, which is of type %s", edge.Type, from.Key, from.Type)
		case from.next[edge.Type] != "":
			c.p.Add("connection_branch_duplicate", path, "step %q has two connections of type %s", from.Key, edge.Type)
		default:
			from.next[edge.Type] = to.Key
		}
	}
}

// EdgeTypes lists every EdgeType, in the order they are drawn.
func EdgeTypes() []EdgeType {
	return []EdgeType{EdgeMet, EdgeEventCame, EdgeDefault, EdgeNotMet, EdgeTimeout}
}

func isBranch(t EdgeType) bool { return t != EdgeDefault }

// order sorts the steps along the graph, and finds cycles and steps that
// nothing leads to.
func (c *compiler) order() {
	const visiting, done = 1, 2
	state := map[string]int{}
	var ordered []*FlowStep
	var visit func(s *FlowStep)
	visit = func(s *FlowStep) {
		state[s.Key] = visiting
		for _, edge := range slices.Backward(EdgeTypes()) {
			next := c.flow.byKey[s.next[edge]]
			switch {
			case next == nil || state[next.Key] == done:
			case state[next.Key] == visiting:
				c.p.Add("automation_cycle", "connections", "the connection from %q to %q closes a circle; runs only go forward", s.Key, next.Key)
			default:
				visit(next)
			}
		}
		state[s.Key] = done
		ordered = append(ordered, s)
	}
	visit(c.flow.Steps[0])
	for i, s := range c.flow.Steps {
		if state[s.Key] == 0 {
			c.p.Add("step_unreachable", fmt.Sprintf("steps[%d]", i), "no connection leads to step %q", s.Key)
		}
	}
	slices.Reverse(ordered)
	c.flow.Steps = ordered
}
