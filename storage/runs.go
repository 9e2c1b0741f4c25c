package storage

import (
	"time"

	"github.com/opensend/opensend/automations"
)

// RunRow is a run together with what the indexes say about it, so that
// SaveRun can keep them in step.
type RunRow struct {
	*automations.Run
	wakeAt time.Time
	status automations.RunStatus
}

// Run reads one run.
func (tx *Tx) Run(ref automations.RunRef) (*RunRow, error) {
	r, err := record[automations.Run](tx, runsBucket, tuple(ref))
	if err != nil {
		return nil, err
	}
	return &RunRow{Run: r, wakeAt: r.WakeAt, status: r.Status}, nil
}

// InsertRun stores a new run.
func (tx *Tx) InsertRun(r *automations.Run) error {
	return tx.SaveRun(&RunRow{Run: r})
}

// SaveRun stores a changed run, and moves its wake and its workflow's counts
// along. Webhooks are told of its start and its end.
func (tx *Tx) SaveRun(row *RunRow) error {
	ref := row.Ref()
	if !row.wakeAt.Equal(row.WakeAt) {
		if !row.wakeAt.IsZero() {
			if err := tx.delete(wakesBucket, tuple(row.wakeAt, ref)); err != nil {
				return err
			}
		}
		if !row.WakeAt.IsZero() {
			if err := tx.put(wakesBucket, tuple(row.WakeAt, ref), nil); err != nil {
				return err
			}
		}
		row.wakeAt = row.WakeAt
	}
	if row.status != row.Status {
		kind := automations.RunNoticeType(row.Status)
		if row.status == "" {
			kind = automations.RunStartedNotice
			tx.countRevision(row.WorkflowID, row.Revision, 1)
		} else {
			tx.countRun(row.WorkflowID, row.status, -1)
		}
		tx.countRun(row.WorkflowID, row.Status, 1)
		tx.tallyRun(row)
		row.status = row.Status
		if err := tx.tell(kind, func() map[string]any { return automations.RunNotice(row.Run) }); err != nil {
			return err
		}
	}
	return tx.putRecord(runsBucket, tuple(ref), row.Run)
}

// Runs lists the runs of a workflow; keep, when not nil, filters.
func (tx *Tx) Runs(workflow automations.ID, page Page, keep func(*automations.Run) bool) ([]*automations.Run, Rest, error) {
	return list(tx, runsBucket, workflow[:], page, keep)
}

// LastRun reads the newest run of a workflow.
func (tx *Tx) LastRun(workflow automations.ID) (*automations.Run, error) {
	runs, _, err := tx.Runs(workflow, Page{Limit: 1}, nil)
	if err != nil {
		return nil, err
	}
	if len(runs) == 0 {
		return nil, ErrNotFound
	}
	return runs[0], nil
}

// RunCounts tells how many runs of a workflow have each status. One whose count
// is damaged is not among them.
func (tx *Tx) RunCounts(workflow automations.ID) map[automations.RunStatus]int64 {
	counts := map[automations.RunStatus]int64{}
	for _, status := range automations.RunStatuses() {
		if n, err := tx.number(runCountsBucket, tuple(workflow, string(status))); err == nil {
			counts[status] = n
		}
	}
	return counts
}

// Wake is a row of the wake index: a run and when it is due.
type Wake struct {
	At  time.Time
	Ref automations.RunRef
}

// DueRuns lists up to limit wakes that are not after now, the longest overdue
// first, and tells when the next one after them is due: zero when none is.
func (tx *Tx) DueRuns(now time.Time, limit int) (due []Wake, next time.Time) {
	next = tx.due(wakesBucket, nil, now, limit, func(at time.Time, rest []byte) {
		ref, _ := splitRef(rest)
		due = append(due, Wake{at, ref})
	})
	return due, next
}

// DropWake removes a wake whose run cannot be read.
func (tx *Tx) DropWake(w Wake) error { return tx.delete(wakesBucket, tuple(w.At, w.Ref)) }

// AddWaits notes that events of these names concern the run from now on.
func (tx *Tx) AddWaits(r *automations.Run, names []string) error {
	for _, name := range names {
		if err := tx.put(waitsBucket, waitKey(r, name), nil); err != nil {
			return err
		}
	}
	return nil
}

// DropWaits undoes AddWaits and forgets the events that came early.
func (tx *Tx) DropWaits(r *automations.Run, names []string) error {
	for _, name := range names {
		if err := tx.delete(waitsBucket, waitKey(r, name)); err != nil {
			return err
		}
	}
	if len(names) == 0 {
		return nil
	}
	for _, delivery := range tx.Arrivals(r.Ref()) {
		if err := tx.DropArrival(r.Ref(), delivery); err != nil {
			return err
		}
	}
	return nil
}

func waitKey(r *automations.Run, name string) []byte {
	return tuple(r.ContactID, waitHash(name), r.Ref())
}

// Waiting names the runs of a contact that an event of the name, in any case,
// may concern.
func (tx *Tx) Waiting(contact automations.ID, name string) (refs []automations.RunRef) {
	prefix := tuple(contact, waitHash(name))
	tx.each(waitsBucket, prefix, func(key []byte) bool {
		ref, _ := splitRef(key[len(prefix):])
		refs = append(refs, ref)
		return true
	})
	return refs
}

// MaxArrivals is how many early events one run keeps; later ones are not kept.
const MaxArrivals = 100

// AddArrival keeps an event for a wait that the run has not reached, unless the
// run keeps enough of them.
func (tx *Tx) AddArrival(ref automations.RunRef, delivery automations.ID) (kept bool, err error) {
	if len(tx.Arrivals(ref)) >= MaxArrivals {
		return false, nil
	}
	return true, tx.put(arrivalsBucket, tuple(ref, delivery), nil)
}

// Arrivals names the events kept for a run, oldest first.
func (tx *Tx) Arrivals(ref automations.RunRef) (ids []automations.ID) {
	prefix := tuple(ref)
	tx.each(arrivalsBucket, prefix, func(key []byte) bool {
		ids = append(ids, automations.ID(key[len(prefix):]))
		return true
	})
	return ids
}

// DropArrival forgets one kept event.
func (tx *Tx) DropArrival(ref automations.RunRef, delivery automations.ID) error {
	return tx.delete(arrivalsBucket, tuple(ref, delivery))
}
