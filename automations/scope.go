package automations

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// Scope is what conditions, templates and step configs can refer to by path:
// "event.x" and "trigger.x" (payloads), "contact.email", "contact.properties.x",
// "steps.KEY.output.x" and "wait.KEY.x" (the payload that ended a wait). A
// path without one of these roots means "event.…".
type Scope struct {
	Event   json.RawMessage // payload of the event in question
	Trigger json.RawMessage // payload of the event that started the run
	Contact *Contact
	Steps   map[string]*StepState

	decoded map[string]any // roots, as they are first needed
}

var scopeRoots = []string{"event", "trigger", "contact", "steps", "wait"}

// SampleScope is a Scope of made-up values. steps has what "steps.…" leads
// into, and wait what "wait.…" does; each is an object or absent.
func SampleScope(event, trigger, steps, wait json.RawMessage, contact *Contact) *Scope {
	return &Scope{Event: event, Trigger: trigger, Contact: contact, decoded: map[string]any{"steps": decodeJSON(steps), "wait": decodeJSON(wait)}}
}

// Lookup finds the value at a path: string, json.Number, bool, nil,
// map[string]any or []any.
func (s *Scope) Lookup(path string) (any, bool) {
	root, rest, nested := strings.Cut(path, ".")
	switch {
	case !slices.Contains(scopeRoots, root):
		root, rest = "event", path
	case !nested:
		return s.root(root), true
	}
	if root == "contact" {
		if name, ok := strings.CutPrefix(rest, "custom_properties."); ok {
			rest = "properties." + name
		}
	}
	return ResolvePath(s.root(root), rest)
}

func (s *Scope) root(name string) any {
	if v, ok := s.decoded[name]; ok {
		return v
	}
	var v any
	switch name {
	case "event":
		v = decodeJSON(s.Event)
	case "trigger":
		v = decodeJSON(s.Trigger)
	case "contact":
		v = contactValues(s.Contact)
	case "steps", "wait":
		v = stepValues(s.Steps, name == "wait")
	}
	if s.decoded == nil {
		s.decoded = map[string]any{}
	}
	s.decoded[name] = v
	return v
}

// forget drops what was decoded of a root that has changed.
func (s *Scope) forget(names ...string) {
	for _, name := range names {
		delete(s.decoded, name)
	}
}

func contactValues(c *Contact) any {
	if c == nil {
		return nil
	}
	properties := make(map[string]any, len(c.Properties))
	for k, raw := range c.Properties {
		properties[k] = decodeJSON(raw)
	}
	return map[string]any{
		"id": c.ID.String(), "email": c.Email, "first_name": orNil(c.FirstName), "last_name": orNil(c.LastName),
		"unsubscribed": c.Unsubscribed, "properties": properties,
	}
}

// orNil makes an absent name null, so that fallbacks and "exists" see it so.
func orNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func stepValues(steps map[string]*StepState, waits bool) any {
	values := make(map[string]any, len(steps))
	for key, st := range steps {
		output := decodeJSON(st.Output)
		if waits {
			if o, ok := output.(map[string]any); ok {
				values[key] = o["event"]
			}
			continue
		}
		values[key] = map[string]any{"status": string(st.Status), "output": output}
	}
	return values
}

// decodeJSON decodes stored JSON; nil when there is none.
func decodeJSON(raw json.RawMessage) any {
	v, err := DecodeValue(raw)
	if err != nil {
		return nil
	}
	return v
}

// DecodeValue decodes a JSON value and keeps numbers as they are written, as
// json.Number. Empty input is nil.
func DecodeValue(raw json.RawMessage) (v any, err error) {
	if len(raw) == 0 {
		return nil, nil
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	err = dec.Decode(&v)
	return v, err
}

// Resolve finds what a step's value stands for: the literal, or what its path
// leads to. A path that leads nowhere is JSON null.
func (v Value) Resolve(s *Scope) json.RawMessage {
	if v.Var == "" {
		return v.Literal
	}
	found, _ := s.Lookup(v.Var)
	raw, err := json.Marshal(found)
	if err != nil {
		return json.RawMessage("null")
	}
	return raw
}

// Identity is the value at the path as a text that equal values have in common,
// as the operator equals has it: however a number is written. It is JSON.
func (s *Scope) Identity(path string) string {
	found, _ := s.Lookup(path)
	raw, err := json.Marshal(plainNumbers(found))
	if err != nil {
		return "null"
	}
	return string(raw)
}

// plainNumbers is v with each number written in the one way of decimal.String.
func plainNumbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		return json.Number(parseDecimal(string(v)).String())
	case []any:
		plain := make([]any, len(v))
		for i, item := range v {
			plain[i] = plainNumbers(item)
		}
		return plain
	case map[string]any:
		plain := make(map[string]any, len(v))
		for name, member := range v {
			plain[name] = plainNumbers(member)
		}
		return plain
	}
	return v
}
