package engine

import (
	"encoding/json"
	"errors"
	"slices"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/mail"
	"github.com/opensend/opensend/storage"
)

// Preview is how a template looks with given values.
type Preview struct {
	Subject, HTML string
	Text          string // derived from HTML when the template has none, as in the mail
	Variables     []PreviewedVariable
}

// PreviewedVariable is what became of one of a template's placeholders, or of
// several with its name.
type PreviewedVariable struct {
	Name   string
	Status VariableStatus
	Value  any    // as it was found, JSON decoded; nil when missing or invalid
	Reason string // of Missing and Invalid, in words
}

// VariableStatus says what a placeholder stands for.
type VariableStatus string

// The statuses of a variable, from good to bad: with the last two the mail
// would not be sent. Of several placeholders of a name the worst counts.
const (
	VariableUsed    VariableStatus = "used"    // its value
	VariableFilled  VariableStatus = "filled"  // a fallback
	VariableMissing VariableStatus = "missing" // nothing: it has neither
	VariableInvalid VariableStatus = "invalid" // a value of another type than was declared
)

var variableStatuses = []VariableStatus{VariableUsed, VariableFilled, VariableMissing, VariableInvalid}

// PreviewLink is what the unsubscribe link of a preview ends with: a real one
// would let whoever reads the preview act for the contact.
const PreviewLink = "/unsubscribe/preview"

// Preview renders content with what is in scope and, before that, own. A
// placeholder without a value shows its name. An *automations.Error of
// KindInvalid says that the result would be too large.
func (e *Engine) Preview(tx *storage.Tx, content *automations.TemplateContent, scope *automations.Scope, own map[string]json.RawMessage) (*Preview, error) {
	tmpl, err := parseTemplate(content)
	if err != nil {
		return nil, err
	}
	v := &values{tx: tx, tmpl: tmpl, scope: scope, link: e.cfg.BaseURL + PreviewLink, own: func(name string) json.RawMessage { return own[name] }}
	p := &Preview{}
	r, err := tmpl.render(func(at mail.Placeholder) (any, error) { return p.find(v, at) })
	if err != nil {
		return nil, unrendered(err)
	}
	p.Subject, p.HTML, p.Text = r.subject, r.html, r.text
	if p.Text == "" {
		p.Text = mail.TextFromHTML(r.html)
	}
	return p, nil
}

// find is values.of, except that it notes what it finds and always finds
// something.
func (p *Preview) find(v *values, at mail.Placeholder) (any, error) {
	status := VariableUsed
	value, err := v.value(at.Name)
	if err == nil && value == nil {
		status = VariableFilled
		value, err = v.fallback(at)
	}
	noted := PreviewedVariable{Name: at.Name, Status: status, Value: value}
	invalid, isInvalid := errors.AsType[*automations.Error](err)
	switch {
	case isInvalid:
		noted.Status, noted.Value, noted.Reason = VariableInvalid, nil, invalid.Msg
	case err != nil:
		return nil, err
	case value == nil:
		noted.Status, noted.Reason = VariableMissing, (&mail.MissingError{Name: at.Name}).Error()
	}
	p.note(noted)
	if noted.Reason != "" {
		return "{{" + at.Name + "}}", nil
	}
	return value, nil
}

func (p *Preview) note(v PreviewedVariable) {
	i := slices.IndexFunc(p.Variables, func(other PreviewedVariable) bool { return other.Name == v.Name })
	switch {
	case i < 0:
		p.Variables = append(p.Variables, v)
	case slices.Index(variableStatuses, v.Status) > slices.Index(variableStatuses, p.Variables[i].Status):
		p.Variables[i] = v
	}
}
