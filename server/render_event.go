package server

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/engine"
)

// wireDelivery is a stored event in the answer to who sent it.
type wireDelivery struct {
	Object     string          `json:"object"`
	ID         automations.ID  `json:"id"`
	Event      string          `json:"event"`
	ContactID  *automations.ID `json:"contact_id"`
	Email      *string         `json:"email"`
	Payload    json.RawMessage `json:"payload"`
	Test       bool            `json:"test,omitempty"`
	ReceivedAt wireTime        `json:"received_at"`
}

func renderDelivery(d *automations.Delivery) wireDelivery {
	return wireDelivery{
		Object: "event_delivery", ID: d.ID, Event: d.Event, ContactID: idOrNull(d.ContactID), Email: orNull(d.Email),
		Payload: objectOr(d.Payload, "{}"), Test: d.Test, ReceivedAt: wireTime(d.ReceivedAt),
	}
}

// wireReceipt is the 202 of OpenSend's Send Custom Event.
type wireReceipt struct {
	Object         string            `json:"object"`
	Event          string            `json:"event"`
	Delivery       wireDelivery      `json:"delivery"`
	ResumedRuns    []wireRun         `json:"resumed_runs"`
	AutomationRuns []wireRun         `json:"automation_runs"`
	Deduplicated   []wireDeduplicate `json:"deduplicated,omitempty"`
}

type wireDeduplicate struct {
	AutomationID       automations.ID `json:"automation_id"`
	OriginalDeliveryID automations.ID `json:"original_delivery_id"`
	WindowSeconds      int64          `json:"window_seconds"`
}

func renderReceipt(r *request, receipt *engine.Receipt) wireReceipt {
	w := wireReceipt{
		Object: "event_delivery", Event: receipt.Delivery.Event, Delivery: renderDelivery(receipt.Delivery),
		ResumedRuns: renderRuns(r, receipt.Resumed), AutomationRuns: renderRuns(r, receipt.Started),
	}
	for _, v := range receipt.Delivery.Verdicts {
		if v.Reason == automations.Deduplicated {
			w.Deduplicated = append(w.Deduplicated, wireDeduplicate{v.WorkflowID, v.OriginalID, v.WindowSeconds})
		}
	}
	return w
}

func renderRuns(r *request, runs []*automations.Run) []wireRun {
	out := make([]wireRun, len(runs))
	for i, run := range runs {
		out[i] = renderRun(r, run)
	}
	return out
}

// The answers of MailDiver's Send event.
type (
	wireProcessed struct {
		Status    string         `json:"status"`
		EventID   automations.ID `json:"event_id"`
		Timestamp wireTime       `json:"timestamp"`
	}
	wireDeduplicated struct {
		Status          string         `json:"status"`
		OriginalEventID automations.ID `json:"original_event_id"`
		Timestamp       wireTime       `json:"timestamp"`
		WindowSeconds   int64          `json:"deduplication_window_seconds"`
	}
	wireNoWorkflows struct {
		Error     string `json:"error"`
		Message   string `json:"message"`
		EventName string `json:"event_name"`
	}
)

// renderProcessed is MailDiver's answer to an event: deduplicated when every
// workflow that would have started dropped it and nothing was resumed.
func renderProcessed(receipt *engine.Receipt) (int, any) {
	d := receipt.Delivery
	if !receipt.Listened() {
		return http.StatusNotFound, wireNoWorkflows{"NO_WORKFLOWS_FOUND", fmt.Sprintf("No active workflows configured for event '%s'", d.Event), d.Event}
	}
	var longest *automations.Verdict
	for i, v := range d.Verdicts {
		if v.Reason == automations.Deduplicated && (longest == nil || v.WindowSeconds > longest.WindowSeconds) {
			longest = &d.Verdicts[i]
		}
	}
	if longest != nil && len(receipt.Started)+len(receipt.Resumed) == 0 {
		return http.StatusOK, wireDeduplicated{"deduplicated", longest.OriginalID, wireTime(d.ReceivedAt), longest.WindowSeconds}
	}
	return http.StatusOK, wireProcessed{"processed", d.ID, wireTime(d.ReceivedAt)}
}

// wireVerdict is what was decided about an event for one automation.
type wireVerdict struct {
	Verdict            automations.Reason       `json:"verdict"`
	AutomationID       *automations.ID          `json:"automation_id"`
	RunID              *automations.ID          `json:"run_id"`
	StepKey            *string                  `json:"step_key"`
	TriggerEventName   *string                  `json:"trigger_event_name"`
	OriginalDeliveryID *automations.ID          `json:"original_delivery_id"`
	WindowSeconds      *int64                   `json:"window_seconds"`
	Compared           []automations.Comparison `json:"compared"`
}

// wireStoredDelivery is a stored event with its verdicts.
type wireStoredDelivery struct {
	wireDelivery
	OccurredAt wireTime      `json:"occurred_at"`
	Verdicts   []wireVerdict `json:"verdicts"`
}

func renderStoredDelivery(d *automations.Delivery) wireStoredDelivery {
	w := wireStoredDelivery{wireDelivery: renderDelivery(d), OccurredAt: wireTime(d.OccurredAt), Verdicts: make([]wireVerdict, len(d.Verdicts))}
	for i, v := range d.Verdicts {
		w.Verdicts[i] = wireVerdict{
			Verdict: v.Reason, AutomationID: idOrNull(v.WorkflowID), RunID: idOrNull(v.RunID), StepKey: orNull(v.StepKey),
			TriggerEventName: orNull(v.Trigger), OriginalDeliveryID: idOrNull(v.OriginalID), Compared: v.Compared,
		}
		if v.WindowSeconds > 0 {
			w.Verdicts[i].WindowSeconds = &d.Verdicts[i].WindowSeconds
		}
		if v.Compared == nil {
			w.Verdicts[i].Compared = []automations.Comparison{}
		}
	}
	return w
}
