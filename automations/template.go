package automations

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/opensend/opensend/automations/mail"
)

// MaxVariables is how many variables a template may declare.
const MaxVariables = 50

// MaxSubject is how many characters a subject may have.
const MaxSubject = 998

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
		if f.Has(field.name) {
			*field.into = f.String(p, field.name)
		}
	}
	if f.Has("reply_to") || f.Has("replyTo") {
		c.ReplyTo = slices.DeleteFunc(f.Strings(p, "reply_to", "replyTo"), func(s string) bool { return s == "" })
	}
	if c.From != "" {
		CheckMailbox(p, "from", c.From)
	}
	for i, address := range c.ReplyTo {
		CheckMailbox(p, fmt.Sprintf("reply_to[%d]", i), address)
	}
	CheckText(p, "subject", c.Subject, MaxSubject)
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
		v := TemplateVariable{Key: own.String(&problems, "key"), Type: VariableType(own.String(&problems, "type")), Fallback: own.Raw("fallback_value", "fallbackValue")}
		v.check(&problems, list)
		p.Include(path, problems.Err())
		list = append(list, v)
	}
	return list
}

func (v *TemplateVariable) check(p *Problems, before []TemplateVariable) {
	if v.Type == "" {
		v.Type = VariableString
	}
	switch {
	case !variableKey.MatchString(v.Key):
		p.Add("", "key", "a key has 1 to 50 letters, digits and underscores")
	case ReservedVariable(v.Key):
		p.Add("", "key", "%s is reserved for what the program fills in; choose another key", v.Key)
	case isScopePath(v.Key):
		p.Add("", "key", "%s is reserved; paths such as %s.x begin with it", v.Key, v.Key)
	case slices.ContainsFunc(before, func(b TemplateVariable) bool { return b.Key == v.Key }):
		p.Add("", "key", "%s is declared twice", v.Key)
	}
	switch {
	case !slices.Contains(VariableTypes(), v.Type):
		p.Add("", "type", "type must be string, number or html")
	case v.Fallback == nil:
	case v.Type == VariableNumber && !isNumber(string(v.Fallback)):
		p.Add("", "fallback_value", "the fallback of a number must be a number")
	case v.Type != VariableNumber && !isKind(v.Fallback, '"'):
		p.Add("", "fallback_value", "the fallback must be a string")
	}
}

// Check reports whether v, a decoded JSON value, is of the variable's type.
func (t *TemplateVariable) Check(v any) error {
	text, isText := v.(string)
	_, isNum := v.(json.Number)
	_, isBool := v.(bool)
	switch {
	case t.Type == VariableNumber && !isNum && !(isText && isNumber(text)):
		return t.mismatch("a number")
	case t.Type == VariableHTML && !isText:
		return t.mismatch("HTML, as a string")
	case t.Type == VariableString && !isText && !isNum && !isBool:
		return t.mismatch("a string")
	}
	return nil
}

func (t *TemplateVariable) mismatch(wanted string) error {
	return Errorf(KindInvalid, "template_variable_invalid", "the variable %q must be %s", t.Key, wanted)
}

// Check parses the content, as ReadTemplateContent does.
func (c *TemplateContent) Check() error {
	var p Problems
	c.checkNames(&p)
	return p.Err()
}

// checkNames parses every part. The names in it must be declared, reserved or
// paths; where nothing was declared, they are declared as they are found.
func (c *TemplateContent) checkNames(p *Problems) {
	if !c.Declared {
		c.Variables = nil
	}
	checkParts(p, "template_invalid", c.Subject, c.HTML, c.Text, func(path string, at mail.Placeholder) {
		name := at.Name
		if ReservedVariable(name) || isScopePath(name) || slices.ContainsFunc(c.Variables, func(v TemplateVariable) bool { return v.Key == name }) {
			return
		}
		switch {
		case c.Declared:
			msg := fmt.Sprintf("%q is not among the variables; declare it, or write its path, such as event.%s", shorten(name, 60), shorten(name, 60))
			p.AddSyntax("template_variable_unknown", path, &mail.SyntaxError{Line: at.Line, Col: at.Col, Msg: msg})
		case !variableKey.MatchString(name): // a path into the event
		case len(c.Variables) >= MaxVariables:
			p.AddSyntax("", path, &mail.SyntaxError{Line: at.Line, Col: at.Col, Msg: fmt.Sprintf("a template may have %d variables", MaxVariables)})
		default:
			c.Variables = append(c.Variables, TemplateVariable{Key: name, Type: VariableString})
		}
	})
}

// checkParts parses the parts of a mail and shows their placeholders to each.
// code is for what cannot be understood.
func checkParts(p *Problems, code, subject, html, text string, each func(path string, at mail.Placeholder)) {
	for _, part := range []struct {
		path, text string
		part       mail.Part
	}{{"subject", subject, mail.Subject}, {"html", html, mail.HTML}, {"text", text, mail.Text}} {
		parsed, err := mail.Parse(part.part, part.text)
		if wrong, ok := errors.AsType[mail.SyntaxErrors](err); ok {
			for _, e := range wrong {
				p.AddSyntax(code, part.path, e)
			}
			continue
		}
		for _, at := range parsed.Placeholders() {
			each(part.path, at)
		}
	}
}

// isScopePath reports whether the name is of something that a run knows, or a
// path into it.
func isScopePath(name string) bool {
	root, _, _ := strings.Cut(name, ".")
	return slices.Contains(scopeRoots, root)
}
