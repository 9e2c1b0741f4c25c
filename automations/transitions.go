package automations

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// Reasons that runs and steps give in FailureReason and Error.
const (
	CancelledContactDeleted  = "contact_deleted"
	CancelledWorkflowDeleted = "automation_deleted"
	SkippedUnsubscribed      = "contact is unsubscribed"
	SkippedSuppressed        = "address is suppressed"
	SkippedTopic             = "contact does not want mail of this topic"
)

// NewRun starts a run of the workflow's current revision at its trigger step,
// due at once.
func NewRun(id ID, w *Workflow, f *Flow, d *Delivery, now time.Time) *Run {
	return &Run{
		ID: id, WorkflowID: w.ID, Revision: w.Revision, Status: RunQueued,
		TriggerEventID: d.ID, ContactID: d.ContactID, Test: d.Test, CurrentStep: f.Trigger().Key,
		WakeAt: now, CreatedAt: now, UpdatedAt: now,
	}
}

// step is the state of a step, pending when it was never reached.
func (r *Run) step(key string) *StepState {
	if r.Steps == nil {
		r.Steps = map[string]*StepState{}
	}
	st := r.Steps[key]
	if st == nil {
		st = &StepState{Status: StepPending}
		r.Steps[key] = st
	}
	return st
}

// StateOf is the state of a step as people see it: one that was not reached is
// pending while the run may still come by, and skipped once it is over.
func (r *Run) StateOf(key string) StepState {
	switch st := r.Steps[key]; {
	case st != nil:
		return *st
	case r.Status.Final():
		return StepState{Status: StepSkipped}
	}
	return StepState{Status: StepPending}
}

func (st *StepState) finish(status StepStatus, exit EdgeType, now time.Time) {
	st.Status, st.Exit, st.CompletedAt = status, exit, now
}

// Fail ends the run at the step. The reason is for people.
func (r *Run) Fail(stepKey, reason string, now time.Time) {
	st := r.step(stepKey)
	st.finish(StepFailed, "", now)
	st.Error = reason
	r.FailedStep, r.FailureReason = stepKey, reason
	r.end(RunFailed, now)
}

// Cancel ends a run that is not over.
func (r *Run) Cancel(reason string, now time.Time) {
	if st := r.Steps[r.CurrentStep]; st != nil {
		st.finish(StepCancelled, "", now)
	}
	r.FailureReason = reason
	r.end(RunCancelled, now)
}

func (r *Run) end(status RunStatus, now time.Time) {
	r.Status, r.CompletedAt, r.UpdatedAt = status, now, now
	r.WakeAt, r.EmailID = time.Time{}, ID{}
}

// Retry makes a failed run due again at the step that failed, as a new visit. What
// was to wait for a time waits for the same.
func (r *Run) Retry(now time.Time) {
	st := r.step(r.FailedStep)
	*st = StepState{Status: StepPending, Visit: st.Visit, ScheduledFor: st.ScheduledFor}
	r.CurrentStep, r.FailedStep, r.FailureReason = r.FailedStep, "", ""
	r.Panics, r.CompletedAt = 0, time.Time{}
	r.wake(now)
}

// AwaitAgain makes a run that failed because of the mail wait for it, in the
// same visit. It reports whether the run is such a one.
func (r *Run) AwaitAgain(e *Email, now time.Time) bool {
	st := r.Steps[e.StepKey]
	if r.Status != RunFailed || r.FailedStep != e.StepKey || st == nil || st.Visit != e.Visit {
		return false
	}
	st.Status, st.Error, st.CompletedAt = StepRunning, "", time.Time{}
	r.Status, r.CurrentStep, r.EmailID = RunRunning, e.StepKey, e.ID
	r.FailedStep, r.FailureReason, r.CompletedAt, r.UpdatedAt = "", "", time.Time{}, now
	return true
}

// SkipWait ends the delay or the wait for an event that the run is in, as if its
// time were over. It reports whether the run is in one.
func (r *Run) SkipWait(now time.Time) bool {
	st := r.Steps[r.CurrentStep]
	if r.Status != RunWaiting || st == nil || st.Status != StepWaiting {
		return false
	}
	st.ScheduledFor = now
	r.wake(now)
	return true
}

func (r *Run) wake(now time.Time) {
	r.Status, r.WakeAt, r.UpdatedAt = RunQueued, now, now
}

// Mailed tells the run what became of the mail it waits for. Sent and captured
// mail completes the step, suppressed mail skips it, failed mail fails the
// run; whatever is not settled changes nothing.
func (r *Run) Mailed(e *Email, now time.Time) {
	st := r.step(e.StepKey)
	switch e.Status {
	case EmailSent, EmailCaptured:
		st.finish(StepCompleted, EdgeDefault, now)
		st.Output, _ = json.Marshal(map[string]any{"email_id": e.ID, "message_id": e.MessageID, "status": e.Status})
	case EmailSuppressed:
		st.finish(StepSkipped, EdgeDefault, now)
		st.Error = e.LastError
	case EmailFailed:
		r.Fail(e.StepKey, e.LastError, now)
		return
	default:
		return
	}
	r.EmailID = ID{}
	r.wake(now)
}

// WaitNames lists the event names that steps of the flow wait for.
func (f *Flow) WaitNames() (names []string) {
	for _, s := range f.Steps {
		if w, ok := s.Action.(*WaitAction); ok && !slices.Contains(names, w.EventName) {
			names = append(names, w.EventName)
		}
	}
	return names
}

// Arrived tells the run of an event of its contact, and returns what that
// means to it and to which of its waits: Resumed, Kept for a wait that it may yet
// come to, ConditionsNotMet when the filter of the wait it is in says no, or
// nothing.
func (r *Run) Arrived(f *Flow, d, trigger *Delivery, c *Contact, foldCase bool, now time.Time) Verdict {
	v := Verdict{WorkflowID: r.WorkflowID, RunID: r.ID}
	for _, s := range f.Steps {
		w, ok := s.Action.(*WaitAction)
		if !ok || !sameName(w.EventName, d.Event, foldCase) {
			continue
		}
		switch st := r.Steps[s.Key]; {
		case (st == nil || st.Status == StepPending) && r.mayReach(f, s.Key):
			v.Reason, v.StepKey, v.Compared = Kept, s.Key, nil
		case st != nil && st.Status == StepWaiting && s.Key == r.CurrentStep:
			held, compared := r.accepts(w, d, c, trigger.Payload)
			if held {
				r.received(st, d, now)
				r.wake(now)
				v.Reason, v.StepKey, v.Compared = Resumed, s.Key, compared
				return v
			}
			if v.Reason == "" {
				v.Reason, v.StepKey, v.Compared = ConditionsNotMet, s.Key, compared
			}
		}
	}
	return v
}

// accepts reports whether an event of the right name ends the wait.
func (r *Run) accepts(w *WaitAction, d *Delivery, c *Contact, trigger json.RawMessage) (bool, []Comparison) {
	if w.Filter == nil {
		return true, nil
	}
	scope := &Scope{Event: d.Payload, Trigger: trigger, Contact: c, Steps: r.Steps}
	return w.Filter.Eval(scope.Lookup)
}

func (r *Run) received(st *StepState, d *Delivery, now time.Time) {
	st.finish(StepCompleted, EdgeEventCame, now)
	st.Output, _ = json.Marshal(map[string]any{"event_id": d.ID, "event_name": d.Event, "event": d.Payload})
}

// Missed is Arrived for an event of its contact that came while the run was over,
// having failed, and so was not told of it: Kept for a wait that it may yet come
// to, or nothing.
func (r *Run) Missed(f *Flow, d *Delivery) Verdict {
	if d.Test != r.Test || r.hasUsed(d.ID) {
		return Verdict{}
	}
	for _, s := range f.Steps {
		w, ok := s.Action.(*WaitAction)
		if !ok || d.Event != w.EventName && d.Event != strings.ToLower(w.EventName) { // a door that folds case has lowered it
			continue
		}
		if st := r.Steps[s.Key]; (st == nil || st.Status == StepPending) && r.mayReach(f, s.Key) {
			return Verdict{Reason: Kept, WorkflowID: r.WorkflowID, RunID: r.ID, StepKey: s.Key}
		}
	}
	return Verdict{}
}

// hasUsed reports whether the event ended a wait of the run.
func (r *Run) hasUsed(event ID) bool {
	for _, st := range r.Steps {
		var came struct {
			EventID ID `json:"event_id"`
		}
		if st.Exit == EdgeEventCame && json.Unmarshal(st.Output, &came) == nil && came.EventID == event {
			return true
		}
	}
	return false
}

// mayReach reports whether a way leads from where the run is to the step.
func (r *Run) mayReach(f *Flow, key string) bool {
	seen := map[string]bool{}
	for ahead := []string{r.CurrentStep}; len(ahead) > 0; ahead = ahead[1:] {
		if ahead[0] == key {
			return true
		}
		s := f.Step(ahead[0])
		if s == nil || seen[s.Key] {
			continue
		}
		seen[s.Key] = true
		if st := r.Steps[s.Key]; st != nil && st.Exit != "" {
			ahead = append(ahead, s.after(st.Exit))
			continue
		}
		for _, next := range s.next {
			ahead = append(ahead, next)
		}
	}
	return false
}

// sameName compares as names are looked up by: the lower case of some letters is
// none that folding knows.
func sameName(a, b string, foldCase bool) bool {
	if foldCase {
		a, b = strings.ToLower(a), strings.ToLower(b)
	}
	return a == b
}
