package server

import (
	"encoding/json"
	"time"

	"github.com/opensend/opensend/automations"
)

// wireRun is a run in lists.
type wireRun struct {
	Object         string         `json:"object"`
	ID             automations.ID `json:"id"`
	AutomationID   automations.ID `json:"automation_id"`
	Status         string         `json:"status"`
	StartedAt      wireTime       `json:"started_at"`
	CompletedAt    wireTime       `json:"completed_at"`
	DurationMS     *int64         `json:"duration_ms"`
	CurrentStepKey *string        `json:"current_step_key"`
	FailedStepKey  *string        `json:"failed_step_key"`
	FailureReason  *string        `json:"failure_reason"`
	NextStepAt     wireTime       `json:"next_step_at"`
	Test           bool           `json:"test"`
	CreatedAt      wireTime       `json:"created_at"`
	UpdatedAt      wireTime       `json:"updated_at"`
}

func renderRun(r *request, run *automations.Run) wireRun {
	w := wireRun{
		Object: "automation_run", ID: run.ID, AutomationID: run.WorkflowID, Status: runStatus(r, run.Status),
		StartedAt: wireTime(run.StartedAt), CompletedAt: wireTime(run.CompletedAt),
		CurrentStepKey: orNull(run.CurrentStep), FailedStepKey: orNull(run.FailedStep), FailureReason: orNull(run.FailureReason),
		NextStepAt: wireTime(run.WakeAt), Test: run.Test, CreatedAt: wireTime(run.CreatedAt), UpdatedAt: wireTime(run.UpdatedAt),
	}
	if !run.CompletedAt.IsZero() && !run.StartedAt.IsZero() {
		ms := run.CompletedAt.Sub(run.StartedAt).Milliseconds()
		w.DurationMS = &ms
	}
	return w
}

// wireRunDetail is a run by itself.
type wireRunDetail struct {
	wireRun
	Revision       int                      `json:"revision"`
	TriggerEventID automations.ID           `json:"trigger_event_id"`
	ContactID      automations.ID           `json:"contact_id"`
	StepStates     map[string]wireStepState `json:"step_states"`
	Steps          []wireRunStep            `json:"steps"` // in graph order, as Resend's clients read them
}

// wireStepState is a step of a run in OpenSend's words.
type wireStepState struct {
	Status       automations.StepStatus `json:"status"`
	StartedAt    wireTime               `json:"startedAt"`
	CompletedAt  wireTime               `json:"completedAt"`
	ScheduledFor wireTime               `json:"scheduledFor"`
	Output       json.RawMessage        `json:"output"`
	Error        *string                `json:"error"`
}

// wireRunStep is a step of a run in Resend's words.
type wireRunStep struct {
	Key         string                 `json:"key"`
	Type        automations.StepType   `json:"type"`
	Status      automations.StepStatus `json:"status"`
	Output      json.RawMessage        `json:"output"`
	Error       *wireStepError         `json:"error"`
	StartedAt   wireTime               `json:"started_at"`
	CompletedAt wireTime               `json:"completed_at"`
	CreatedAt   wireTime               `json:"created_at"`
}

type wireStepError struct {
	Message string `json:"message"`
}

func renderRunDetail(r *request, run *automations.Run, flow *automations.Flow) wireRunDetail {
	w := wireRunDetail{
		wireRun: renderRun(r, run), Revision: run.Revision, TriggerEventID: run.TriggerEventID, ContactID: run.ContactID,
		StepStates: make(map[string]wireStepState, len(flow.Steps)), Steps: make([]wireRunStep, 0, len(flow.Steps)),
	}
	for _, s := range flow.Steps {
		st := run.StateOf(s.Key)
		output := objectOr(st.Output, "null")
		w.StepStates[s.Key] = wireStepState{
			Status: st.Status, StartedAt: wireTime(st.StartedAt), CompletedAt: wireTime(st.CompletedAt),
			ScheduledFor: wireTime(st.ScheduledFor), Output: output, Error: orNull(st.Error),
		}
		step := wireRunStep{
			Key: s.Key, Type: s.Type, Status: st.Status, Output: output,
			StartedAt: wireTime(st.StartedAt), CompletedAt: wireTime(st.CompletedAt), CreatedAt: wireTime(firstTime(st.StartedAt, run.CreatedAt)),
		}
		if st.Error != "" {
			step.Error = &wireStepError{st.Error}
		}
		w.Steps = append(w.Steps, step)
	}
	return w
}

func firstTime(times ...time.Time) time.Time {
	for _, t := range times {
		if !t.IsZero() {
			return t
		}
	}
	return time.Time{}
}
