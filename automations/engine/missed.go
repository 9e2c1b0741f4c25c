package engine

import (
	"errors"
	"slices"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

const (
	missedRows = 100_000 // events looked at for those that a failed run missed
	maxMissed  = 1000    // events of the contact among them
)

// missed are the events that a failed run may have missed, found before it is made
// to move again: nobody waits while many are looked at.
type missed struct {
	ids  []automations.ID // of its contact, oldest first
	upTo automations.ID   // the newest event that was looked at; zero when none was
}

// missedBy finds what a run may have missed; nothing when it has not failed, or
// waits for no events. What cannot be read is logged: the run goes on without it.
func (e *Engine) missedBy(ref automations.RunRef) (m missed) {
	err := e.db.View(func(tx *storage.Tx) error {
		row, err := tx.Run(ref)
		if err != nil || row.Status != automations.RunFailed {
			return nil // whoever changes it says so
		}
		flow, err := e.flowOf(tx, row)
		if err != nil || len(flow.WaitNames()) == 0 {
			return nil
		}
		newest, _, err := tx.Deliveries(storage.Page{Limit: 1}, nil)
		if err != nil || len(newest) == 0 {
			return err
		}
		m.upTo = newest[0].ID
		m.ids, err = eventsOf(tx, row, row.TriggerEventID)
		return err
	})
	if err != nil {
		e.log.Error("a run that failed cannot be told what it missed", "run", ref.RunID, "error", err)
	}
	return m
}

// eventsOf names the events of a run's contact that came after one, oldest first.
func eventsOf(tx *storage.Tx, row *storage.RunRow, after automations.ID) (ids []automations.ID, err error) {
	found, _, err := tx.FindDeliveries(storage.Page{Limit: maxMissed, Before: after, Look: missedRows}, storage.DeliveryFilter{ContactID: row.ContactID})
	for _, d := range slices.Backward(found) {
		ids = append(ids, d.ID)
	}
	return ids, err
}

// goOn stores a run that had failed and moves again. It is told of events from now
// on, and of those that came since it started: m, and what came after that.
func (e *Engine) goOn(tx *storage.Tx, row *storage.RunRow, flow *automations.Flow, m missed) error {
	names := flow.WaitNames()
	if len(names) == 0 {
		return tx.SaveRun(row)
	}
	after := m.upTo
	if after == (automations.ID{}) {
		after = row.TriggerEventID
	}
	since, err := eventsOf(tx, row, after)
	if err != nil { // a damaged record of any event: the run goes on all the same
		e.log.Error("a run that failed goes on, and cannot be told what it missed", "run", row.ID, "error", err)
	}
	for _, id := range slices.Concat(m.ids, since) {
		if err := tellMissed(tx, row, flow, id); err != nil {
			return err
		}
	}
	return errors.Join(tx.AddWaits(row.Run, names), tx.SaveRun(row))
}

// tellMissed keeps an event for a run that missed it, if it waits for it and the
// event is still there.
func tellMissed(tx *storage.Tx, row *storage.RunRow, flow *automations.Flow, id automations.ID) error {
	d, err := tx.Delivery(id)
	if _, damaged := errors.AsType[*storage.CorruptError](err); damaged || errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	v := row.Missed(flow, d)
	if v.Reason == "" {
		return nil
	}
	kept, err := tx.AddArrival(row.Ref(), id)
	if err == nil && kept {
		err = tx.AddVerdict(d, v)
	}
	return err
}
