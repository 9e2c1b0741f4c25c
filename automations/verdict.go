package automations

import "fmt"

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
	TooMany          Reason = "too_many"           // one run more would make an event hold up everybody, see engine.MaxFanOut; or a run keeps storage.MaxArrivals events
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

// Words say what the verdict is and why, for people. A reason that this program
// does not know is said as it is.
func (v Verdict) Words() string {
	switch v.Reason {
	case Started:
		return "started run " + v.RunID.String()
	case Resumed:
		return fmt.Sprintf("run %s waited for it at step %q and goes on", v.RunID, v.StepKey)
	case Kept:
		return fmt.Sprintf("kept for run %s, which has yet to reach the wait for it at step %q", v.RunID, v.StepKey)
	case Deduplicated:
		return fmt.Sprintf("dropped: it repeats event %s within %d seconds", v.OriginalID, v.WindowSeconds)
	case ConditionsNotMet:
		if v.RunID != (ID{}) {
			return fmt.Sprintf("run %s waits on at step %q: the filter does not match", v.RunID, v.StepKey)
		}
		return "started nothing: the conditions of the trigger are not met"
	case Disabled:
		return "started nothing: it is not enabled"
	case Unmatched:
		return "No automation has this event as its trigger, and no run waits for it."
	case NearMiss:
		return fmt.Sprintf("started nothing: its trigger is %q, which is nearly this name", v.Trigger)
	case ContactMissing:
		return "started nothing: the contact was deleted meanwhile"
	case ReentryBlocked:
		return "started nothing: the contact is in it already"
	case TooMany:
		if v.RunID != (ID{}) {
			return fmt.Sprintf("not kept for run %s, which has yet to reach the wait for it at step %q: the run keeps as many events as it may already", v.RunID, v.StepKey)
		}
		return "started nothing: as many runs as one event may start or resume are there already"
	}
	return string(v.Reason)
}

// Words say which rule was evaluated, and what it saw.
func (c Comparison) Words() string {
	rule, outcome, actual := c.Field+" "+c.Operator, "not met", string(c.Actual)
	if c.Expected != nil {
		rule += " " + string(c.Expected)
	}
	if c.Held {
		outcome = "met"
	}
	if c.Actual == nil {
		actual = "missing"
	}
	return fmt.Sprintf("%s: %s, it is %s", rule, outcome, actual)
}
