package web

import (
	"bytes"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/opensend/opensend/automations"
)

// ruleNode is a condition as a form shows it: a rule, or a group of them.
type ruleNode struct {
	Path     string // of its fields in the form
	Type     string // "and", "or" or "rule"
	Field    string
	Operator string
	Value    string // see valueText
	Rules    []*ruleNode
}

// operatorWords are the operators in the order that a form offers them.
var operatorWords = []option{
	{"equals", "is"}, {"not_equals", "is not"},
	{"greater_than", "is more than"}, {"greater_than_or_equal", "is at least"}, {"less_than", "is less than"}, {"less_than_or_equal", "is at most"},
	{"contains", "contains"}, {"not_contains", "does not contain"}, {"begins_with", "begins with"}, {"ends_with", "ends with"},
	{"in", "is one of"}, {"not_in", "is none of"},
	{"exists", "is there"}, {"not_exists", "is not there"}, {"is_empty", "is empty"},
}

// sameOperators are the other spellings that the API takes.
var sameOperators = map[string]string{
	"eq": "equals", "neq": "not_equals", "gt": "greater_than", "gte": "greater_than_or_equal", "lt": "less_than", "lte": "less_than_or_equal", "starts_with": "begins_with",
}

// TakesValue reports whether the rule compares with something.
func (n *ruleNode) TakesValue() bool {
	return !slices.Contains([]string{"exists", "not_exists", "is_empty"}, n.Operator)
}

// Others is how many rules a group may still lose.
func (n *ruleNode) Others() bool { return len(n.Rules) > 1 }

// maxRuleDepth is how deep the form follows groups within groups.
const maxRuleDepth = 12

// readRules makes a form of a stored condition, in any form that the API takes;
// nil when it is none.
func readRules(raw json.RawMessage, path string) *ruleNode {
	f, err := automations.ObjectFields(raw)
	if err != nil || strings.Count(path, ".") > maxRuleDepth {
		return nil
	}
	if f.Has("predicate") {
		return readRules(f.Raw("predicate"), path)
	}
	var p automations.Problems
	n := &ruleNode{Path: path, Type: strings.ToLower(f.String(&p, "type")), Operator: strings.ToLower(f.String(&p, "operator"))}
	if same := sameOperators[n.Operator]; same != "" {
		n.Operator = same
	}
	switch {
	case n.Type == "and" || n.Type == "or":
		var parts []json.RawMessage
		json.Unmarshal(f.Raw("rules"), &parts) // what is no list has no rules
		for _, part := range parts {
			if rule := readRules(part, path+"."+strconv.Itoa(len(n.Rules))); rule != nil {
				n.Rules = append(n.Rules, rule)
			}
		}
		n.Operator = ""
	case f.Has("left"):
		n.Type, n.Value = "rule", valueText(f["right"])
		if left := automations.ParseValue(f.Raw("left")); left.Var != "" {
			n.Field = left.Var
		} else {
			json.Unmarshal(left.Literal, &n.Field) // what is no text is no field
		}
	case n.Type == "rule" || n.Type == "" && f.Has("field"):
		n.Type, n.Field, n.Value = "rule", f.String(&p, "field"), valueText(f["value"])
	default:
		return nil
	}
	if !n.TakesValue() {
		n.Value = ""
	}
	return n
}

// formRules reads a condition from a form; nil when the form has none.
func formRules(form url.Values, path string) *ruleNode {
	n := &ruleNode{Path: path, Type: form.Get(path + ".type")}
	if n.Type == "" || strings.Count(path, ".") > maxRuleDepth {
		return nil
	}
	if n.Type == "rule" {
		n.Field, n.Operator, n.Value = strings.TrimSpace(form.Get(path+".field")), form.Get(path+".operator"), form.Get(path+".value")
		return n
	}
	for {
		rule := formRules(form, path+"."+strconv.Itoa(len(n.Rules)))
		if rule == nil {
			return n
		}
		n.Rules = append(n.Rules, rule)
	}
}

// wireRules is a condition as it is stored.
type wireRules struct {
	Type     string          `json:"type"`
	Field    string          `json:"field,omitempty"`
	Operator string          `json:"operator,omitempty"`
	Value    json.RawMessage `json:"value,omitempty"`
	Rules    []wireRules     `json:"rules,omitempty"`
}

func (n *ruleNode) wire() wireRules {
	w := wireRules{Type: n.Type, Field: n.Field, Operator: n.Operator}
	switch {
	case n.Type != "rule":
		for _, rule := range n.Rules {
			w.Rules = append(w.Rules, rule.wire())
		}
	case n.TakesValue():
		w.Value = readValue(n.Value)
		if n.Operator == "in" || n.Operator == "not_in" {
			w.Value = readValues(n.Value, w.Value)
		}
	}
	return w
}

// newRule is a rule that is still to be filled in.
func newRule() *ruleNode { return &ruleNode{Type: "rule", Operator: "equals"} }

// edit changes the condition at a path: "rule" and "group" add to the group
// there, or make one of the rule there; "drop" removes what is there. It
// returns nil when nothing is left.
func (n *ruleNode) edit(verb, path string) *ruleNode {
	n = n.change(verb, path)
	n.number("rules")
	return n
}

func (n *ruleNode) change(verb, path string) *ruleNode {
	switch {
	case n.Path == path && verb == "drop":
		return nil
	case n.Path == path && n.Type == "rule":
		return &ruleNode{Type: "and", Rules: []*ruleNode{n, newRule()}}
	case n.Path == path && verb == "group":
		other := "or"
		if n.Type == "or" {
			other = "and"
		}
		n.Rules = append(n.Rules, &ruleNode{Type: other, Rules: []*ruleNode{newRule(), newRule()}})
		return n
	case n.Path == path:
		n.Rules = append(n.Rules, newRule())
		return n
	}
	kept := n.Rules[:0]
	for _, rule := range n.Rules {
		if rule = rule.change(verb, path); rule != nil {
			kept = append(kept, rule)
		}
	}
	n.Rules = kept
	switch {
	case n.Type == "rule":
	case len(kept) == 0:
		return nil
	case len(kept) == 1 && verb == "drop":
		return kept[0]
	}
	return n
}

// number gives everything in a condition its path.
func (n *ruleNode) number(path string) {
	if n == nil {
		return
	}
	n.Path = path
	for i, rule := range n.Rules {
		rule.number(path + "." + strconv.Itoa(i))
	}
}

// Words is the condition as a sentence.
func (n *ruleNode) Words() string {
	if n == nil {
		return ""
	}
	if n.Type != "rule" {
		var parts []string
		for _, rule := range n.Rules {
			words := rule.Words()
			if rule.Type != "rule" {
				words = "(" + words + ")"
			}
			parts = append(parts, words)
		}
		return strings.Join(parts, " "+n.Type+" ")
	}
	words := n.Operator
	for _, o := range operatorWords {
		if o.Value == n.Operator {
			words = o.Name
		}
	}
	text := shortPath(n.Field) + " " + words
	if n.TakesValue() {
		text += " " + n.Value
	}
	return text
}

// shortPath is a path without the root that people know anyway.
func shortPath(path string) string {
	for _, root := range []string{"event.", "contact.properties.", "contact."} {
		if rest, ok := strings.CutPrefix(path, root); ok {
			return rest
		}
	}
	return path
}

// valueText shows a JSON value in a field of a form. Text is shown as it is,
// unless it would be read as something else.
func valueText(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) != nil || string(raw) == "null" {
		return string(raw)
	}
	if text != strings.TrimSpace(text) || strings.ContainsAny(text, "\r\n") || automations.CheckJSON([]byte(text)) == nil {
		return string(encodeJSON(text))
	}
	return text
}

// readValue reads what valueText shows: JSON, or text.
func readValue(text string) json.RawMessage {
	text = strings.TrimSpace(text)
	if automations.CheckJSON([]byte(text)) == nil {
		return automations.CompactJSON([]byte(text))
	}
	return encodeJSON(text)
}

// readValues reads "a, b" as a list of values; what is one already stays.
func readValues(text string, value json.RawMessage) json.RawMessage {
	if bytes.HasPrefix(value, []byte("[")) || bytes.HasPrefix(value, []byte("{")) {
		return value
	}
	list := []json.RawMessage{}
	for part := range strings.SplitSeq(text, ",") {
		if strings.TrimSpace(part) != "" {
			list = append(list, readValue(part))
		}
	}
	return encodeJSON(list)
}

// encodeJSON is JSON in which people can read HTML.
func encodeJSON(v any) json.RawMessage {
	raw, err := automations.EncodeJSON(v)
	if err != nil {
		panic(err) // the dashboard's own types
	}
	return raw
}
