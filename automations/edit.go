package automations

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// An edit makes a new Definition of one that Compile accepts, and leaves the
// old one as it is. What it makes, Compile accepts too, save for the configs
// that it was given; where that cannot be, it is an *Error that names the steps
// in the way.

// Way is one way out of a step.
type Way struct {
	Type EdgeType
	To   string // "" where the path ends
}

// Connected is the definition with its connections written out, where it has
// none and the steps run in their order.
func (d Definition) Connected() Definition {
	if len(d.Connections) > 0 {
		return d
	}
	for i := range max(len(d.Steps)-1, 0) {
		switch from := d.Steps[i]; from.Type {
		case StepEnd, StepContactDelete:
		case StepCondition:
			d.Connections = append(d.Connections, Connection{from.Key, d.Steps[i+1].Key, EdgeMet})
		default:
			d.Connections = append(d.Connections, Connection{from.Key, d.Steps[i+1].Key, EdgeDefault})
		}
	}
	return d
}

// Ways lists the ways out of a step of a connected definition, in the order
// they are drawn. A wait has one for both its outcomes where one connection is
// for both.
func (d Definition) Ways(s Step) (ways []Way) {
	to := map[EdgeType]string{}
	for _, c := range d.Connections {
		if c.From == s.Key {
			to[c.Type] = c.To
		}
	}
	types := slices.Clone(s.Type.edges())
	if s.Type == StepWaitForEvent {
		types = slices.DeleteFunc(types, func(t EdgeType) bool {
			if t == EdgeDefault {
				return to[t] == ""
			}
			return to[t] == "" && to[EdgeDefault] != ""
		})
	}
	for _, t := range types {
		ways = append(ways, Way{t, to[t]})
	}
	return ways
}

// Index is where the step of the key is in Steps; -1 when there is none.
func (d Definition) Index(key string) int {
	return slices.IndexFunc(d.Steps, func(s Step) bool { return s.Key == key })
}

// NewKey is a key for a step of the type that no step has yet.
func (d Definition) NewKey(t StepType) string {
	key := string(t)
	for n := 2; d.Index(key) >= 0; n++ {
		key = fmt.Sprintf("%s_%d", t, n)
	}
	return key
}

// Insert puts a step where the way out of from goes; what was there follows
// its first way out.
func (d Definition) Insert(from string, way EdgeType, s Step) (Definition, error) {
	d = d.copied()
	at := d.Index(from)
	switch {
	case at < 0:
		return d, refuse("there is no step %q", from)
	case !slices.Contains(d.Steps[at].Type.edges(), way):
		return d, refuse("%s is no way out of step %q", way, from)
	case d.Index(s.Key) >= 0:
		return d, refuse("there is a step %q already", s.Key)
	case s.Type == StepTrigger || !slices.Contains(StepTypes(), s.Type):
		return d, refuse("a step of type %q cannot be inserted", s.Type)
	case len(d.Steps) >= MaxSteps:
		return d, refuse("an automation may have %d steps", MaxSteps)
	}
	to := d.disconnect(from, way)
	d.Steps = slices.Insert(d.Steps, at+1, s)
	d.Connections = append(d.Connections, Connection{from, s.Key, way})
	if out := s.Type.edges(); to != "" && len(out) > 0 {
		d.Connections = append(d.Connections, Connection{s.Key, to, out[0]})
	}
	return d.whole()
}

// Remove takes a step out. What leads to it leads to where its first way out
// that goes on leads; steps that nothing leads to then go with it.
func (d Definition) Remove(key string) (Definition, error) {
	d = d.copied()
	at := d.Index(key)
	switch {
	case at < 0:
		return d, refuse("there is no step %q", key)
	case at == 0:
		return d, refuse("the first step cannot be removed; an automation begins with it")
	}
	next := ""
	for _, w := range d.Ways(d.Steps[at]) {
		if next == "" {
			next = w.To
		}
	}
	kept := d.Connections[:0]
	for _, c := range d.Connections {
		if c.To == key {
			c.To = next
		}
		if c.From != key && c.To != "" {
			kept = append(kept, c)
		}
	}
	d.Connections = kept
	d.Steps = slices.Delete(d.Steps, at, at+1)
	lost := d.unreachable()
	d.Steps = slices.DeleteFunc(d.Steps, func(s Step) bool { return slices.Contains(lost, s.Key) })
	d.Connections = slices.DeleteFunc(d.Connections, func(c Connection) bool { return slices.Contains(lost, c.From) })
	return d.whole()
}

// Connect leads a way that ends on to a step there is.
func (d Definition) Connect(from string, way EdgeType, to string) (Definition, error) {
	d = d.copied()
	at, target := d.Index(from), d.Index(to)
	switch {
	case at < 0 || target < 0:
		return d, refuse("choose a step that there is")
	case !slices.Contains(d.Steps[at].Type.edges(), way):
		return d, refuse("%s is no way out of step %q", way, from)
	case d.Steps[target].Type == StepTrigger:
		return d, refuse("nothing may lead into the trigger")
	case from == to || slices.Contains(d.after(to), from):
		return d, refuse("leading %q on to %q would close a circle; runs only go forward", from, to)
	case d.disconnect(from, way) != "":
		return d, refuse("this way out of %q leads on already", from)
	}
	d.Connections = append(d.Connections, Connection{from, to, way})
	return d.whole()
}

// Disconnect ends the path at a way out of a step. The step that it led to
// must be reached in another way.
func (d Definition) Disconnect(from string, way EdgeType) (Definition, error) {
	d = d.copied()
	if d.disconnect(from, way) == "" {
		return d, refuse("this way out of %q ends already", from)
	}
	return d.whole()
}

// Split gives each outcome of a wait a way of its own, which leads to where
// the one for both did.
func (d Definition) Split(wait string) (Definition, error) {
	d = d.copied()
	at, to := d.Index(wait), d.disconnect(wait, EdgeDefault)
	if at < 0 || d.Steps[at].Type != StepWaitForEvent || to == "" {
		return d, refuse("step %q has no way that is for both outcomes of a wait", wait)
	}
	for _, way := range []EdgeType{EdgeEventCame, EdgeTimeout} {
		if !slices.ContainsFunc(d.Connections, func(c Connection) bool { return c.From == wait && c.Type == way }) {
			d.Connections = append(d.Connections, Connection{wait, to, way})
		}
	}
	return d.whole()
}

// Merge makes one way of a wait's two, where both lead to the same step.
func (d Definition) Merge(wait string) (Definition, error) {
	d = d.copied()
	came, late := d.disconnect(wait, EdgeEventCame), d.disconnect(wait, EdgeTimeout)
	if came == "" || came != late {
		return d, refuse("the two ways out of %q must lead to the same step to become one", wait)
	}
	d.disconnect(wait, EdgeDefault)
	d.Connections = append(d.Connections, Connection{wait, came, EdgeDefault})
	return d.whole()
}

// Rename gives a step another key. What conditions and values say about
// "steps.KEY" and "wait.KEY" stays as it is.
func (d Definition) Rename(from, to string) (Definition, error) {
	d = d.copied()
	at := d.Index(from)
	switch {
	case at < 0:
		return d, refuse("there is no step %q", from)
	case from == to:
		return d, nil
	case !isStepKey(to):
		return d, refuse("%q is not a step key; use 1 to 64 letters, digits, _, : and -", shorten(to, 64))
	case d.Index(to) >= 0:
		return d, refuse("there is a step %q already", to)
	}
	d.Steps[at].Key = to
	for i, c := range d.Connections {
		if c.From == from {
			d.Connections[i].From = to
		}
		if c.To == from {
			d.Connections[i].To = to
		}
	}
	return d, nil
}

// Configure gives a step another config.
func (d Definition) Configure(key string, config json.RawMessage) (Definition, error) {
	d = d.copied()
	at := d.Index(key)
	if at < 0 {
		return d, refuse("there is no step %q", key)
	}
	d.Steps[at].Config = config
	return d, nil
}

func refuse(format string, args ...any) error {
	return Errorf(KindConflict, "edit_refused", format, args...)
}

// copied is the definition, connected, with slices of its own.
func (d Definition) copied() Definition {
	d = d.Connected()
	return Definition{Steps: slices.Clone(d.Steps), Connections: slices.Clone(d.Connections)}
}

// disconnect removes a connection and tells where it led.
func (d *Definition) disconnect(from string, way EdgeType) (to string) {
	d.Connections = slices.DeleteFunc(d.Connections, func(c Connection) bool {
		found := c.From == from && c.Type == way
		if found {
			to = c.To
		}
		return found
	})
	return to
}

// after lists the steps that a run may come to from one.
func (d Definition) after(key string) (keys []string) {
	seen := map[string]bool{key: true}
	for next := []string{key}; len(next) > 0; {
		from := next[0]
		next = next[1:]
		for _, c := range d.Connections {
			if c.From == from && !seen[c.To] {
				seen[c.To] = true
				keys, next = append(keys, c.To), append(next, c.To)
			}
		}
	}
	return keys
}

func (d Definition) unreachable() (keys []string) {
	reached := append(d.after(d.Steps[0].Key), d.Steps[0].Key)
	for _, s := range d.Steps {
		if !slices.Contains(reached, s.Key) {
			keys = append(keys, s.Key)
		}
	}
	return keys
}

// whole numbers the steps, or refuses an edit that cuts some off.
func (d Definition) whole() (Definition, error) {
	if lost := d.unreachable(); len(lost) > 0 {
		return d, refuse("nothing would lead to %s any more; remove it first", strings.Join(lost, ", "))
	}
	for i := range d.Steps {
		d.Steps[i].Position = i
	}
	return d, nil
}
