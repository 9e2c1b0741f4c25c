package schema

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/opensend/opensend/automations"
)

// Limits of what is inferred: an object with more members than this is a map
// whose keys are data, and what lies deeper is left open.
const (
	maxInferredMembers = 100
	maxInferredDepth   = 8
)

// Infer describes the payloads of an event as a schema that accepts all of them:
// the members they have, with their types, required where each payload has them.
// It is indented, for people to go on with. Payloads are checked JSON.
func Infer(payloads []json.RawMessage) json.RawMessage {
	var all shape
	for _, payload := range payloads {
		all.add(payload, 0)
	}
	text, err := json.MarshalIndent(all.schema(), "", "  ")
	if err != nil {
		panic(err) // it is made of maps, lists and words
	}
	return text
}

// shape is what values at one place have looked like.
type shape struct {
	types   map[string]bool
	objects int // how many were objects
	members map[string]*member
	items   *shape // of arrays; nil when none had an item
}

type member struct {
	shape
	seen int // in how many objects
}

func (s *shape) add(raw json.RawMessage, depth int) {
	if s.types == nil {
		s.types = map[string]bool{}
	}
	kind := kindOf(raw)
	s.types[kind] = true
	if depth == maxInferredDepth {
		return
	}
	switch kind {
	case "object":
		fields, err := automations.ObjectFields(raw)
		if err != nil {
			return
		}
		s.objects++
		if s.members == nil {
			s.members = map[string]*member{}
		}
		for name, value := range fields {
			if s.members[name] == nil {
				s.members[name] = new(member)
			}
			s.members[name].seen++
			s.members[name].add(value, depth+1)
		}
	case "array":
		var items []json.RawMessage
		if json.Unmarshal(raw, &items) != nil {
			return
		}
		for _, item := range items {
			if s.items == nil {
				s.items = new(shape)
			}
			s.items.add(item, depth+1)
		}
	}
}

func kindOf(raw json.RawMessage) string {
	switch c := raw[0]; {
	case c == '{':
		return "object"
	case c == '[':
		return "array"
	case c == '"':
		return "string"
	case c == 't', c == 'f':
		return "boolean"
	case c == 'n':
		return "null"
	}
	return "number" // never "integer": the next price may have cents
}

func (s *shape) schema() map[string]any {
	out := map[string]any{}
	switch kinds := slices.Sorted(maps.Keys(s.types)); len(kinds) {
	case 0:
		out["type"] = "object" // no payload at all
	case 1:
		out["type"] = kinds[0]
	default:
		out["type"] = kinds
	}
	if s.items != nil {
		out["items"] = s.items.schema()
	}
	if len(s.members) == 0 || len(s.members) > maxInferredMembers {
		return out
	}
	properties, required := map[string]any{}, []string{}
	for name, m := range s.members {
		properties[name] = m.schema()
		if m.seen == s.objects {
			required = append(required, name)
		}
	}
	out["properties"] = properties
	if slices.Sort(required); len(required) > 0 {
		out["required"] = required
	}
	return out
}
