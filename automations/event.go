package automations

import (
	"encoding/json"
	"time"
)

// Event is what a caller sends: something happened to one contact.
// Exactly one of ContactID and Email is set.
type Event struct {
	Name       string          // kept as sent; 1..255 characters
	ContactID  ID              // zero when Email names the contact
	Email      string          // as NormalizeEmail returns it
	Payload    json.RawMessage // a compact JSON object, never nil
	OccurredAt time.Time       // when the caller says it happened; zero when it does not say
	// Test says that the event came with a test key: mail of the runs that it
	// starts is captured, also when other mail is sent. Test and live events
	// have nothing to do with each other's runs and deduplication windows.
	Test   bool
	Intake Intake
}

// Intake is how the door an event came through wants it treated.
type Intake struct {
	// FoldCase matches the event's name to triggers and waits without case.
	FoldCase bool
	// DefaultWindow deduplicates for workflows that set nothing; zero does not.
	DefaultWindow time.Duration
	// MustMatch creates no contact when nothing listens to the event.
	MustMatch bool
}

// Delivery is a stored event. It is written in the transaction that acknowledges
// it, together with what was decided about it. What is added later is that a run
// which failed and goes on keeps it.
type Delivery struct {
	ID         ID              `json:"id"`
	Event      string          `json:"event"`
	ContactID  ID              `json:"contact_id,omitzero"` // zero when nothing listened and the door makes no contact then
	Email      string          `json:"email,omitempty"`     // empty once the contact is erased
	Payload    json.RawMessage `json:"payload"`
	Test       bool            `json:"test,omitempty"` // see Event
	ReceivedAt time.Time       `json:"received_at"`
	OccurredAt time.Time       `json:"occurred_at,omitzero"`
	Verdicts   []Verdict       `json:"verdicts,omitempty"`
}

// EventType is a named event with an optional schema for its payload.
type EventType struct {
	ID        ID              `json:"id"`
	Name      string          `json:"name"`
	Schema    json.RawMessage `json:"schema,omitempty"` // as given; nil accepts any object
	CreatedAt time.Time       `json:"created_at"`
	UpdatedAt time.Time       `json:"updated_at"`
}
