package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// runPage is one run, step by step.
type runPage struct {
	*automations.Run
	Automation string
	Contact    *automations.Contact // nil when it was deleted
	Trigger    string               // name of the event that started it; "" when it was erased
	Timeline   []runStep
	Awaits     string // the event that it waits for; "" when it waits for none
	Waits      bool   // for a time or an event
	Retries    bool   // it can be tried again
	Payload    string // of the event to fire, as it was typed
}

// runStep is a step of a run: what happened, or what is to come.
type runStep struct {
	Key           string
	Type          automations.StepType
	Title, Detail string
	State         automations.StepState
	Email         *automations.ID
	Awaits        string // while it waits for an event
	Current       bool
	Off           bool      // the run does not come by any more
	Due           time.Time // when a step to come is due; zero when that is not known
	AtLatest      bool      // it may be due earlier
}

func (v *visit) run() (any, error) {
	var page runPage
	err := v.read(func(tx *storage.Tx) (err error) {
		page, err = readRun(tx, v.runRef())
		return err
	})
	return page, err
}

func (v *visit) runRef() automations.RunRef {
	return automations.RunRef{WorkflowID: v.pathID("workflow"), RunID: v.pathID("run")}
}

func readRun(tx *storage.Tx, ref automations.RunRef) (page runPage, err error) {
	row, err := tx.Run(ref)
	if err != nil {
		return page, err
	}
	revision, err := tx.Revision(row.WorkflowID, row.Revision)
	if err != nil {
		return page, err
	}
	flow, err := automations.Compile(revision.Definition)
	if err != nil {
		return page, err
	}
	page = runPage{Run: row.Run, Automation: workflowName(tx, row.WorkflowID), Payload: "{}"}
	if page.Contact, err = tx.Contact(row.ContactID); err != nil && !errors.Is(err, storage.ErrNotFound) {
		return page, err
	}
	if d, err := tx.Delivery(row.TriggerEventID); err == nil {
		page.Trigger = d.Event
	} else if !errors.Is(err, storage.ErrNotFound) {
		return page, err
	}
	names, err := readNames(tx, revision.Definition)
	if err != nil {
		return page, err
	}
	to := forecast(flow, row.Run)
	for _, step := range flow.Steps {
		page.Timeline = append(page.Timeline, newRunStep(step, row.Run, to, names))
	}
	if st := row.Steps[row.CurrentStep]; row.Status == automations.RunWaiting && st != nil && st.Status == automations.StepWaiting {
		page.Waits = true
		if wait, ok := flow.Step(row.CurrentStep).Action.(*automations.WaitAction); ok {
			page.Awaits = wait.EventName
		}
	}
	page.Retries, err = canRetry(tx, row.Run)
	return page, err
}

// canRetry reports whether a run failed, or waits for mail that is unconfirmed.
func canRetry(tx *storage.Tx, run *automations.Run) (bool, error) {
	if run.Status == automations.RunFailed {
		return true, nil
	}
	if run.EmailID == (automations.ID{}) {
		return false, nil
	}
	email, err := tx.Email(run.EmailID)
	if errors.Is(err, storage.ErrNotFound) {
		return false, nil
	}
	return err == nil && email.Status == automations.EmailUnconfirmed, err
}

func newRunStep(step *automations.FlowStep, run *automations.Run, to map[string]expected, names flowNames) runStep {
	shown := runStep{Key: step.Key, Type: step.Type, State: run.StateOf(step.Key), Current: step.Key == run.CurrentStep}
	shown.Title, shown.Detail = stepWords(step.Step, names)
	var output struct {
		EmailID *automations.ID `json:"email_id"`
	}
	if json.Unmarshal(shown.State.Output, &output) == nil {
		shown.Email = output.EmailID
	}
	if shown.Email == nil && shown.Current && run.EmailID != (automations.ID{}) {
		shown.Email = &run.EmailID
	}
	if wait, ok := step.Action.(*automations.WaitAction); ok && shown.State.Status == automations.StepWaiting {
		shown.Awaits = wait.EventName
	}
	if shown.State.Status == automations.StepPending && !shown.Current {
		coming, reached := to[step.Key]
		shown.Off, shown.Due, shown.AtLatest = !reached, coming.at, coming.atLatest
	}
	return shown
}

// expected is when a step is due.
type expected struct {
	at       time.Time // zero when nobody can tell
	atLatest bool
}

// forecast tells which steps the run may still come to, and when.
func forecast(flow *automations.Flow, run *automations.Run) map[string]expected {
	to := map[string]expected{}
	if run.Status.Final() {
		return to
	}
	for _, step := range flow.Steps { // each after all that lead to it
		begun, coming := to[step.Key]
		var leaves expected
		switch st := run.Steps[step.Key]; {
		case step.Key == run.CurrentStep && st != nil && !st.ScheduledFor.IsZero():
			leaves = expected{st.ScheduledFor, step.Type == automations.StepWaitForEvent}
		case step.Key == run.CurrentStep && step.Type == automations.StepWaitForEvent:
		case step.Key == run.CurrentStep:
			leaves = expected{run.UpdatedAt, false}
			if !run.WakeAt.IsZero() {
				leaves.at = run.WakeAt
			}
			leaves = leaves.through(step)
		case coming:
			leaves = begun.through(step)
		default:
			continue
		}
		for _, edge := range automations.EdgeTypes() {
			next := step.Next(edge)
			if next == "" || run.Steps[next] != nil && run.Steps[next].Status != automations.StepPending {
				continue
			}
			before, known := to[next]
			switch {
			case !known:
				to[next] = leaves
			case before.at.IsZero() || leaves.at.IsZero():
				to[next] = expected{}
			case !before.at.Equal(leaves.at):
				to[next] = expected{later(before.at, leaves.at), true}
			}
		}
	}
	return to
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// through is when a step is left that is entered then.
func (e expected) through(step *automations.FlowStep) expected {
	switch action := step.Action.(type) {
	case *automations.DelayAction:
		if !e.at.IsZero() {
			e.at = e.at.Add(action.Duration)
		}
	case *automations.WaitAction:
		if e.atLatest = true; action.Timeout == 0 {
			return expected{}
		}
		if !e.at.IsZero() {
			e.at = e.at.Add(action.Timeout)
		}
	}
	return e
}

// changeRun does something to a run that its page has a button for.
func (v *visit) changeRun(action string, body any, notice string) (any, error) {
	ref := v.runRef()
	err := v.call(http.MethodPost, runPath(ref)+action, body, nil)
	if problemOf(err) != nil {
		return v.refuseRun(ref, err, "{}")
	}
	return redirect{v.runPage(ref), notice}, err
}

func (v *visit) runPage(ref automations.RunRef) string {
	return home + "/runs/" + ref.WorkflowID.String() + "/" + ref.RunID.String()
}

// refuseRun shows a run's page again with what is wrong.
func (v *visit) refuseRun(ref automations.RunRef, refusal error, payload string) (any, error) {
	page, err := v.run()
	if err != nil {
		return nil, err
	}
	shown := page.(runPage)
	shown.Payload = payload
	return refused{shown, refusal}, nil
}

func (v *visit) cancelRun() (any, error) { return v.changeRun("/cancel", nil, "The run is cancelled.") }

func (v *visit) retryRun() (any, error) {
	return v.changeRun("/retry", nil, "The step is tried again.")
}

func (v *visit) skipWait() (any, error) {
	return v.changeRun("/skip-wait", nil, "The wait is over: the run goes on as if its time had come.")
}

// fireEvent posts the event that a run waits for, for the run's contact.
func (v *visit) fireEvent() (any, error) {
	ref := v.runRef()
	var page runPage
	err := v.read(func(tx *storage.Tx) (err error) {
		page, err = readRun(tx, ref)
		return err
	})
	if err != nil {
		return nil, err
	}
	payload := v.PostFormValue("payload")
	if page.Awaits == "" {
		return v.refuseRun(ref, automations.Errorf(automations.KindConflict, "", "the run does not wait for an event any more"), payload)
	}
	object, err := automations.DecodeObject([]byte(payload))
	if err != nil {
		return v.refuseRun(ref, err, payload)
	}
	body := encodeJSON(map[string]any{"event": page.Awaits, "contact_id": page.ContactID, "payload": object})
	var sent struct {
		Resumed  []struct{ ID automations.ID } `json:"resumed_runs"`
		Delivery struct{ ID automations.ID }
	}
	headers := []string{}
	if page.Test {
		headers = []string{testHeader, "true"}
	}
	err = v.send(http.MethodPost, "/events/send", "application/json", body, &sent, headers...)
	if problemOf(err) != nil {
		return v.refuseRun(ref, err, payload)
	}
	if err != nil {
		return nil, err
	}
	for _, run := range sent.Resumed {
		if run.ID == ref.RunID {
			return redirect{v.runPage(ref), fmt.Sprintf("%s was sent, and the run goes on.", page.Awaits)}, nil
		}
	}
	return redirect{home + "/events/" + sent.Delivery.ID.String(), fmt.Sprintf("%s was sent, but did not end the wait. This is why.", page.Awaits)}, nil
}
