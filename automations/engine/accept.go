package engine

import (
	"errors"
	"fmt"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// Receipt is what became of an accepted event. Every door renders its answer
// from it.
type Receipt struct {
	Delivery *automations.Delivery // with its verdicts
	Resumed  []*automations.Run
	Started  []*automations.Run
}

// Listened reports whether anything listened to the event.
func (r *Receipt) Listened() bool {
	for _, v := range r.Delivery.Verdicts {
		if v.Listens() {
			return true
		}
	}
	return false
}

// Accept stores an event and decides what it starts and resumes, all in one
// transaction: when it returns without an error, all of it is on disk. The
// event must be valid in itself; idem may be nil. When the key was used before,
// replayed is the answer of then and nothing else happens.
//
// An *automations.Error says that the payload breaks the event type's schema,
// that the contact does not exist, that the key was used for another body, or
// that the server is full.
func (e *Engine) Accept(ev *automations.Event, idem *Idempotency[*Receipt]) (receipt *Receipt, replayed *storage.IdempotentAnswer, err error) {
	if err := e.checkPayload(ev); err != nil {
		return nil, nil, err
	}
	receipt, replayed, err = once(e, idem, func(tx *storage.Tx) (*Receipt, error) { return e.accept(tx, ev) })
	if receipt != nil {
		e.acted(receipt)
	}
	return receipt, replayed, err
}

// BatchResult is what became of one event of a batch: a receipt, or an error.
type BatchResult struct {
	Receipt *Receipt
	Err     error
}

// AcceptBatch accepts events in one transaction, in order. An event that is
// refused does not affect the others. A nil event is left out: its result is
// the caller's affair. idem is as for Accept, for the batch as a whole.
func (e *Engine) AcceptBatch(events []*automations.Event, idem *Idempotency[[]BatchResult]) ([]BatchResult, *storage.IdempotentAnswer, error) {
	refused := make([]error, len(events))
	for i, ev := range events {
		if ev != nil {
			refused[i] = e.checkPayload(ev)
		}
	}
	results, replayed, err := once(e, idem, func(tx *storage.Tx) ([]BatchResult, error) {
		results := make([]BatchResult, len(events))
		for i, ev := range events {
			if ev == nil || refused[i] != nil {
				results[i] = BatchResult{Err: refused[i]}
				continue
			}
			r, err := e.accept(tx, ev)
			if _, ok := errors.AsType[*automations.Error](err); err != nil && !ok {
				return nil, err
			}
			results[i] = BatchResult{Receipt: r, Err: err}
		}
		return results, nil
	})
	for _, r := range results {
		if r.Receipt != nil {
			e.acted(r.Receipt)
		}
	}
	return results, replayed, err
}

func (e *Engine) acted(r *Receipt) {
	if len(r.Started)+len(r.Resumed) > 0 {
		kick(e.wakeKick)
	}
	e.logRuns("run started", r.Started...)
	e.logRuns("run resumed", r.Resumed...)
}

// checkPayload validates against the schema of the event's type, outside the
// transaction that everybody waits for.
func (e *Engine) checkPayload(ev *automations.Event) (err error) {
	name := typeName{ev.Name, ev.Intake.FoldCase}
	s, known := e.knownSchema(name)
	if !known {
		err = e.db.View(func(tx *storage.Tx) error {
			s, err = e.definitionsOf(tx).schema(tx, name)
			return err
		})
	}
	if err != nil || s == nil {
		return err
	}
	return s.Validate(ev.Name, ev.Payload)
}

// accept is Accept within a transaction. It writes nothing before all that can
// be refused has been.
func (e *Engine) accept(tx *storage.Tx, ev *automations.Event) (*Receipt, error) {
	defs := e.definitionsOf(tx)
	a := &acceptance{
		engine: e, tx: tx, defs: defs, event: ev, now: e.clock.today(),
		listeners: defs.listeners(ev.Name, ev.Intake.FoldCase),
	}
	if err := a.resolveContact(); err != nil {
		return nil, err
	}
	a.receipt.Delivery = &automations.Delivery{
		ID: newID(), Event: ev.Name, ContactID: a.contactID(), Email: ev.Email, Payload: ev.Payload,
		Test: ev.Test, ReceivedAt: a.now, OccurredAt: ev.OccurredAt,
	}
	if a.contact != nil {
		a.receipt.Delivery.Email = a.contact.Email
		if err := a.resumeWaits(); err != nil { // before new runs start: an event never resumes what it started
			return nil, err
		}
	}
	for _, w := range a.listeners {
		if err := a.consider(w); err != nil {
			return nil, err
		}
	}
	if len(a.receipt.Delivery.Verdicts) == 0 {
		a.explainSilence()
	}
	if err := tx.AddDelivery(a.receipt.Delivery); err != nil {
		return nil, err
	}
	return &a.receipt, nil
}

// acceptance is one event on its way through one transaction.
type acceptance struct {
	engine    *Engine
	tx        *storage.Tx
	defs      *definitions
	event     *automations.Event
	now       time.Time
	listeners []*automations.Workflow
	contact   *automations.Contact // nil when nothing listens and the door then makes none
	receipt   Receipt
}

func (a *acceptance) contactID() automations.ID {
	if a.contact == nil {
		return automations.ID{}
	}
	return a.contact.ID
}

// resolveContact finds the event's contact, or makes it.
func (a *acceptance) resolveContact() (err error) {
	if a.event.Email == "" {
		a.contact, err = a.tx.Contact(a.event.ContactID)
		if errors.Is(err, storage.ErrNotFound) {
			return automations.Errorf(automations.KindNotFound, "contact_not_found",
				"no contact has the id %s; create it first or send the event with its email", a.event.ContactID)
		}
		return err
	}
	a.contact, err = a.tx.ContactByEmail(a.event.Email)
	if !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	if a.event.Intake.MustMatch && !a.anyEnabled() {
		return nil
	}
	a.contact = &automations.Contact{ID: newID(), Email: a.event.Email, CreatedAt: a.now, UpdatedAt: a.now}
	return a.tx.CreateContact(a.contact)
}

func (a *acceptance) anyEnabled() bool {
	for _, w := range a.listeners {
		if w.Status == automations.StatusEnabled {
			return true
		}
	}
	return false
}

func (a *acceptance) verdict(v automations.Verdict) {
	a.receipt.Delivery.Verdicts = append(a.receipt.Delivery.Verdicts, v)
}

// resumeWaits ends the waits for this event, and keeps it for the runs that
// have such a wait still before them.
func (a *acceptance) resumeWaits() error {
	for _, ref := range a.tx.Waiting(a.contact.ID, a.event.Name) {
		row, flow, trigger, err := a.waiting(ref)
		switch {
		case err != nil: // of this run alone: the event is stored all the same
			a.engine.log.Error("a run that waits cannot be read; the event passes it by", "run", ref.RunID, "error", err)
			continue
		case row.Test != a.event.Test:
		case !a.defs.exists[row.WorkflowID]:
			err = abandon(a.tx, row, flow, a.now)
		default:
			err = a.arrive(row, flow, trigger)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// waiting reads a run that the event may concern.
func (a *acceptance) waiting(ref automations.RunRef) (row *storage.RunRow, flow *automations.Flow, trigger *automations.Delivery, err error) {
	if row, err = a.tx.Run(ref); err != nil {
		return nil, nil, nil, err
	}
	if flow, err = a.defs.flow(a.tx, row.WorkflowID, row.Revision); err != nil {
		return nil, nil, nil, err
	}
	trigger, err = a.tx.Delivery(row.TriggerEventID)
	return row, flow, trigger, err
}

// arrive tells a run of the event.
func (a *acceptance) arrive(row *storage.RunRow, flow *automations.Flow, trigger *automations.Delivery) (err error) {
	d := a.receipt.Delivery
	v := row.Arrived(flow, d, trigger, a.contact, a.event.Intake.FoldCase, a.now)
	switch v.Reason {
	case "":
		return nil
	case automations.Kept:
		var kept bool
		if kept, err = a.tx.AddArrival(row.Ref(), d.ID); !kept {
			v.Reason = automations.TooMany
		}
	case automations.Resumed:
		a.receipt.Resumed = append(a.receipt.Resumed, row.Run)
		err = a.tx.SaveRun(row)
	}
	a.verdict(v)
	return err
}

// consider decides whether the event starts a run of the workflow.
func (a *acceptance) consider(w *automations.Workflow) error {
	if w.Status != automations.StatusEnabled {
		a.verdict(automations.Verdict{Reason: automations.Disabled, WorkflowID: w.ID})
		return nil
	}
	flow, err := a.defs.flow(a.tx, w.ID, w.Revision)
	if err != nil { // of this workflow alone: the event is stored all the same
		a.engine.log.Error("an enabled automation cannot be read; it starts no runs", "automation", w.ID, "error", err)
		a.verdict(automations.Verdict{Reason: automations.Disabled, WorkflowID: w.ID})
		return nil
	}
	v := automations.Verdict{WorkflowID: w.ID, Reason: automations.Started}
	scope := &automations.Scope{Event: a.event.Payload, Trigger: a.event.Payload, Contact: a.contact}
	if match := flow.Trigger().Action.(*automations.TriggerAction).Conditions; match != nil {
		var held bool
		if held, v.Compared = match.Eval(scope.Lookup); !held {
			v.Reason = automations.ConditionsNotMet
			a.verdict(v)
			return nil
		}
	}
	if a.tooMany(flow) {
		v.Reason = automations.TooMany
		a.verdict(v)
		return nil
	}
	repeats, err := a.deduplicate(w, scope)
	if err != nil {
		return err
	}
	if repeats != nil {
		v.Reason, v.OriginalID = automations.Deduplicated, repeats.DeliveryID
		v.WindowSeconds = int64(repeats.Until.Sub(repeats.Since) / time.Second)
		a.verdict(v)
		return nil
	}
	return a.start(w, flow, v)
}

// MaxFanOut is how many runs one event can start, and how many runs of one
// contact can wait for the same event, which will resume them all at once:
// what an event does is one transaction, and everybody waits for it.
const MaxFanOut = 1000

// tooMany reports whether one run more is beyond MaxFanOut.
func (a *acceptance) tooMany(flow *automations.Flow) bool {
	for _, name := range flow.WaitNames() {
		if len(a.tx.Waiting(a.contact.ID, name)) >= MaxFanOut {
			return true
		}
	}
	return len(a.receipt.Started) >= MaxFanOut
}

func (a *acceptance) start(w *automations.Workflow, flow *automations.Flow, v automations.Verdict) error {
	run := automations.NewRun(newID(), w, flow, a.receipt.Delivery, a.now)
	if err := a.tx.InsertRun(run); err != nil {
		return err
	}
	if err := a.tx.AddWaits(run, flow.WaitNames()); err != nil {
		return err
	}
	v.RunID = run.ID
	a.receipt.Started = append(a.receipt.Started, run)
	a.verdict(v)
	return nil
}

// deduplicate returns the open window that the event falls into, or opens one
// and returns nil.
func (a *acceptance) deduplicate(w *automations.Workflow, scope *automations.Scope) (*storage.Dedup, error) {
	window := w.Deduplication.Window(a.event.Intake.DefaultWindow)
	if window == 0 {
		return nil, nil
	}
	parts := []string{w.Trigger}
	if w.Deduplication != nil {
		for _, path := range w.Deduplication.Key {
			parts = append(parts, scope.Identity(path))
		}
	}
	if a.event.Test {
		parts = append(parts, "test") // no value of a path: those are JSON
	}
	// The clock is read here, where events pass one by one, so that two at the
	// same moment agree on which came first.
	key, at := a.tx.DedupKey(w.ID, a.contact.ID, parts...), a.engine.clock.now()
	open, err := a.tx.Dedup(key, at)
	switch {
	case err == nil:
		return &open, nil
	case !errors.Is(err, storage.ErrNotFound):
		return nil, err
	}
	return nil, a.tx.AddDedup(key, storage.Dedup{DeliveryID: a.receipt.Delivery.ID, Since: at, Until: at.Add(window)})
}

// explainSilence says why nothing listened.
func (a *acceptance) explainSilence() {
	for _, w := range a.defs.nearMisses(a.event.Name) {
		a.verdict(automations.Verdict{Reason: automations.NearMiss, WorkflowID: w.ID, Trigger: w.Trigger})
	}
	if len(a.receipt.Delivery.Verdicts) == 0 {
		a.verdict(automations.Verdict{Reason: automations.Unmatched})
	}
}

// Ready reports whether the engine can take work: the file accepts a write and
// the wake loop keeps up.
func (e *Engine) Ready() error {
	if err := e.db.Update(func(tx *storage.Tx) error { return tx.Probe() }); err != nil {
		return fmt.Errorf("the data file takes no writes: %w", err)
	}
	return e.turning()
}

// Alive reports whether the engine moves, for whoever would end a program that
// does not: the committer and the wake loop have their turns. Unlike Ready it costs
// the disk nothing, and a full disk, which no restart cures, is none of its business.
// While the committer is stuck it does not return.
func (e *Engine) Alive() error {
	if err := e.db.Update(func(*storage.Tx) error { return nil }); err != nil {
		return fmt.Errorf("the data file takes no updates: %w", err)
	}
	return e.turning()
}

// turning reports whether the wake loop keeps up. A held one need not.
func (e *Engine) turning() error {
	if e.Held() != nil {
		return nil
	}
	var due []storage.Wake
	err := e.db.View(func(tx *storage.Tx) error {
		due, _ = tx.DueRuns(time.Now().Add(-maxLag), 1)
		return nil
	})
	if idle := time.Since(time.UnixMilli(e.lastTurn.Load())); err == nil && len(due) > 0 && idle > maxLag {
		return fmt.Errorf("runs are overdue and the scheduler last looked %s ago", idle.Round(time.Second))
	}
	return err
}

// maxLag is how far behind the wake loop may be before the engine is not
// ready.
const maxLag = 10 * time.Second
