package automations

import (
	"encoding/json"
	"strings"
	"time"
)

// Comparison is one rule as it was evaluated.
type Comparison struct {
	Field    string          `json:"field"`
	Operator string          `json:"operator"`
	Expected json.RawMessage `json:"expected,omitempty"`
	Actual   json.RawMessage `json:"actual,omitempty"` // absent when the path led nowhere
	Held     bool            `json:"held"`
}

// maxCompared bounds what one comparison keeps of a value, and how many of
// them are kept.
const (
	maxComparedValue = 256
	maxCompared      = 20
)

// Eval decides the condition. A path that leads nowhere never fails: exists is
// false, not_exists, is_empty, not_equals, not_contains and not_in are true,
// everything else is false. compared holds the rules that were looked at, the
// first 20 of them.
func (m *Match) Eval(lookup func(path string) (any, bool)) (held bool, compared []Comparison) {
	held = m.eval(lookup, &compared)
	return held, compared
}

func (m *Match) eval(lookup func(path string) (any, bool), compared *[]Comparison) bool {
	if m.rule != nil {
		return m.rule.eval(lookup, compared)
	}
	for i := range m.parts {
		if m.parts[i].eval(lookup, compared) == m.any {
			return m.any
		}
	}
	return !m.any
}

func (r *rule) eval(lookup func(path string) (any, bool), compared *[]Comparison) bool {
	actual, found := lookup(r.field)
	expected := r.literal
	if r.value.Var != "" {
		expected, _ = lookup(r.value.Var)
	}
	held := r.operator.holds(actual, found, expected)
	if len(*compared) < maxCompared {
		c := Comparison{Field: r.field, Operator: string(r.operator), Held: held}
		if r.operator.takesValue() {
			c.Expected = comparedValue(expected)
		}
		if found {
			c.Actual = comparedValue(actual)
		}
		*compared = append(*compared, c)
	}
	return held
}

func comparedValue(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err == nil && len(raw) > maxComparedValue {
		raw, err = json.Marshal(shorten(string(raw), maxComparedValue))
	}
	if err != nil {
		return nil
	}
	return raw
}

func (o operator) holds(actual any, found bool, expected any) bool {
	switch o {
	case opExists:
		return found && actual != nil
	case opNotExists:
		return !found || actual == nil
	case opIsEmpty:
		return !found || isEmpty(actual)
	case opNotEquals:
		return !found || !jsonEqual(actual, expected)
	case opNotContains:
		return !found || !contains(actual, expected)
	case opNotIn:
		return !found || !contains(expected, actual)
	}
	if !found {
		return false
	}
	switch o {
	case opEquals:
		return jsonEqual(actual, expected)
	case opContains:
		return contains(actual, expected)
	case opIn:
		list, ok := expected.([]any)
		return ok && contains(list, actual)
	case opBegins, opEnds:
		a, okA := actual.(string)
		b, okB := expected.(string)
		return okA && okB && (o == opBegins && strings.HasPrefix(a, b) || o == opEnds && strings.HasSuffix(a, b))
	}
	order, ok := compare(actual, expected)
	if !ok {
		return false
	}
	switch o {
	case opGreater:
		return order > 0
	case opGreaterEq:
		return order >= 0
	case opLess:
		return order < 0
	case opLessEq:
		return order <= 0
	}
	return false
}

func isEmpty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

// contains is part of a text, or member of a list.
func contains(whole, part any) bool {
	switch whole := whole.(type) {
	case string:
		text, ok := part.(string)
		return ok && strings.Contains(whole, text)
	case []any:
		for _, item := range whole {
			if jsonEqual(item, part) {
				return true
			}
		}
	}
	return false
}

// jsonEqual is equality of JSON values: 1 equals 1.0 and not "1".
func jsonEqual(a, b any) bool {
	switch a := a.(type) {
	case json.Number:
		b, ok := b.(json.Number)
		return ok && compareNumbers(string(a), string(b)) == 0
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !jsonEqual(a[i], b[i]) {
				return false
			}
		}
		return true
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for k, v := range a {
			if other, ok := b[k]; !ok || !jsonEqual(v, other) {
				return false
			}
		}
		return true
	}
	switch b.(type) {
	case []any, map[string]any, json.Number:
		return false
	}
	return a == b
}

// compare orders two numbers, a number and a text that is one, or two times;
// nothing else has an order.
func compare(a, b any) (order int, ok bool) {
	numA, isNumA := a.(json.Number)
	numB, isNumB := b.(json.Number)
	textA, isTextA := a.(string)
	textB, isTextB := b.(string)
	switch {
	case isNumA && isNumB:
	case isNumA && isTextB && isNumber(textB):
		numB = json.Number(textB)
	case isTextA && isNumB && isNumber(textA):
		numA = json.Number(textA)
	case isTextA && isTextB:
		timeA, errA := time.Parse(time.RFC3339, textA)
		timeB, errB := time.Parse(time.RFC3339, textB)
		return timeA.Compare(timeB), errA == nil && errB == nil
	default:
		return 0, false
	}
	return compareNumbers(string(numA), string(numB)), true
}

func isNumber(s string) bool {
	scan := scanner{data: []byte(s)}
	return scan.number() == nil && scan.at == len(s)
}
