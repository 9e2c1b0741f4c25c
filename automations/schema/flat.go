package schema

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/opensend/opensend/automations"
)

// flatTypes are the words of a flat map.
var flatTypes = []string{"string", "number", "boolean", "date"}

// IsFlat reports whether a schema is a flat map: every value is one of the
// words string, number, boolean and date.
func IsFlat(raw json.RawMessage) bool { return flatMap(raw) != nil }

func flatMap(raw json.RawMessage) map[string]string {
	var words map[string]string
	if json.Unmarshal(raw, &words) != nil || len(words) == 0 {
		return nil
	}
	for _, word := range words {
		if !slices.Contains(flatTypes, word) {
			return nil
		}
	}
	return words
}

// textKeywords are the keywords of JSON Schema whose value may be a text.
var textKeywords = []string{
	"$schema", "$id", "$ref", "$anchor", "$dynamicRef", "$dynamicAnchor", "$comment", "type", "format", "pattern", "title", "description",
	"contentEncoding", "contentMediaType", "const", "default",
}

// CheckFlat refuses what can only be meant as a flat map and is none, such as
// {"seats": "integer"}. As the JSON Schema that it is by the letter it would allow
// everything. The error is as those of Compile.
func CheckFlat(raw json.RawMessage) error {
	var words map[string]string
	if IsFlat(raw) || json.Unmarshal(raw, &words) != nil {
		return nil
	}
	names := slices.Sorted(maps.Keys(words))
	if slices.ContainsFunc(names, func(name string) bool { return slices.Contains(textKeywords, name) }) {
		return nil
	}
	for _, name := range names {
		if !slices.Contains(flatTypes, words[name]) {
			return invalid("schema."+clip(name), "%q is no type of a flat map; use string, number, boolean or date, or write a JSON Schema", clip(words[name]))
		}
	}
	return nil
}

// checkFlat checks the fields that are there against their types. A flat map
// requires nothing and forbids nothing else.
func (s *Schema) checkFlat(doc any) (details []automations.Detail) {
	fields, ok := doc.(map[string]any)
	if !ok {
		return []automations.Detail{{Path: "payload", Message: "must be an object"}}
	}
	for _, name := range slices.Sorted(maps.Keys(s.flat)) {
		value, sent := fields[name]
		if sent && value != nil && !isFlatType(value, s.flat[name]) && len(details) < maxProblems {
			details = append(details, automations.Detail{Path: "payload." + clip(name), Message: fmt.Sprintf("must be a %s", s.flat[name])})
		}
	}
	return details
}

func isFlatType(value any, word string) bool {
	switch v := value.(type) {
	case string:
		return word == "string" || word == "date" && isDate(v)
	case json.Number:
		return word == "number"
	case bool:
		return word == "boolean"
	}
	return false
}

func isDate(s string) bool {
	if _, err := time.Parse(time.DateOnly, s); err == nil {
		return true
	}
	_, err := time.Parse(time.RFC3339, s)
	return err == nil
}
