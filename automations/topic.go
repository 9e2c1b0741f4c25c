package automations

import "time"

// Subscription is a contact's choice for a topic.
type Subscription string

// The subscriptions.
const (
	OptIn  Subscription = "opt_in"
	OptOut Subscription = "opt_out"
)

// Subscriptions lists every Subscription.
func Subscriptions() []Subscription { return []Subscription{OptIn, OptOut} }

// Topic is a kind of mail that contacts can choose to get or not.
type Topic struct {
	ID          ID           `json:"id"`
	Name        string       `json:"name"`
	Description string       `json:"description,omitempty"`
	Default     Subscription `json:"default"` // of contacts that have not chosen; never changes
	CreatedAt   time.Time    `json:"created_at"`
}

// Subscription is what the contact has chosen for the topic, or its default.
func (t *Topic) Subscription(c *Contact) Subscription {
	if chosen, ok := c.Topics[t.ID]; ok {
		return chosen
	}
	return t.Default
}
