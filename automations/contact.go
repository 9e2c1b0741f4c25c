package automations

import (
	"encoding/json"
	"maps"
	"slices"
	"time"
)

// Contact is one person who is written to, identified by address.
// The JSON form of this and the other nouns is how the file stores them; what
// clients see is rendered by the server.
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

// Segment is a named group of contacts.
type Segment struct {
	ID        ID        `json:"id"`
	Name      string    `json:"name"`
	CreatedAt time.Time `json:"created_at"`
}
