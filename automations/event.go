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

// Delivery is a stored event. It is written once, in the transaction that
// acknowledges it, together with what was decided about it.
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

// Reason says what an event did to one workflow.
type Reason string

// The reasons of a Verdict. For a run that waits for the event,
// ConditionsNotMet means that the wait's filter said no.
const (
	Started          Reason = "started"            // a run was started
	Resumed          Reason = "resumed"            // a run that waited for the event goes on
	Kept             Reason = "kept"               // a run keeps the event for a wait that it has not reached
	Deduplicated     Reason = "deduplicated"       // the same event started a run a moment ago
	ConditionsNotMet Reason = "conditions_not_met" // the trigger's conditions said no
	Disabled         Reason = "disabled"           // the workflow is not enabled
	Unmatched        Reason = "unmatched"          // no workflow has this trigger
	NearMiss         Reason = "near_miss"          // a trigger differs by case or one edit
	ContactMissing   Reason = "contact_missing"    // the contact was deleted meanwhile
	ReentryBlocked   Reason = "reentry_blocked"    // the contact is in this workflow already
	TooMany          Reason = "too_many"           // one run more would make an event hold up everybody; see engine.MaxFanOut
)

// Reasons lists every Reason, in the order of the documentation.
func Reasons() []Reason {
	return []Reason{Started, Resumed, Kept, Deduplicated, ConditionsNotMet, Disabled, Unmatched, NearMiss, ContactMissing, ReentryBlocked, TooMany}
}

// Verdict is what was decided about one event for one workflow, and why.
type Verdict struct {
	Reason        Reason       `json:"reason"`
	WorkflowID    ID           `json:"workflow_id,omitzero"` // zero only for Unmatched
	RunID         ID           `json:"run_id,omitzero"`      // the run Started, Resumed or waiting
	StepKey       string       `json:"step_key,omitempty"`   // the wait, where the run has one for this event
	Trigger       string       `json:"trigger,omitempty"`    // the trigger a NearMiss came close to
	OriginalID    ID           `json:"original_id,omitzero"` // the delivery a Deduplicated one repeats
	WindowSeconds int64        `json:"window_seconds,omitempty"`
	Compared      []Comparison `json:"compared,omitempty"` // the rules evaluated, with the values they saw
}

// Listens reports whether the verdict shows that something listened to the
// event: an enabled workflow with its trigger, or a run with a wait for it.
func (v Verdict) Listens() bool {
	switch v.Reason {
	case Started, Resumed, Kept, Deduplicated, ConditionsNotMet, ReentryBlocked, TooMany:
		return true
	}
	return false
}

// EventType is a named event with an optional schema for its payload.
type EventType struct {
	ID        ID              `json:"id"`
	Name      string          `json:"name"`
	Schema    json.RawMessage `json:"schema,omitempty"` // as given; nil accepts any object
	CreatedAt time.Time       `json:"created_at"`
	UpdatedAt time.Time       `json:"updated_at"`
}
