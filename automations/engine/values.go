package engine

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/mail"
	"github.com/opensend/opensend/storage"
)

// values is where the placeholders of one mail find what they stand for.
type values struct {
	tx    *storage.Tx
	tmpl  *template
	scope *automations.Scope
	link  string                       // where the recipient unsubscribes; empty where there is nothing to unsubscribe from
	own   func(string) json.RawMessage // what the step or the request sets; nothing and null are absent
}

// of is the value of a placeholder, or its fallback; nil when it has neither.
// The error is that the value is not of the type that was declared.
func (v *values) of(p mail.Placeholder) (any, error) {
	value, err := v.value(p.Name)
	if err == nil && value == nil {
		value, err = v.fallback(p)
	}
	return value, err
}

// value looks where a name can be meant: what is set for this mail, the
// reserved names, and what is in scope.
func (v *values) value(name string) (any, error) {
	value, err := automations.DecodeValue(v.own(name))
	if err != nil {
		return nil, err
	}
	if value == nil {
		value = v.reserved(name)
	}
	if value == nil {
		value, _ = v.scope.Lookup(name)
	}
	return v.typed(name, value)
}

// reserved is the value of the program's own names; nil when it is not known.
func (v *values) reserved(name string) any {
	text := ""
	switch c := v.scope.Contact; {
	case name == "RESEND_UNSUBSCRIBE_URL" || name == "OPENSEND_UNSUBSCRIBE_URL":
		text = v.link
	case c == nil:
	case name == "FIRST_NAME":
		text = c.FirstName
	case name == "LAST_NAME":
		text = c.LastName
	case name == "EMAIL":
		text = c.Email
	}
	if text == "" {
		return nil
	}
	return text
}

// fallback is what stands for an absent value: what the placeholder says, else
// what the variable's declaration says, else that of the contact's property.
func (v *values) fallback(p mail.Placeholder) (any, error) {
	if p.HasFallback {
		if declared := v.tmpl.variables[p.Name]; declared != nil && declared.Type == automations.VariableHTML {
			return mail.Markup(p.Fallback), nil
		}
		return p.Fallback, nil
	}
	if declared := v.tmpl.variables[p.Name]; declared != nil {
		value, err := automations.DecodeValue(declared.Fallback)
		if err == nil {
			value, err = v.typed(p.Name, value)
		}
		if value != nil || err != nil {
			return value, err
		}
	}
	return v.propertyFallback(p.Name)
}

// propertyFallback is what the declaration of a contact's property says for
// contacts without it.
func (v *values) propertyFallback(path string) (any, error) {
	key, ok := strings.CutPrefix(strings.Replace(path, "contact.custom_properties.", "contact.properties.", 1), "contact.properties.")
	if !ok {
		return nil, nil
	}
	declared, err := v.tx.ContactPropertyByKey(key)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return automations.DecodeValue(declared.Fallback)
}

// typed holds a value to the type that the variable was declared with.
func (v *values) typed(name string, value any) (any, error) {
	declared := v.tmpl.variables[name]
	if declared == nil || value == nil || !v.tmpl.declared {
		return value, nil
	}
	if err := declared.Check(value); err != nil {
		return nil, err
	}
	if declared.Type == automations.VariableHTML {
		return mail.Markup(value.(string)), nil
	}
	return value, nil
}
