package automations

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/opensend/opensend/automations/mail"
)

// MaxVariables is how many variables a template may declare.
const MaxVariables = 50

const maxSubject = 998 // RFC 5322, section 2.1.1: no line is longer

var variableKey = regexp.MustCompile(`^[A-Za-z0-9_]{1,50}$`)

// ReservedVariable reports whether the name stands for something of the
// program's own in every template.
func ReservedVariable(name string) bool {
	switch name {
	case "FIRST_NAME", "LAST_NAME", "EMAIL", "RESEND_UNSUBSCRIBE_URL", "OPENSEND_UNSUBSCRIBE_URL":
		return true
	}
	return false
}

// ReadTemplateContent reads the content fields that were sent into c and
// checks the whole of it.
func ReadTemplateContent(f Fields, p *Problems, c *TemplateContent) {
	for _, field := range []struct {
		into *string
		name string
	}{{&c.From, "from"}, {&c.Subject, "subject"}, {&c.HTML, "html"}, {&c.Text, "text"}} {
		if f.Sent(field.name) {
			*field.into = f.String(p, field.name)
		}
	}
	if f.Sent("reply_to") || f.Sent("replyTo") {
		c.ReplyTo = slices.DeleteFunc(f.Strings(p, "reply_to", "replyTo"), func(s string) bool { return s == "" })
	}
	if c.From != "" {
		CheckMailbox(p, "from", c.From)
	}
	for i, address := range c.ReplyTo {
		CheckMailbox(p, fmt.Sprintf("reply_to[%d]", i), address)
	}
	CheckText(p, "subject", c.Subject, maxSubject)
	if f.Has("variables") {
		c.Declared, c.Variables = true, readVariables(f, p)
	}
	c.checkNames(p)
}

func readVariables(f Fields, p *Problems) (list []TemplateVariable) {
	var items []json.RawMessage
	if raw := f.Array(p, "variables"); raw == nil || json.Unmarshal(raw, &items) != nil {
		return nil
	}
	if len(items) > MaxVariables {
		p.Add("", "variables", "a template may declare %d variables", MaxVariables)
		return nil
	}
	for i, item := range items {
		path := fmt.Sprintf("variables[%d]", i)
		own, err := ObjectFields(item)
		if err != nil {
			p.Include(path, err)
			continue
		}
		var problems Problems
		own.Unknown(&problems, "id", "key", "type", "fallback_value", "fallbackValue", "created_at", "updated_at")
		v := TemplateVariable{Key: own.String(&problems, "key"), Type: own.String(&problems, "type"), Fallback: own.Raw("fallback_value", "fallbackValue")}
		v.check(&problems, list)
		p.Include(path, problems.Err())
		list = append(list, v)
	}
	return list
}

func (v *TemplateVariable) check(p *Problems, before []TemplateVariable) {
	if v.Type == "" {
		v.Type = "string"
	}
	switch {
	case !variableKey.MatchString(v.Key):
		p.Add("", "key", "a key has 1 to 50 letters, digits and underscores")
	case ReservedVariable(v.Key):
		p.Add("", "key", "%s is reserved; it is always filled in", v.Key)
	case slices.ContainsFunc(before, func(b TemplateVariable) bool { return b.Key == v.Key }):
		p.Add("", "key", "%s is declared twice", v.Key)
	}
	switch {
	case v.Type != "string" && v.Type != "number" && v.Type != "html":
		p.Add("", "type", "type must be string, number or html")
	case v.Fallback == nil:
	case v.Type == "number" && !isNumber(string(v.Fallback)):
		p.Add("", "fallback_value", "the fallback of a number must be a number")
	case v.Type != "number" && !isKind(v.Fallback, '"'):
		p.Add("", "fallback_value", "the fallback must be a string")
	}
}

// checkNames parses every part. The names in it must be declared, reserved or
// paths; where nothing was declared, they are declared as they are found.
func (c *TemplateContent) checkNames(p *Problems) {
	if !c.Declared {
		c.Variables = nil
	}
	for _, part := range []struct{ path, text string }{{"subject", c.Subject}, {"html", c.HTML}, {"text", c.Text}} {
		parsed, err := mail.Parse(part.text)
		if err != nil {
			p.Add("template_invalid", part.path, "%s", err)
			continue
		}
		for _, name := range parsed.Names() {
			if ReservedVariable(name) || isScopePath(name) || slices.ContainsFunc(c.Variables, func(v TemplateVariable) bool { return v.Key == name }) {
				continue
			}
			switch {
			case c.Declared:
				p.Add("template_variable_unknown", part.path, "%q is not among the variables; declare it, or write its path, such as event.%s", shorten(name, 60), shorten(name, 60))
			case len(c.Variables) >= MaxVariables:
				p.Add("", part.path, "a template may have %d variables", MaxVariables)
			case variableKey.MatchString(name):
				c.Variables = append(c.Variables, TemplateVariable{Key: name, Type: "string"})
			}
		}
	}
}

func isScopePath(name string) bool {
	root, _, nested := strings.Cut(name, ".")
	switch root {
	case "event", "trigger", "contact", "steps", "wait":
		return nested
	}
	return false
}
