package engine

import (
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

var modelSeeds = flag.Int("model-seeds", 20, "histories that TestModel lives through")

// TestModel lives through random histories, of events in any order, runs that
// are cancelled, retried and skipped, automations that are edited, disabled and
// deleted, contacts that are deleted and engines that are started again, beside a
// model that says in the plainest words what should come of them.
func TestModel(t *testing.T) {
	for seed := range *modelSeeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { newModel(t, uint64(seed)).live(60) })
		})
	}
}

type (
	// model is what should be in the file.
	model struct {
		t         *testing.T
		e         *Engine
		stop      func()
		rnd       *rand.Rand
		workflows []*modelWorkflow
		contacts  map[string]automations.ID
		runs      []*modelRun
		dedup     map[string]time.Time // when a window ends
		segment   automations.ID
		segmented bool // it exists
		log       []string
	}
	modelWorkflow struct {
		*automations.Workflow
		def     *modelDef
		deleted bool
	}
	modelDef struct {
		trigger string
		when    *int // payload n that the trigger wants
		steps   []*modelStep
	}
	modelStep struct {
		key    string
		kind   automations.StepType
		config string
		for_   time.Duration // of a delay or a wait; zero waits for ever
		name   string        // of the event waited for
		n      *int          // the payload n that is wanted; nil for any
		same   bool          // the n of the trigger is wanted
		of     string        // the wait whose event a condition looks at; the trigger's when empty
		next   map[automations.EdgeType]string
	}
	modelEvent struct {
		id   automations.ID
		name string
		n    int
		test bool
	}
	modelRun struct {
		*automations.Run
		w       *modelWorkflow
		def     *modelDef
		trigger modelEvent
		status  automations.RunStatus
		at      string
		wake    time.Time
		steps   map[string]string // status and exit
		came    map[string]int    // what ended waits
		early   []modelEvent
		history []modelEvent
		used    map[automations.ID]bool
		gone    bool // its contact
	}
)

func newModel(t *testing.T, seed uint64) *model {
	m := &model{t: t, rnd: rand.New(rand.NewPCG(seed, 1)), contacts: map[string]automations.ID{}, dedup: map[string]time.Time{}, segment: newID()}
	m.e = newEngine(t, Config{})
	m.stop = m.e.start(t)
	for range 3 {
		m.publish(nil)
	}
	return m
}

func (m *model) chance(percent int) bool { return m.rnd.IntN(100) < percent }

func pick[T any](m *model, from []T) T { return from[m.rnd.IntN(len(from))] }

func (m *model) note(format string, args ...any) {
	m.log = append(m.log, now().Format("02 15:04:05.000 ")+fmt.Sprintf(format, args...))
}

func (m *model) must(err error) {
	m.t.Helper()
	if err != nil {
		m.fail("%v", err)
	}
}

func (m *model) fail(format string, args ...any) {
	m.t.Helper()
	m.t.Fatalf("%s\n%s", fmt.Sprintf(format, args...), strings.Join(m.log, "\n"))
}

// publish makes a new automation, or a new revision of one.
func (m *model) publish(w *modelWorkflow) {
	if w == nil {
		w = &modelWorkflow{Workflow: &automations.Workflow{ID: newID(), Name: "m", Status: automations.StatusEnabled, CreatedAt: now()}}
		switch m.rnd.IntN(4) {
		case 0:
			w.Deduplication = &automations.Deduplication{Enabled: true, WindowSeconds: 1800}
		case 1:
			w.Deduplication = &automations.Deduplication{Enabled: true, WindowSeconds: 7200, Key: []string{"event.n"}}
		case 2:
			w.Deduplication = &automations.Deduplication{}
		}
		m.workflows = append(m.workflows, w)
	}
	w.def = m.define()
	w.Trigger, w.StepCount = w.def.trigger, len(w.def.steps)
	w.Revision++
	def := w.def.definition(m.t)
	m.note("publish %s revision %d, dedup %+v: %s", w.ID, w.Revision, w.Deduplication, w.def)
	m.must(m.e.db.Update(func(tx *storage.Tx) error {
		return errors.Join(tx.AddRevision(&automations.Revision{WorkflowID: w.ID, Number: w.Revision, Definition: def, CreatedAt: now()}), tx.SaveWorkflow(w.Workflow))
	}))
}

// live does so many random things.
func (m *model) live(n int) {
	for range n {
		switch r := m.rnd.IntN(100); {
		case r < 50:
			m.events(1)
		case r < 58:
			m.events(2 + m.rnd.IntN(3))
		case r < 64:
			m.cancel()
		case r < 70:
			m.skip()
		case r < 78:
			m.retry()
		case r < 82:
			m.republish()
		case r < 86:
			m.toggle()
		case r < 87:
			m.deleteWorkflow()
		case r < 90:
			m.deleteContact()
		case r < 92:
			m.note("the segment exists")
			m.segmented = true
			m.must(m.e.db.Update(func(tx *storage.Tx) error { return tx.SaveSegment(&automations.Segment{ID: m.segment}) }))
		default:
			m.note("restart")
			m.stop()
			m.e = newEngine(m.t, Config{DB: m.e.db})
			m.stop = m.e.start(m.t)
		}
		m.settle()
		if m.chance(70) {
			m.sleep(time.Duration(m.rnd.Int64N(int64(time.Hour))).Truncate(time.Millisecond))
		}
	}
	m.sleep(24 * time.Hour)
}

// sleep lets time pass, and what is due happen.
func (m *model) sleep(d time.Duration) {
	until := now().Add(d)
	for {
		due := m.due(until)
		if due == nil {
			break
		}
		time.Sleep(time.Until(due.wake))
		m.settle()
	}
	time.Sleep(time.Until(until))
	m.settle()
}

// due is the run that is due first, up to a time.
func (m *model) due(until time.Time) (first *modelRun) {
	for _, r := range m.runs {
		if r.status.Final() || r.wake.IsZero() || r.wake.After(until) {
			continue
		}
		if first == nil || cmp.Or(r.wake.Compare(first.wake), strings.Compare(r.WorkflowID.String(), first.WorkflowID.String()), strings.Compare(r.ID.String(), first.ID.String())) < 0 {
			first = r
		}
	}
	return first
}

// settle does what is due now, in the model and outside, and compares.
func (m *model) settle() {
	m.t.Helper()
	for r := m.due(now()); r != nil; r = m.due(now()) {
		m.advance(r)
	}
	synctest.Wait()
	m.compare()
}

func (m *model) compare() {
	m.t.Helper()
	m.must(m.e.db.View(func(tx *storage.Tx) error {
		for _, r := range m.runs {
			row, err := tx.Run(r.Ref())
			if err != nil {
				return err
			}
			steps := map[string]string{}
			for key, st := range row.Steps {
				steps[key] = string(st.Status) + " " + string(st.Exit)
			}
			status := row.Status
			if status == automations.RunQueued {
				m.fail("run %s is still queued", r.ID)
			}
			if status != r.status || row.CurrentStep != r.at && !status.Final() || !maps.Equal(steps, r.steps) {
				m.fail("run %s of %s revision %d is %s at %q, %v;\nit should be %s at %q, %v", r.ID, r.WorkflowID, r.Revision, status, row.CurrentStep, steps, r.status, r.at, r.steps)
			}
		}
		return tx.Check()
	}))
}

// events sends some at once.
func (m *model) events(n int) {
	var all []*automations.Event
	for range n {
		ev := &automations.Event{Name: pick(m, []string{"alpha", "bravo", "alpha", "x", "x", "y", "X", "ALPHA"}), Email: pick(m, []string{"a@example.com", "b@example.com"}), Test: m.chance(15)}
		if m.chance(40) {
			ev.Name = strings.ToLower(ev.Name)
			ev.Intake = automations.Intake{FoldCase: true, DefaultWindow: automations.DefaultDedupWindow, MustMatch: true}
		}
		ev.Payload = json.RawMessage(fmt.Sprintf(`{"n":%d}`, m.rnd.IntN(2)))
		all = append(all, ev)
	}
	results, _, err := m.e.AcceptBatch(all, nil)
	m.must(err)
	for i, res := range results {
		m.must(res.Err)
		m.note("event %+v %s", *all[i], all[i].Payload)
		want := m.event(all[i], res.Receipt)
		var got []string
		for _, v := range res.Receipt.Delivery.Verdicts {
			got = append(got, fmt.Sprintf("%s %s %s", v.Reason, v.WorkflowID, v.RunID))
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			m.fail("the verdicts are\n%s;\nthey should be\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// some is one of the runs that pass, nil when none does.
func (m *model) some(pass func(*modelRun) bool) *modelRun {
	var all []*modelRun
	for _, r := range m.runs {
		if pass(r) {
			all = append(all, r)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return pick(m, all)
}

func (m *model) cancel() {
	if r := m.some(func(r *modelRun) bool { return !r.status.Final() }); r != nil {
		m.note("cancel %s", r.ID)
		_, err := m.e.CancelRun(r.Ref(), "why not")
		m.must(err)
		m.end(r, automations.RunCancelled)
	}
}

func (m *model) skip() {
	if r := m.some(func(r *modelRun) bool { return r.status == automations.RunWaiting && !r.w.deleted }); r != nil {
		m.note("skip %s", r.ID)
		_, err := m.e.SkipWait(r.Ref())
		m.must(err)
		r.wake = now()
	}
}

func (m *model) retry() {
	if r := m.some(func(r *modelRun) bool { return r.status == automations.RunFailed }); r != nil {
		m.note("retry %s", r.ID)
		_, err := m.e.RetryRun(r.Ref())
		m.must(err)
		r.steps[r.at] = "pending "
		r.status, r.wake = automations.RunQueued, now()
		for _, ev := range r.history {
			if !r.used[ev.id] {
				r.early = append(r.early, ev)
			}
		}
	}
}

func (m *model) toggle() {
	w := pick(m, m.workflows)
	if w.deleted {
		return
	}
	w.Status = map[automations.WorkflowStatus]automations.WorkflowStatus{automations.StatusEnabled: automations.StatusDisabled, automations.StatusDisabled: automations.StatusEnabled}[w.Status]
	m.note("%s is %s", w.ID, w.Status)
	m.must(m.e.db.Update(func(tx *storage.Tx) error { return tx.SaveWorkflow(w.Workflow) }))
}

func (m *model) deleteWorkflow() {
	w := pick(m, m.workflows)
	m.note("delete %s", w.ID)
	if err := m.e.db.Update(func(tx *storage.Tx) error { return tx.DeleteWorkflow(w.ID) }); !errors.Is(err, storage.ErrNotFound) {
		m.must(err)
	}
	w.deleted = true
	m.publish(nil)
}

func (m *model) deleteContact() {
	for _, email := range slices.Sorted(maps.Keys(m.contacts)) {
		if id := m.contacts[email]; m.chance(50) {
			m.note("delete %s", email)
			m.must(m.e.DeleteContact(id))
			m.forget(id)
			return
		}
	}
}

func (m *model) republish() {
	if w := pick(m, m.workflows); !w.deleted {
		m.publish(w)
	}
}
