package engine

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opensend/opensend/automations"
)

func (m *model) wanted() *int {
	if m.chance(50) {
		return nil
	}
	n := m.rnd.IntN(2)
	return &n
}

func (m *model) duration() time.Duration {
	return time.Duration(1+m.rnd.IntN(3*3600)) * time.Second
}

var modelKinds = []automations.StepType{
	automations.StepDelay, automations.StepDelay, automations.StepWaitForEvent, automations.StepWaitForEvent, automations.StepWaitForEvent, automations.StepCondition,
	automations.StepCondition, automations.StepSendEmail, automations.StepContactUpdate, automations.StepAddToSegment, automations.StepEnd,
}

var modelEdges = map[automations.StepType][]automations.EdgeType{
	automations.StepCondition: {automations.EdgeMet, automations.EdgeNotMet}, automations.StepEnd: {}, automations.StepContactDelete: {},
	automations.StepWaitForEvent: {automations.EdgeEventCame, automations.EdgeTimeout, automations.EdgeDefault},
}

func (s *modelStep) edges() []automations.EdgeType {
	if e, ok := modelEdges[s.kind]; ok {
		return e
	}
	return []automations.EdgeType{automations.EdgeDefault}
}

func wantN(field string, n *int) string {
	return fmt.Sprintf(`{"type":"rule","field":%q,"operator":"eq","value":%d}`, field, *n)
}

// step makes a random step; before are those ahead of it.
func (m *model) step(key string, kind automations.StepType, before []*modelStep) *modelStep {
	s := &modelStep{key: key, kind: kind, config: "{}", next: map[automations.EdgeType]string{}}
	switch kind {
	case automations.StepDelay:
		s.for_ = m.duration()
		s.config = fmt.Sprintf(`{"duration":"%d s"}`, int(s.for_.Seconds()))
	case automations.StepWaitForEvent:
		s.name, s.n = pick(m, []string{"x", "y"}), m.wanted()
		c := fmt.Sprintf(`"event_name":%q`, s.name)
		if m.chance(70) {
			s.for_ = m.duration()
			c += fmt.Sprintf(`,"timeout":"%d s"`, int(s.for_.Seconds()))
		}
		switch {
		case s.n != nil:
			c += `,"filter_rule":` + wantN("event.n", s.n)
		case m.chance(20):
			s.same = true
			c += `,"filter_rule":{"type":"rule","field":"event.n","operator":"eq","value":{"var":"trigger.n"}}`
		}
		s.config = "{" + c + "}"
	case automations.StepCondition:
		n, field := m.rnd.IntN(2), "event.n"
		s.n = &n
		for _, b := range before {
			if b.kind == automations.StepWaitForEvent && m.chance(40) {
				s.of, field = b.key, "wait."+b.key+".n"
			}
		}
		s.config = wantN(field, s.n)
	case automations.StepSendEmail:
		s.config = `{"subject":"Hi","text":"x"}`
	case automations.StepContactUpdate:
		s.config = `{"first_name":"Ada"}`
	case automations.StepAddToSegment:
		s.config = fmt.Sprintf(`{"segment_id":%q}`, m.segment)
	}
	return s
}

// define makes a random automation.
func (m *model) define() *modelDef {
	d := &modelDef{trigger: pick(m, []string{"alpha", "bravo"})}
	trigger := m.step("t", automations.StepTrigger, nil)
	trigger.config = fmt.Sprintf(`{"event_name":%q}`, d.trigger)
	if m.chance(25) {
		d.when = m.wanted()
	}
	if d.when != nil {
		trigger.config = fmt.Sprintf(`{"event_name":%q,"conditions":%s}`, d.trigger, wantN("event.n", d.when))
	}
	d.steps = []*modelStep{trigger}
	for i := range 1 + m.rnd.IntN(9) {
		kind := pick(m, modelKinds)
		var open []*modelStep
		for _, s := range d.steps {
			if len(s.next) < len(s.edges()) {
				open = append(open, s)
			}
		}
		if len(open) == 0 {
			break
		}
		from := pick(m, open[max(0, len(open)-3):])
		if from.kind == automations.StepDelay && m.chance(10) {
			kind = automations.StepContactDelete
		}
		s := m.step(fmt.Sprint("s", i), kind, d.steps)
		from.next[m.free(from)] = s.key
		d.steps = append(d.steps, s)
	}
	for i, s := range d.steps {
		for len(s.next) < len(s.edges()) && i+1 < len(d.steps) && m.chance(40) {
			s.next[m.free(s)] = pick(m, d.steps[i+1:]).key
		}
	}
	return d
}

func (m *model) free(s *modelStep) automations.EdgeType {
	return pick(m, slices.DeleteFunc(slices.Clone(s.edges()), func(e automations.EdgeType) bool { return s.next[e] != "" }))
}

func (d *modelDef) definition(t *testing.T) automations.Definition {
	var steps, edges []string
	for _, s := range d.steps {
		steps = append(steps, fmt.Sprintf(`{"key":%q,"type":%q,"config":%s}`, s.key, s.kind, s.config))
		for _, e := range slices.Sorted(maps.Keys(s.next)) {
			edges = append(edges, fmt.Sprintf(`{"from":%q,"to":%q,"type":%q}`, s.key, s.next[e], e))
		}
	}
	def, err := automations.ParseDefinition(json.RawMessage("["+strings.Join(steps, ",")+"]"), json.RawMessage("["+strings.Join(edges, ",")+"]"), "", newID)
	if err == nil {
		_, err = automations.Compile(def)
	}
	if err != nil {
		t.Fatalf("%v: %s %s", err, steps, edges)
	}
	return def
}

func (d *modelDef) String() string {
	var b strings.Builder
	for _, s := range d.steps {
		fmt.Fprintf(&b, "\n      %s %s %s %v", s.key, s.kind, s.config, s.next)
	}
	return b.String()
}

func (d *modelDef) step(key string) *modelStep {
	i := slices.IndexFunc(d.steps, func(s *modelStep) bool { return s.key == key })
	return d.steps[i]
}

// advance moves a run of the model on.
func (m *model) advance(r *modelRun) {
	r.wake = time.Time{}
	if r.w.deleted || r.gone {
		m.end(r, automations.RunCancelled)
		return
	}
	for {
		s := r.def.step(r.at)
		st := r.steps[s.key]
		known, done := strings.CutPrefix(st, "completed ")
		exit := automations.EdgeType(known)
		if !done {
			if exit, done = m.enter(r, s, st == "waiting "); !done {
				return
			}
			r.steps[s.key] = "completed " + string(exit)
		}
		next := s.after(exit)
		if next == "" {
			if exit == automations.EdgeTimeout {
				r.steps[s.key] = "skipped timeout"
			}
			r.status, r.at = automations.RunCompleted, ""
			if s.kind == automations.StepContactDelete {
				m.forget(r.ContactID)
			}
			return
		}
		r.at = next
	}
}

// enter does a step, or goes on with one that waited; ok is false while it waits
// and when the run ends.
func (m *model) enter(r *modelRun, s *modelStep, waited bool) (exit automations.EdgeType, ok bool) {
	wait := func() {
		r.status, r.steps[s.key] = automations.RunWaiting, "waiting "
		if s.for_ > 0 {
			r.wake = now().Add(s.for_)
		}
	}
	switch s.kind {
	case automations.StepDelay:
		if !waited {
			wait()
			return "", false
		}
	case automations.StepWaitForEvent:
		if waited {
			return automations.EdgeTimeout, true
		}
		for i, ev := range r.early {
			if s.accepts(r, ev) {
				r.early = slices.Delete(r.early, i, i+1)
				r.receive(s, ev)
				return automations.EdgeEventCame, true
			}
		}
		wait()
		return "", false
	case automations.StepCondition:
		n := &r.trigger.n
		if s.of != "" {
			n = nil
			if came, ok := r.came[s.of]; ok {
				n = &came
			}
		}
		if n != nil && *n == *s.n {
			return automations.EdgeMet, true
		}
		return automations.EdgeNotMet, true
	case automations.StepAddToSegment:
		if !m.segmented {
			r.steps[s.key] = "failed "
			m.end(r, automations.RunFailed)
			return "", false
		}
	case automations.StepEnd, automations.StepContactDelete:
		return "", true
	}
	return automations.EdgeDefault, true
}

func (s *modelStep) accepts(r *modelRun, ev modelEvent) bool {
	return s.name == ev.name && (s.n == nil || *s.n == ev.n) && (!s.same || r.trigger.n == ev.n)
}

func (r *modelRun) receive(s *modelStep, ev modelEvent) {
	r.came[s.key], r.used[ev.id] = ev.n, true
	r.steps[s.key] = "completed event_received"
}

// end ends a run. What it knew of events is known no more.
func (m *model) end(r *modelRun, status automations.RunStatus) {
	if _, ok := r.steps[r.at]; ok && status == automations.RunCancelled {
		r.steps[r.at] = "cancelled "
	}
	r.status, r.wake, r.early = status, time.Time{}, nil
}

// forget cancels the runs of a contact that is deleted.
func (m *model) forget(contact automations.ID) {
	for email, id := range m.contacts {
		if id == contact {
			delete(m.contacts, email)
		}
	}
	for _, r := range m.runs {
		if r.ContactID != contact {
			continue
		}
		if r.gone = true; !r.status.Final() {
			m.end(r, automations.RunCancelled)
		}
	}
}

// reaches reports whether a run may still come to a wait for the event.
func (r *modelRun) reaches(name string) bool {
	seen := map[string]bool{}
	var from func(key string) bool
	from = func(key string) bool {
		if key == "" || seen[key] {
			return false
		}
		seen[key] = true
		s, st := r.def.step(key), r.steps[key]
		if (st == "" || st == "pending ") && s.kind == automations.StepWaitForEvent && s.name == name {
			return true
		}
		if exit, done := strings.CutPrefix(st, "completed "); done {
			return from(s.after(automations.EdgeType(exit)))
		}
		for _, next := range s.next {
			if from(next) {
				return true
			}
		}
		return false
	}
	return from(r.at)
}

// after is where an outcome leads.
func (s *modelStep) after(exit automations.EdgeType) string {
	if s.next[exit] == "" && s.kind == automations.StepWaitForEvent {
		return s.next[automations.EdgeDefault]
	}
	return s.next[exit]
}

// event is what should come of one. The ids of what it makes are taken from what it
// made.
func (m *model) event(ev *automations.Event, made *Receipt) (verdicts []string) {
	var payload struct{ N int }
	m.must(json.Unmarshal(ev.Payload, &payload))
	me := modelEvent{made.Delivery.ID, ev.Name, payload.N, ev.Test}
	say := func(reason automations.Reason, w, run automations.ID) {
		verdicts = append(verdicts, fmt.Sprintf("%s %s %s", reason, w, run))
	}
	var listeners []*modelWorkflow
	listened := false
	for _, w := range m.workflows {
		if !w.deleted && (w.Trigger == ev.Name || ev.Intake.FoldCase && strings.EqualFold(w.Trigger, ev.Name)) {
			listeners = append(listeners, w)
			listened = listened || w.Status == automations.StatusEnabled
		}
	}
	contact, known := m.contacts[ev.Email]
	if !known && (listened || !ev.Intake.MustMatch) {
		contact = made.Delivery.ContactID
		m.contacts[ev.Email] = contact
	}
	if made.Delivery.ContactID != contact {
		m.fail("the contact is %s, it should be %s", made.Delivery.ContactID, contact)
	}
	for _, r := range m.runs {
		if r.ContactID != contact || r.Test != ev.Test {
			continue
		}
		r.history = append(r.history, me)
		if r.status.Final() {
			continue
		}
		if r.w.deleted { // it ends when it is touched, and it is when it knows the event
			if slices.ContainsFunc(r.def.steps, func(s *modelStep) bool { return strings.EqualFold(s.name, ev.Name) }) {
				m.end(r, automations.RunCancelled)
			}
			continue
		}
		s := r.def.step(r.at)
		waits := strings.HasPrefix(r.steps[s.key], "waiting") && s.kind == automations.StepWaitForEvent && s.name == ev.Name
		switch {
		case waits && s.accepts(r, me):
			r.receive(s, me)
			r.wake = now()
			say(automations.Resumed, r.WorkflowID, r.ID)
		case r.reaches(ev.Name):
			r.early = append(r.early, me)
			say(automations.Kept, r.WorkflowID, r.ID)
		case waits:
			say(automations.ConditionsNotMet, r.WorkflowID, r.ID)
		}
	}
	for _, w := range listeners {
		m.consider(w, ev, me, made, say)
	}
	if len(verdicts) == 0 {
		for _, w := range m.workflows {
			if !w.deleted && w.Status == automations.StatusEnabled && strings.EqualFold(w.Trigger, ev.Name) && len(verdicts) < maxNearMisses {
				say(automations.NearMiss, w.ID, automations.ID{})
			}
		}
	}
	if len(verdicts) == 0 {
		say(automations.Unmatched, automations.ID{}, automations.ID{})
	}
	return verdicts
}

func (m *model) consider(w *modelWorkflow, ev *automations.Event, me modelEvent, made *Receipt, say func(automations.Reason, automations.ID, automations.ID)) {
	none := automations.ID{}
	window := time.Duration(0)
	switch {
	case w.Status != automations.StatusEnabled:
		say(automations.Disabled, w.ID, none)
		return
	case w.def.when != nil && *w.def.when != me.n:
		say(automations.ConditionsNotMet, w.ID, none)
		return
	case w.Deduplication == nil:
		window = ev.Intake.DefaultWindow
	case w.Deduplication.Enabled:
		window = time.Duration(w.Deduplication.WindowSeconds) * time.Second
	}
	key := fmt.Sprint(w.ID, m.contacts[ev.Email], w.Trigger, ev.Test)
	if w.Deduplication != nil && len(w.Deduplication.Key) > 0 {
		key += fmt.Sprint(me.n)
	}
	if window > 0 {
		if now().Before(m.dedup[key]) {
			say(automations.Deduplicated, w.ID, none)
			return
		}
		m.dedup[key] = now().Add(window)
	}
	i := slices.IndexFunc(made.Started, func(r *automations.Run) bool { return r.WorkflowID == w.ID })
	if i < 0 {
		m.fail("no run of %s was started", w.ID)
	}
	r := &modelRun{
		Run: made.Started[i], w: w, def: w.def, trigger: me, status: automations.RunQueued, at: "t", wake: now(),
		steps: map[string]string{}, came: map[string]int{}, used: map[automations.ID]bool{},
	}
	m.runs = append(m.runs, r)
	say(automations.Started, w.ID, r.ID)
}
