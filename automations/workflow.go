package automations

import (
	"encoding/json"
	"time"
)

// WorkflowStatus says whether a workflow starts runs.
type WorkflowStatus string

// The statuses of a Workflow. Only Enabled ones start runs.
const (
	StatusDraft    WorkflowStatus = "draft"    // never enabled
	StatusEnabled  WorkflowStatus = "enabled"  // starts runs
	StatusDisabled WorkflowStatus = "disabled" // enabled once; runs in flight go on
)

// Workflow is the head of an automation: everything but its steps, which
// belong to a revision.
type Workflow struct {
	ID            ID             `json:"id"`
	Name          string         `json:"name"`
	Status        WorkflowStatus `json:"status"`
	Trigger       string         `json:"trigger"` // event name of the current revision's trigger
	Deduplication *Deduplication `json:"deduplication,omitempty"`
	Revision      int            `json:"revision"` // the current one, from 1
	StepCount     int            `json:"step_count"`
	CreatedAt     time.Time      `json:"created_at"`
	UpdatedAt     time.Time      `json:"updated_at"`
}

// Deduplication drops an event that repeats one of the last Window. A nil
// *Deduplication leaves the matter to the door the event comes through.
type Deduplication struct {
	Enabled       bool     `json:"enabled"`
	WindowSeconds int64    `json:"window_seconds"` // 1 s .. 30 days
	Key           []string `json:"key,omitempty"`  // paths whose values make two events different
}

// MaxWindow is the longest deduplication window.
const MaxWindow = 30 * 24 * time.Hour

// Window is how long a repeat is dropped, zero for never; fallback applies
// when nothing is set.
func (d *Deduplication) Window(fallback time.Duration) time.Duration {
	switch {
	case d == nil:
		return fallback
	case !d.Enabled:
		return 0
	}
	return time.Duration(d.WindowSeconds) * time.Second
}

// Revision is one immutable edition of a workflow's steps. A run keeps the
// revision it started with.
type Revision struct {
	WorkflowID ID         `json:"workflow_id"`
	Number     int        `json:"number"`
	Definition Definition `json:"definition"`
	CreatedAt  time.Time  `json:"created_at"`
}

// Definition is what an author writes: steps and how they are connected.
// Compile validates it and makes a Flow of it.
type Definition struct {
	Steps       []Step       `json:"steps"`                 // in position order, the trigger first
	Connections []Connection `json:"connections,omitempty"` // none: steps run in position order
}

// Step is one node of a workflow as its author wrote it.
type Step struct {
	ID       ID              `json:"id"`
	Key      string          `json:"key"` // 1..64 of [A-Za-z0-9_:-], unique in the workflow
	Type     StepType        `json:"type"`
	Config   json.RawMessage `json:"config"` // as given
	Position int             `json:"position"`
}

// StepType says what a step does.
type StepType string

// The step types.
const (
	StepTrigger           StepType = "trigger"
	StepDelay             StepType = "delay"
	StepWaitForEvent      StepType = "wait_for_event"
	StepCondition         StepType = "condition"
	StepSendEmail         StepType = "send_email"
	StepContactUpdate     StepType = "contact_update"
	StepContactDelete     StepType = "contact_delete"
	StepAddToSegment      StepType = "add_to_segment"
	StepRemoveFromSegment StepType = "remove_from_segment"
	StepEnd               StepType = "end"
)

// Connection leads from one step to the next.
type Connection struct {
	From string   `json:"from"`
	To   string   `json:"to"`
	Type EdgeType `json:"type"`
}

// EdgeType says when a connection is taken.
type EdgeType string

// The edge types.
const (
	EdgeDefault   EdgeType = "default"
	EdgeMet       EdgeType = "condition_met"
	EdgeNotMet    EdgeType = "condition_not_met"
	EdgeEventCame EdgeType = "event_received"
	EdgeTimeout   EdgeType = "timeout"
)

// Flow is a compiled Definition: every config decoded and every edge resolved.
// It is immutable and shared by all runs of its revision.
type Flow struct {
	Steps []*FlowStep // in graph order from the trigger
	byKey map[string]*FlowStep
}

// FlowStep is one compiled step. Action is one of *TriggerAction,
// *DelayAction, *WaitAction, *ConditionAction, *SendEmailAction,
// *ContactUpdateAction, *SegmentAction, ContactDeleteAction and EndAction.
type FlowStep struct {
	Step
	Action any
	next   map[EdgeType]string
}

// Step finds a step by key; nil when there is none.
func (f *Flow) Step(key string) *FlowStep { return f.byKey[key] }

// Trigger is the flow's first step.
func (f *Flow) Trigger() *FlowStep { return f.Steps[0] }

// Next is the key of the step that an edge of the type leads to; "" ends the
// path.
func (s *FlowStep) Next(edge EdgeType) string { return s.next[edge] }

// after is the key of the step that an outcome leads to, "" when the run ends
// there. A wait without an edge of its own for the outcome follows its default
// edge.
func (s *FlowStep) after(exit EdgeType) string {
	if s.next[exit] == "" && s.Type == StepWaitForEvent {
		return s.next[EdgeDefault]
	}
	return s.next[exit]
}

// The typed configs of the step types.
type (
	// TriggerAction starts a run when an event of the name arrives and the
	// conditions, if any, hold.
	TriggerAction struct {
		EventName  string
		Conditions *Match // nil always holds
	}
	// DelayAction waits for a fixed time.
	DelayAction struct{ Duration time.Duration }
	// WaitAction waits for an event of the run's contact.
	WaitAction struct {
		EventName string
		Timeout   time.Duration // zero waits for ever
		Filter    *Match        // nil accepts every such event
	}
	// ConditionAction branches.
	ConditionAction struct{ Match *Match }
	// SendEmailAction sends a stored template or the inline content.
	SendEmailAction struct {
		Template  string           // id or alias; "" when the content is inline
		Variables map[string]Value // values for the template's variables
		From      string           // overrides the template's; may be empty
		Subject   string           // overrides the template's; required when inline
		ReplyTo   []string
		HTML      string // inline
		Text      string // inline
		TopicID   ID     // contacts that do not want the topic are skipped; zero for none
	}
	// ContactUpdateAction changes the run's contact. A nil field stays.
	ContactUpdateAction struct {
		Email, FirstName, LastName, Unsubscribed *Value
		Properties                               map[string]Value
	}
	// SegmentAction adds the contact to a segment, or removes it from there.
	SegmentAction struct {
		SegmentID ID
		Remove    bool
	}
	// ContactDeleteAction deletes the contact and ends the run.
	ContactDeleteAction struct{}
	// EndAction ends the run.
	EndAction struct{}
)

// Value is a literal JSON value or a reference into the run's scope.
type Value struct {
	Literal json.RawMessage
	Var     string // such as "event.plan"; "" when Literal counts
}
