package automations

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// MaxTransitions is how many steps one run may enter.
const MaxTransitions = 1000

// World is what a run may see and ask while it advances.
type World struct {
	Now     time.Time
	Trigger *Delivery
	Contact *Contact    // nil when it was deleted; steps change it in place
	Early   []*Delivery // kept for waits that were not reached, oldest first; those that ended one are taken out

	SegmentExists func(ID) bool
	AddressTaken  func(email string) bool                // by another contact
	Declared      func(property string) *ContactProperty // nil when it is not
	Suppressed    func(email string) bool
}

// Effects is what an advance wants done, in the transaction that saves the
// run.
type Effects struct {
	Email          *SendEmailAction // queue the mail of the current step; the run waits for it
	ContactChanged bool
	ContactDeleted bool
	Consumed       []ID // the early events that ended waits
}

// Advance moves a run that is due from step to step, until it waits for a
// time, an event or its mail, or is over. It changes the run and the world
// only. Calling it for a run that is not due changes nothing but
// its WakeAt.
func Advance(f *Flow, r *Run, w *World) Effects {
	a := &advance{flow: f, run: r, world: w, scope: RunScope(r, w.Trigger, w.Contact)}
	r.WakeAt, r.UpdatedAt = time.Time{}, w.Now
	if w.Contact == nil {
		r.Cancel(CancelledContactDeleted, w.Now)
		return a.effects
	}
	if r.StartedAt.IsZero() {
		r.StartedAt = w.Now
	}
	for !a.parked && !r.Status.Final() {
		a.enter(f.Step(r.CurrentStep))
	}
	return a.effects
}

// RunScope is the scope of a run's steps, those that it reaches later too.
func RunScope(r *Run, trigger *Delivery, contact *Contact) *Scope {
	if r.Steps == nil {
		r.Steps = map[string]*StepState{}
	}
	return &Scope{Event: trigger.Payload, Trigger: trigger.Payload, Contact: contact, Steps: r.Steps}
}

// advance is one call of Advance.
type advance struct {
	flow    *Flow
	run     *Run
	world   *World
	scope   *Scope
	effects Effects
	parked  bool // the run waits for something
}

// enter does the current step, or leaves it if its outcome is known.
func (a *advance) enter(s *FlowStep) {
	if s == nil {
		a.run.Fail(a.run.CurrentStep, fmt.Sprintf("step %q is not in revision %d", a.run.CurrentStep, a.run.Revision), a.world.Now)
		return
	}
	st := a.run.step(s.Key)
	switch st.Status {
	case StepCompleted, StepSkipped:
		a.leave(s, st)
		return
	case StepPending:
		st.Status, st.StartedAt, st.Visit = StepRunning, a.world.Now, st.Visit+1
		a.run.Status = RunRunning
		a.run.Transitions++
		a.run.Panics = 0
		if a.run.Transitions > MaxTransitions {
			a.run.Fail(s.Key, fmt.Sprintf("the run entered more than %d steps", MaxTransitions), a.world.Now)
			return
		}
	}
	switch action := s.Action.(type) {
	case *TriggerAction:
		a.complete(st, EdgeDefault, nil)
	case *DelayAction:
		a.delay(st, action)
	case *WaitAction:
		a.wait(st, action)
	case *ConditionAction:
		a.branch(st, action)
	case *SendEmailAction:
		a.send(st, action)
	case *ContactUpdateAction:
		a.update(s.Key, st, action)
	case *SegmentAction:
		a.segment(s.Key, st, action)
	case ContactDeleteAction:
		a.effects.ContactDeleted = true
		a.complete(st, "", nil)
	case EndAction:
		a.complete(st, "", nil)
	default:
		a.run.Fail(s.Key, fmt.Sprintf("step type %q is unknown to this program", s.Type), a.world.Now)
	}
}

// complete records a step's outcome; leave acts on it.
func (a *advance) complete(st *StepState, exit EdgeType, output any) {
	st.finish(StepCompleted, exit, a.world.Now)
	if output != nil {
		st.Output, _ = json.Marshal(output)
	}
	a.scope.forget("steps", "wait")
}

// leave follows the edge the step's outcome chose, and ends the run where
// there is none.
func (a *advance) leave(s *FlowStep, st *StepState) {
	if next := s.after(st.Exit); next != "" {
		a.run.CurrentStep = next
		return
	}
	if st.Exit == EdgeTimeout {
		st.Status, st.Error = StepSkipped, "timeout"
	}
	a.run.Status, a.run.CurrentStep, a.run.CompletedAt = RunCompleted, "", a.world.Now
}

// park leaves the run at its step until the time at, or for ever when that is
// zero and something else must move it.
func (a *advance) park(status RunStatus, at time.Time) {
	a.parked, a.run.Status, a.run.WakeAt = true, status, at
}

func (a *advance) delay(st *StepState, d *DelayAction) {
	if st.Status == StepRunning {
		st.Status = StepWaiting
		if st.ScheduledFor.IsZero() {
			st.ScheduledFor = a.world.Now.Add(d.Duration)
		}
	}
	if a.world.Now.Before(st.ScheduledFor) {
		a.park(RunWaiting, st.ScheduledFor)
		return
	}
	a.complete(st, EdgeDefault, nil)
}

func (a *advance) wait(st *StepState, w *WaitAction) {
	if st.Status == StepRunning {
		for i, d := range a.world.Early {
			if !sameName(w.EventName, d.Event, true) {
				continue
			}
			if held, _ := a.run.accepts(w, d, a.scope.Contact, a.scope.Trigger); held {
				a.effects.Consumed = append(a.effects.Consumed, d.ID)
				a.world.Early = slices.Delete(a.world.Early, i, i+1)
				a.run.received(st, d, a.world.Now)
				a.scope.forget("steps", "wait")
				return
			}
		}
		st.Status = StepWaiting
		if w.Timeout > 0 && st.ScheduledFor.IsZero() {
			st.ScheduledFor = a.world.Now.Add(w.Timeout)
		}
	}
	if st.ScheduledFor.IsZero() || a.world.Now.Before(st.ScheduledFor) {
		a.park(RunWaiting, st.ScheduledFor)
		return
	}
	a.complete(st, EdgeTimeout, map[string]any{"timed_out": true})
}

func (a *advance) branch(st *StepState, c *ConditionAction) {
	met, compared := c.Match.Eval(a.scope.Lookup)
	exit := EdgeNotMet
	if met {
		exit = EdgeMet
	}
	a.complete(st, exit, map[string]any{"result": met, "compared": compared})
}

func (a *advance) send(st *StepState, s *SendEmailAction) {
	switch {
	case a.run.EmailID != (ID{}):
		a.park(RunRunning, time.Time{}) // still on its way
	case a.world.Contact.Unsubscribed:
		st.finish(StepSkipped, EdgeDefault, a.world.Now)
		st.Error = SkippedUnsubscribed
	case a.world.Suppressed(a.world.Contact.Email):
		st.finish(StepSkipped, EdgeDefault, a.world.Now)
		st.Error = SkippedSuppressed
	default:
		a.effects.Email = s
		a.park(RunRunning, time.Time{})
	}
}

func (a *advance) segment(key string, st *StepState, s *SegmentAction) {
	c := a.world.Contact
	switch in := slices.Contains(c.Segments, s.SegmentID); {
	case s.Remove && in:
		c.Segments = slices.DeleteFunc(c.Segments, func(id ID) bool { return id == s.SegmentID })
		a.effects.ContactChanged = true
	case !s.Remove && !a.world.SegmentExists(s.SegmentID):
		a.run.Fail(key, fmt.Sprintf("segment %s does not exist", s.SegmentID), a.world.Now)
		return
	case !s.Remove && !in:
		c.Segments = append(c.Segments, s.SegmentID)
		a.effects.ContactChanged = true
	}
	a.complete(st, EdgeDefault, map[string]any{"segment_id": s.SegmentID})
}

func (a *advance) update(key string, st *StepState, u *ContactUpdateAction) {
	if reason := a.applyUpdate(u); reason != "" {
		a.run.Fail(key, reason, a.world.Now)
		return
	}
	a.effects.ContactChanged = true
	a.scope.forget("contact")
	a.complete(st, EdgeDefault, nil)
}

// applyUpdate changes the contact as a whole or, with a reason, not at all.
func (a *advance) applyUpdate(u *ContactUpdateAction) (reason string) {
	c := a.world.Contact.Clone()
	if u.Email != nil {
		email, err := NormalizeEmail(asText(u.Email.Resolve(a.scope)))
		if err != nil {
			return "contact_update email: " + err.Error()
		}
		if email != c.Email && a.world.AddressTaken(email) {
			return "contact_update email: another contact has this address"
		}
		c.Email = email
	}
	if u.FirstName != nil {
		c.FirstName = strings.TrimSpace(asText(u.FirstName.Resolve(a.scope)))
	}
	if u.LastName != nil {
		c.LastName = strings.TrimSpace(asText(u.LastName.Resolve(a.scope)))
	}
	if u.Unsubscribed != nil {
		raw := u.Unsubscribed.Resolve(a.scope)
		if json.Unmarshal(raw, &c.Unsubscribed) != nil || string(raw) == "null" {
			return "contact_update unsubscribed: the value is not true or false"
		}
	}
	var p Problems
	for name, v := range u.Properties {
		value := v.Resolve(a.scope)
		c.SetProperty(name, value)
		if declared := a.world.Declared(name); declared != nil && string(value) != "null" {
			declared.Check(&p, "properties."+name, value)
		}
	}
	if c.Check(&p); p.Err() != nil {
		return "contact_update: " + p.Err().Error()
	}
	c.UpdatedAt = a.world.Now
	*a.world.Contact = *c
	return ""
}

// asText is a string's text, a number or a boolean as it is written, and
// nothing for null.
func asText(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return strings.Trim(string(raw), `"`)
}
