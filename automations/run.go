package automations

import (
	"encoding/json"
	"time"
)

// RunStatus is where a run stands.
type RunStatus string

// The statuses of a Run. The last four are final.
const (
	RunQueued    RunStatus = "queued"    // due now
	RunRunning   RunStatus = "running"   // its mail is on the way
	RunWaiting   RunStatus = "waiting"   // for a time or an event
	RunCompleted RunStatus = "completed" // its path ended
	RunFailed    RunStatus = "failed"    // a step could not be done; see FailureReason
	RunCancelled RunStatus = "cancelled" // by a person, or because its contact was deleted
	RunSkipped   RunStatus = "skipped"   // nothing was left to do
)

// RunStatuses lists every RunStatus.
func RunStatuses() []RunStatus {
	return []RunStatus{RunQueued, RunRunning, RunWaiting, RunCompleted, RunFailed, RunCancelled, RunSkipped}
}

// Final reports whether a run of this status never moves again by itself.
func (s RunStatus) Final() bool {
	switch s {
	case RunCompleted, RunFailed, RunCancelled, RunSkipped:
		return true
	}
	return false
}

// StepStatus is where one step of a run stands.
type StepStatus string

// The statuses of a step in a run.
const (
	StepPending   StepStatus = "pending"
	StepRunning   StepStatus = "running"
	StepWaiting   StepStatus = "waiting"
	StepCompleted StepStatus = "completed"
	StepFailed    StepStatus = "failed"
	StepSkipped   StepStatus = "skipped"
	StepCancelled StepStatus = "cancelled"
)

// RunRef names a run: runs are stored below their workflow.
type RunRef struct {
	WorkflowID ID `json:"workflow_id"`
	RunID      ID `json:"run_id"`
}

// Run is one contact's way through one revision of a workflow.
type Run struct {
	ID             ID                    `json:"id"`
	WorkflowID     ID                    `json:"workflow_id"`
	Revision       int                   `json:"revision"`
	Status         RunStatus             `json:"status"`
	TriggerEventID ID                    `json:"trigger_event_id"` // the Delivery that started it
	ContactID      ID                    `json:"contact_id"`
	Test           bool                  `json:"test,omitempty"` // as the event that started it: its mail is captured
	CurrentStep    string                `json:"current_step,omitempty"`
	FailedStep     string                `json:"failed_step,omitempty"`
	FailureReason  string                `json:"failure_reason,omitempty"` // also why it was cancelled
	WakeAt         time.Time             `json:"wake_at,omitzero"`         // its row in the wake index; zero when there is none
	EmailID        ID                    `json:"email_id,omitzero"`        // the mail it waits for
	Transitions    int                   `json:"transitions,omitempty"`    // steps entered so far
	Panics         int                   `json:"panics,omitempty"`         // in a row, at the current step
	Steps          map[string]*StepState `json:"steps,omitempty"`          // of the steps reached
	CreatedAt      time.Time             `json:"created_at"`
	StartedAt      time.Time             `json:"started_at,omitzero"`
	CompletedAt    time.Time             `json:"completed_at,omitzero"`
	UpdatedAt      time.Time             `json:"updated_at"`
}

// Ref names the run.
func (r *Run) Ref() RunRef { return RunRef{r.WorkflowID, r.ID} }

// StepState is what happened to one step of a run.
type StepState struct {
	Status       StepStatus      `json:"status"`
	Visit        int             `json:"visit,omitempty"` // 1 when first entered; a retry counts up
	StartedAt    time.Time       `json:"started_at,omitzero"`
	CompletedAt  time.Time       `json:"completed_at,omitzero"`
	ScheduledFor time.Time       `json:"scheduled_for,omitzero"` // when a delay or a timeout is due
	Output       json.RawMessage `json:"output,omitempty"`       // of a wait: the payload of the event that came, below "event"
	Error        string          `json:"error,omitempty"`        // why it failed or was skipped
	Exit         EdgeType        `json:"exit,omitempty"`         // the edge that was taken
}
