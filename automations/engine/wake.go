package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

const (
	// wakeBatch is how many runs advance in one transaction: enough to share
	// its fsync, few enough not to hold up the events behind it.
	wakeBatch = 128
	// maxPanics in a row at one step fail the run.
	maxPanics = 5
)

// wakeLoop advances runs as they fall due.
func (e *Engine) wakeLoop(ctx context.Context) error {
	for {
		n, next, err := e.advanceDue()
		e.lastTurn.Store(time.Now().UnixMilli())
		switch {
		case err != nil:
			if err := e.survive(ctx, "advancing runs", err); err != nil {
				return err
			}
		case n == wakeBatch: // there are more
		case n > 0: // these may be due next
			if e.cfg.Breather > 0 && sleep(ctx, nil, time.Now().Add(e.cfg.Breather)) {
				return nil
			}
		case sleep(ctx, e.wakeKick, e.clock.until(next)):
			return nil
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}

// advanceDue advances one batch of due runs and tells how many. When none is
// due, next is when one will be.
func (e *Engine) advanceDue() (n int, next time.Time, err error) {
	var due []storage.Wake
	peek := func(tx *storage.Tx) error {
		due, next = tx.DueRuns(e.clock.today(), wakeBatch)
		return nil
	}
	if err := e.db.View(peek); err != nil || len(due) == 0 {
		return 0, next, err
	}
	var mailed, erasing bool
	var moved []*automations.Run
	err = e.db.Update(func(tx *storage.Tx) error {
		mailed, erasing, moved = false, false, nil
		at := e.clock.today()
		due, _ = tx.DueRuns(at, wakeBatch)
		defs := e.definitionsOf(tx)
		for _, wake := range due {
			run, fx, err := e.advanceRun(tx, defs, wake, at)
			if err != nil {
				return fmt.Errorf("run %s: %w", wake.Ref.RunID, err)
			}
			if run != nil {
				moved = append(moved, run)
			}
			mailed = mailed || fx.Email != nil
			erasing = erasing || fx.ContactDeleted
		}
		return nil
	})
	if err == nil {
		e.logRuns("run moved", moved...)
	}
	if mailed {
		kick(e.outboxKick)
	}
	if erasing {
		kick(e.eraseKick)
	}
	return len(due), next, err
}

// advanceRun moves one run on, does what that wants done, and returns the run as
// it is now, nil when it cannot be read. Whatever is wrong with it, a damaged
// record or a panic, touches this run alone.
func (e *Engine) advanceRun(tx *storage.Tx, defs *definitions, wake storage.Wake, at time.Time) (*automations.Run, automations.Effects, error) {
	none := automations.Effects{}
	row, err := tx.Run(wake.Ref)
	if err != nil {
		e.log.Error("a run that is due cannot be read; it is set aside", "run", wake.Ref.RunID, "error", err)
		return nil, none, tx.DropWake(wake)
	}
	t := &turn{engine: e, tx: tx, defs: defs, row: row, now: at}
	if err := t.load(); err != nil {
		e.log.Error("a run cannot go on", "run", row.ID, "error", err)
		row.Fail(row.CurrentStep, "what the run needs cannot be read; the server's log says more", at)
		if t.flow == nil {
			return row.Run, none, tx.SaveRun(row)
		}
		return row.Run, none, saveRun(tx, row, t.flow)
	}
	if !defs.exists[row.WorkflowID] {
		return row.Run, none, abandon(tx, row, t.flow, at)
	}
	if caught := t.attempt(); caught != nil {
		run, err := e.poison(tx, t, caught)
		return run, none, err
	}
	return row.Run, t.effects, t.save()
}

// turn is one run being advanced.
type turn struct {
	engine  *Engine
	tx      *storage.Tx
	defs    *definitions
	row     *storage.RunRow
	flow    *automations.Flow
	world   automations.World
	effects automations.Effects
	email   *automations.Email // to be queued
	content *automations.EmailContent
	now     time.Time
}

// load reads what the run may see.
func (t *turn) load() (err error) {
	if t.flow, err = t.defs.flow(t.tx, t.row.WorkflowID, t.row.Revision); err != nil {
		return err
	}
	t.world = automations.World{
		Now:           t.now,
		SegmentExists: func(id automations.ID) bool { _, err := t.tx.Segment(id); return err == nil },
		Suppressed:    t.tx.Suppressed,
		AddressTaken:  func(email string) bool { _, err := t.tx.ContactID(email); return err == nil },
		Declared: func(property string) *automations.ContactProperty {
			declared, err := t.tx.ContactPropertyByKey(property)
			if err != nil {
				return nil
			}
			return declared
		},
	}
	if t.world.Trigger, err = t.tx.Delivery(t.row.TriggerEventID); err != nil {
		return fmt.Errorf("the event that started it: %w", err)
	}
	t.world.Contact, err = t.tx.Contact(t.row.ContactID)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	if len(t.flow.WaitNames()) == 0 {
		return nil
	}
	for _, id := range t.tx.Arrivals(t.row.Ref()) {
		d, err := t.tx.Delivery(id)
		if err != nil {
			return err
		}
		t.world.Early = append(t.world.Early, d)
	}
	return nil
}

// attempt does what may go wrong because of what a user wrote, before anything
// is stored. caught is a panic.
func (t *turn) attempt() (caught any) {
	defer func() {
		if caught = recover(); caught != nil {
			t.engine.log.Error("a step panicked", "run", t.row.ID, "step", t.row.CurrentStep, "panic", caught, "stack", string(debug.Stack()))
		}
	}()
	t.effects = automations.Advance(t.flow, t.row.Run, &t.world)
	if t.effects.Email != nil {
		t.composeEmail()
	}
	return nil
}

// save stores the run and the effects of its advance.
func (t *turn) save() error {
	if t.email != nil {
		if err := t.tx.InsertEmail(t.email, t.content); err != nil {
			return err
		}
	}
	if t.effects.ContactChanged {
		if err := t.tx.UpdateContact(t.world.Contact); err != nil {
			return err
		}
	}
	if t.effects.ContactDeleted {
		if err := t.tx.DeleteContact(t.world.Contact.ID); err != nil {
			return err
		}
	}
	for _, id := range t.effects.Consumed {
		if err := t.tx.DropArrival(t.row.Ref(), id); err != nil {
			return err
		}
	}
	return saveRun(t.tx, t.row, t.flow)
}

// saveRun stores a run, and forgets its waits when it is over.
func saveRun(tx *storage.Tx, row *storage.RunRow, flow *automations.Flow) error {
	if row.Status.Final() {
		if err := tx.DropWaits(row.Run, flow.WaitNames()); err != nil {
			return err
		}
	}
	return tx.SaveRun(row)
}

// poison sets a run aside whose step panicked: for a while, and for good when
// it keeps on. The run stays where it was before this turn, whose effects were
// not kept.
func (e *Engine) poison(tx *storage.Tx, t *turn, caught any) (*automations.Run, error) {
	row, err := tx.Run(t.row.Ref()) // afresh: the turn left it half changed
	if err != nil {
		return nil, err
	}
	row.Panics++
	row.WakeAt, row.UpdatedAt = t.now.Add(time.Duration(row.Panics*row.Panics)*time.Second), t.now
	if row.Panics >= maxPanics {
		row.Fail(row.CurrentStep, fmt.Sprintf("step %q crashed %d times: %v", t.row.CurrentStep, maxPanics, caught), t.now)
	}
	return row.Run, saveRun(tx, row, t.flow)
}

// CancelRun ends a run that is not over. An *automations.Error of KindConflict
// says that it is.
func (e *Engine) CancelRun(ref automations.RunRef, reason string, notes ...Note) (*automations.Run, error) {
	var row *storage.RunRow
	err := e.update(notes, func(tx *storage.Tx) (err error) {
		if row, err = tx.Run(ref); err != nil {
			return err
		}
		if row.Status.Final() {
			return automations.Errorf(automations.KindConflict, "run_not_cancellable", "the run is %s already; only runs in flight can be cancelled", row.Status)
		}
		flow, err := e.flowOf(tx, row)
		if err != nil {
			return err
		}
		if err := dropEmail(tx, row, reason); err != nil {
			return err
		}
		row.Cancel(reason, now())
		return saveRun(tx, row, flow)
	})
	if err != nil {
		return nil, err
	}
	return row.Run, nil
}

// abandon cancels a run whose workflow was deleted.
func abandon(tx *storage.Tx, row *storage.RunRow, flow *automations.Flow, at time.Time) error {
	if err := dropEmail(tx, row, automations.CancelledWorkflowDeleted); err != nil {
		return err
	}
	row.Cancel(automations.CancelledWorkflowDeleted, at)
	return saveRun(tx, row, flow)
}

// dropEmail keeps a cancelled run's mail from leaving, if it has not left yet.
func dropEmail(tx *storage.Tx, row *storage.RunRow, reason string) error {
	if row.EmailID == (automations.ID{}) {
		return nil
	}
	email, err := tx.Email(row.EmailID)
	if err != nil || email.Status != automations.EmailQueued {
		return err
	}
	email.Status, email.LastError, email.UpdatedAt = automations.EmailSuppressed, withdrawnBecause(reason), now()
	return tx.SaveEmail(email)
}

// RetryRun makes a failed run due again at the step that failed, and sends
// again the mail of a run that waits for an unconfirmed one. An
// *automations.Error of KindConflict says that neither is the case.
func (e *Engine) RetryRun(ref automations.RunRef, notes ...Note) (*automations.Run, error) {
	return e.retryRun(ref, e.missedBy(ref), notes)
}

func (e *Engine) retryRun(ref automations.RunRef, m missed, notes []Note) (*automations.Run, error) {
	var row *storage.RunRow
	err := e.update(notes, func(tx *storage.Tx) (err error) {
		if row, err = tx.Run(ref); err != nil {
			return err
		}
		if row.Status == automations.RunFailed {
			flow, err := e.flowOf(tx, row)
			if err != nil {
				return err
			}
			row.Retry(now())
			return e.goOn(tx, row, flow, m)
		}
		return e.requeue(tx, row)
	})
	if err != nil {
		return nil, err
	}
	kick(e.wakeKick)
	kick(e.outboxKick)
	return row.Run, nil
}

// SkipWait makes a run that waits for a time or an event go on as if that time
// were over: a wait for an event takes its timeout. An *automations.Error of
// KindConflict says that the run does not wait.
func (e *Engine) SkipWait(ref automations.RunRef, notes ...Note) (*automations.Run, error) {
	var row *storage.RunRow
	err := e.update(notes, func(tx *storage.Tx) (err error) {
		if row, err = tx.Run(ref); err != nil {
			return err
		}
		switch {
		case !e.definitionsOf(tx).exists[ref.WorkflowID]: // it is cancelled when its time comes
			return storage.ErrNotFound
		case !row.SkipWait(now()):
			return automations.Errorf(automations.KindConflict, "run_not_waiting", "the run is %s; only a run that waits for a time or an event can skip the wait", row.Status)
		}
		return tx.SaveRun(row)
	})
	if err != nil {
		return nil, err
	}
	kick(e.wakeKick)
	return row.Run, nil
}

func (e *Engine) requeue(tx *storage.Tx, row *storage.RunRow) error {
	refused := automations.Errorf(automations.KindConflict, "run_not_retryable", "the run is %s; only a failed run, or one whose mail is unconfirmed, can be retried", row.Status)
	if row.EmailID == (automations.ID{}) {
		return refused
	}
	email, err := tx.Email(row.EmailID)
	if err != nil {
		return err
	}
	if email.Status != automations.EmailUnconfirmed {
		return refused
	}
	queueNow(email.Email)
	email.UpdatedAt = now()
	return tx.SaveEmail(email)
}

func (e *Engine) flowOf(tx *storage.Tx, row *storage.RunRow) (*automations.Flow, error) {
	return e.definitionsOf(tx).flow(tx, row.WorkflowID, row.Revision)
}
