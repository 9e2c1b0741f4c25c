package automations

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"
)

// Contact is one person who is written to, identified by address.
// The JSON form of this and the other nouns is how exports have them, and how the
// file stores most; what clients see is rendered by the server.
type Contact struct {
	ID           ID                         `json:"id"`
	Email        string                     `json:"email"` // as NormalizeEmail returns it; unique
	FirstName    string                     `json:"first_name,omitempty"`
	LastName     string                     `json:"last_name,omitempty"`
	Unsubscribed bool                       `json:"unsubscribed,omitempty"`
	Properties   map[string]json.RawMessage `json:"properties,omitempty"`
	Segments     []ID                       `json:"segments,omitempty"`
	Topics       map[ID]Subscription        `json:"topics,omitempty"` // what it has chosen
	CreatedAt    time.Time                  `json:"created_at"`
	UpdatedAt    time.Time                  `json:"updated_at"`
}

// Clone copies c so that the copy can be changed alone.
func (c *Contact) Clone() *Contact {
	d := *c
	d.Segments, d.Topics = slices.Clone(c.Segments), maps.Clone(c.Topics)
	d.Properties = make(map[string]json.RawMessage, len(c.Properties))
	for k, v := range c.Properties {
		d.Properties[k] = v
	}
	return &d
}

// SetProperty merges one property: a JSON null, or nothing, removes it.
func (c *Contact) SetProperty(name string, value json.RawMessage) {
	if len(value) == 0 || string(value) == "null" {
		delete(c.Properties, name)
		return
	}
	if c.Properties == nil {
		c.Properties = map[string]json.RawMessage{}
	}
	c.Properties[name] = value
}

// PropertyValue is the value that people mean by a text: itself if it is a
// number, true, false, null or a quoted text in JSON, and a text otherwise.
func PropertyValue(text string) json.RawMessage {
	if json.Valid([]byte(text)) && !strings.ContainsAny(text[:1], "{[ \t\r\n") {
		return json.RawMessage(text)
	}
	return QuoteText(text)
}

// QuoteText is a text in JSON.
func QuoteText(text string) json.RawMessage {
	raw, _ := EncodeJSON(text) // every text can be written
	return raw
}

// PropertyText is a text by which PropertyValue means the value, where there is
// one: lists and objects are none.
func PropertyText(value json.RawMessage) string {
	var text string
	if json.Unmarshal(value, &text) == nil && string(PropertyValue(text)) == string(value) {
		return text
	}
	return string(value)
}

// Limits of contacts.
const (
	maxPersonName    = 255 // characters
	maxPropertyName  = 100 // bytes
	maxPropertyBytes = 4 << 10
	maxProperties    = 200
)

// Check notes in p what of the contact's names and properties is too long, too
// many, or would break the header of a mail.
func (c *Contact) Check(p *Problems) {
	CheckText(p, "first_name", c.FirstName, maxPersonName)
	CheckText(p, "last_name", c.LastName, maxPersonName)
	for name, value := range c.Properties {
		if len(name) == 0 || len(name) > maxPropertyName || len(value) > maxPropertyBytes {
			p.Add("", "properties", "a property has a name of 1 to %d bytes and a value of at most %d", maxPropertyName, maxPropertyBytes)
			break
		}
	}
	if len(c.Properties) > maxProperties {
		p.Add("", "properties", "a contact may have %d properties", maxProperties)
	}
}

// Segment is a named group of contacts.
type Segment struct {
	ID        ID        `json:"id"`
	Name      string    `json:"name"`
	CreatedAt time.Time `json:"created_at"`
}

// ContactProperty declares a property of contacts: its type, and what mail
// says for contacts that do not have it. Properties need not be declared.
type ContactProperty struct {
	ID        ID              `json:"id"`
	Key       string          `json:"key"`                // [A-Za-z0-9_]{1,50}; unique, never changes
	Type      string          `json:"type"`               // string or number; never changes
	Fallback  json.RawMessage `json:"fallback,omitempty"` // of the type; nil for none
	CreatedAt time.Time       `json:"created_at"`
}

// Check notes in p when a value is not of the property's type.
func (cp *ContactProperty) Check(p *Problems, path string, value json.RawMessage) {
	isText := isKind(value, '"')
	switch {
	case cp.Type == "number" && !isNumber(string(value)):
		p.Add("contact_property_type_mismatch", path, "%s must be a number", path)
	case cp.Type == "string" && !isText:
		p.Add("contact_property_type_mismatch", path, "%s must be a string", path)
	}
}

// ReadContactProperty reads the declaration of a property.
func ReadContactProperty(f Fields, p *Problems) *ContactProperty {
	f.Unknown(p, "key", "type", "fallback_value", "fallbackValue")
	cp := &ContactProperty{Key: f.String(p, "key"), Type: f.String(p, "type")}
	for _, name := range []string{"key", "type"} {
		if !f.Has(name) {
			p.Missing("", name)
		}
	}
	if f.Has("key") && !variableKey.MatchString(cp.Key) {
		p.Add("", "key", "a key has 1 to 50 letters, digits and underscores")
	}
	if f.Has("type") && cp.Type != "string" && cp.Type != "number" {
		p.Add("", "type", "type must be string or number")
	}
	cp.ReadFallback(f, p)
	return cp
}

// ReadFallback reads fallback_value; null and nothing are none.
func (cp *ContactProperty) ReadFallback(f Fields, p *Problems) {
	cp.Fallback = nil
	if raw := f.Raw("fallback_value", "fallbackValue"); raw != nil {
		cp.Fallback = CompactJSON(raw)
		cp.Check(p, "fallback_value", cp.Fallback)
	}
}
