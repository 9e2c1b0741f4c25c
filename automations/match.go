package automations

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Limits of a condition tree.
const (
	maxMatchDepth = 10
	maxMatchRules = 200
	maxMatchValue = 8 << 10 // bytes of one value
	maxPath       = 256     // bytes of one path
)

// Match is a condition: rules joined by AND and OR. It is immutable.
type Match struct {
	any   bool    // one part is enough; otherwise all must hold
	parts []Match // of a group
	rule  *rule   // or a single rule
}

// rule compares what a path leads to with a value.
type rule struct {
	field    string
	operator operator
	value    Value
	literal  any // the decoded value, when it is a literal
}

// operator is how a rule compares, in its canonical spelling.
type operator string

const (
	opEquals      operator = "equals"
	opNotEquals   operator = "not_equals"
	opGreater     operator = "greater_than"
	opGreaterEq   operator = "greater_than_or_equal"
	opLess        operator = "less_than"
	opLessEq      operator = "less_than_or_equal"
	opContains    operator = "contains"
	opNotContains operator = "not_contains"
	opBegins      operator = "begins_with"
	opEnds        operator = "ends_with"
	opExists      operator = "exists"
	opNotExists   operator = "not_exists"
	opIsEmpty     operator = "is_empty"
	opIn          operator = "in"
	opNotIn       operator = "not_in"
)

// operators maps every spelling that OpenSend, Resend and MailDiver use.
var operators = map[string]operator{
	"equals": opEquals, "eq": opEquals, "not_equals": opNotEquals, "neq": opNotEquals,
	"greater_than": opGreater, "gt": opGreater, "greater_than_or_equal": opGreaterEq, "gte": opGreaterEq,
	"less_than": opLess, "lt": opLess, "less_than_or_equal": opLessEq, "lte": opLessEq,
	"contains": opContains, "not_contains": opNotContains,
	"begins_with": opBegins, "starts_with": opBegins, "ends_with": opEnds,
	"exists": opExists, "not_exists": opNotExists, "is_empty": opIsEmpty, "in": opIn, "not_in": opNotIn,
}

// takesValue reports whether the operator compares with something.
func (o operator) takesValue() bool { return o != opExists && o != opNotExists && o != opIsEmpty }

// ParseMatch reads a condition in any of its forms: OpenSend's {"predicate":
// {left, operator, right}}, Resend's tree of {"type": "and" or "or", "rules"}
// and {"type": "rule", field, operator, value}, with MailDiver's names for the
// operators too. The text must be checked JSON. Errors carry the path of each
// problem and a code that begins with condition_.
func ParseMatch(raw json.RawMessage) (*Match, error) {
	var p Problems
	m := (&matchParser{p: &p}).parse(raw, "", 1)
	if err := p.Err(); err != nil {
		return nil, err
	}
	return &m, nil
}

type matchParser struct {
	p     *Problems
	rules int
}

func (mp *matchParser) parse(raw json.RawMessage, path string, depth int) Match {
	f, err := ObjectFields(raw)
	if err != nil {
		mp.p.Add("condition_rule_invalid", path, "a condition must be an object")
		return Match{}
	}
	if f.Has("predicate") {
		return mp.predicate(f.Raw("predicate"), JoinPath(path, "predicate"))
	}
	kind := strings.ToLower(f.String(mp.p, "type"))
	switch {
	case kind == "and" || kind == "or":
		return mp.group(f, path, kind == "or", depth)
	case kind == "rule", kind == "" && f.Has("field"):
		f.Unknown(mp.p, "type", "field", "operator", "value")
		return mp.rule(f.String(mp.p, "field"), f, "value", path)
	case kind == "" && f.Has("left"):
		return mp.predicate(raw, path)
	}
	mp.p.Add("condition_rule_invalid", JoinPath(path, "type"), `type must be "and", "or" or "rule"`)
	return Match{}
}

func (mp *matchParser) group(f Fields, path string, any bool, depth int) Match {
	f.Unknown(mp.p, "type", "rules")
	var rules []json.RawMessage
	if json.Unmarshal(f.Raw("rules"), &rules) != nil || len(rules) == 0 {
		mp.p.Add("condition_rule_invalid", JoinPath(path, "rules"), "rules must be a list with at least one rule")
		return Match{}
	}
	if depth > maxMatchDepth {
		mp.p.Add("condition_too_deep", path, "conditions may nest %d deep", maxMatchDepth)
		return Match{}
	}
	m := Match{any: any}
	for i, raw := range rules {
		if mp.rules > maxMatchRules {
			break
		}
		m.parts = append(m.parts, mp.parse(raw, JoinPath(path, fmt.Sprintf("rules[%d]", i)), depth+1))
	}
	return m
}

// predicate reads OpenSend's form, whose left side may be a path or
// {"var": path}.
func (mp *matchParser) predicate(raw json.RawMessage, path string) Match {
	f, err := ObjectFields(raw)
	if err != nil {
		mp.p.Add("condition_rule_invalid", path, "a predicate must be an object with left, operator and right")
		return Match{}
	}
	f.Unknown(mp.p, "left", "operator", "right")
	field := ParseValue(f.Raw("left"))
	if field.Var == "" {
		json.Unmarshal(field.Literal, &field.Var)
	}
	return mp.rule(field.Var, f, "right", path)
}

func (mp *matchParser) rule(field string, f Fields, valueKey, path string) Match {
	mp.rules++
	if mp.rules > maxMatchRules {
		mp.p.Add("condition_too_many_rules", path, "a condition may have %d rules", maxMatchRules)
		return Match{}
	}
	r := &rule{field: canonicalPath(field)}
	if r.field == "" {
		mp.p.Add("condition_field_invalid", path, `the field must be a path such as "event.plan" or "contact.email"`)
	}
	word := f.String(mp.p, "operator")
	var known bool
	if r.operator, known = operators[strings.ToLower(word)]; !known {
		mp.p.Add("condition_operator_invalid", JoinPath(path, "operator"), "%q is not an operator; use one such as equals, not_equals, greater_than, contains, exists", shorten(word, 40))
	}
	raw, sent := f[valueKey]
	switch {
	case !r.operator.takesValue():
	case !sent:
		mp.p.Add("condition_value_invalid", JoinPath(path, valueKey), "%s needs a %s to compare with", r.operator, valueKey)
	case len(raw) > maxMatchValue:
		mp.p.Add("condition_value_invalid", JoinPath(path, valueKey), "the value is larger than %d bytes", maxMatchValue)
	default:
		r.value = ParseValue(CompactJSON(raw))
		r.literal = decodeJSON(r.value.Literal)
		if _, isList := r.literal.([]any); r.value.Var == "" && !isList && (r.operator == opIn || r.operator == opNotIn) {
			mp.p.Add("condition_value_invalid", JoinPath(path, valueKey), "%s needs a list of values", r.operator)
		}
	}
	return Match{rule: r}
}

// ParseValue reads a literal, or a reference written {"var": path}.
func ParseValue(raw json.RawMessage) Value {
	if isKind(raw, '{') {
		var ref map[string]string
		if json.Unmarshal(raw, &ref) == nil && len(ref) == 1 && ref["var"] != "" {
			if path := canonicalPath(ref["var"]); path != "" {
				return Value{Var: path}
			}
		}
	}
	return Value{Literal: raw}
}

// canonicalPath spells a path with its root; it is empty when the path is not
// one.
func canonicalPath(path string) string {
	path = strings.TrimSpace(path)
	if path == "" || len(path) > maxPath || strings.HasPrefix(path, ".") || strings.HasSuffix(path, ".") || strings.Contains(path, "..") {
		return ""
	}
	root, rest, _ := strings.Cut(path, ".")
	switch root {
	case "contact":
		if name, ok := strings.CutPrefix(rest, "custom_properties."); ok {
			return "contact.properties." + name
		}
		return path
	case "event", "trigger", "steps", "wait":
		return path
	}
	return "event." + path
}

// ResolvePath walks from a decoded JSON value along a dotted path of keys and
// array indices. A key that has dots itself is found as a whole.
func ResolvePath(v any, path string) (any, bool) {
	for {
		switch at := v.(type) {
		case map[string]any:
			if found, ok := at[path]; ok {
				return found, true
			}
		case []any:
		default:
			return nil, false
		}
		key, rest, more := strings.Cut(path, ".")
		var ok bool
		if v, ok = child(v, key); !ok || !more {
			return v, ok
		}
		path = rest
	}
}

func child(v any, key string) (any, bool) {
	switch at := v.(type) {
	case map[string]any:
		found, ok := at[key]
		return found, ok
	case []any:
		n := 0
		for _, c := range []byte(key) {
			if c < '0' || c > '9' || n > len(at) {
				return nil, false
			}
			n = n*10 + int(c-'0')
		}
		if key != "" && n < len(at) {
			return at[n], true
		}
	}
	return nil, false
}
