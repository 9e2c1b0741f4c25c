package storage

import (
	"bytes"
	"encoding/binary"
	"time"

	"github.com/opensend/opensend/automations"
)

const (
	// TallySlot is the time that one tally counts.
	TallySlot = 30 * time.Minute
	// TallyLife is how long tallies are kept.
	TallyLife = 35 * day
)

// tallyAt is a key of tallies: what is counted, for a workflow or, when that is
// zero, for all.
type tallyAt struct {
	slot     int64 // of TallySlot since 1970
	workflow automations.ID
	kind     automations.Tally
}

func (at tallyAt) key() []byte {
	return append(tuple(time.UnixMilli(at.slot*TallySlot.Milliseconds()), at.workflow), byte(at.kind))
}

// tally counts n things at a time. It is written with the transaction.
func (tx *Tx) tally(kind automations.Tally, workflow automations.ID, at time.Time, n int64) {
	if tx.tallies == nil {
		tx.tallies = map[tallyAt]int64{}
	}
	tx.tallies[tallyAt{at.UnixMilli() / TallySlot.Milliseconds(), workflow, kind}] += n
}

func (tx *Tx) flushTallies() error {
	if n := tx.db.rejected.Swap(0); n > 0 {
		tx.tally(automations.TallyRejected, automations.ID{}, time.Now(), n)
	}
	for at, by := range tx.tallies {
		n, err := tx.number(talliesBucket, at.key())
		if err != nil { // it goes when it is old
			tx.db.unknown(err)
			continue
		}
		if err := tx.put(talliesBucket, at.key(), binary.BigEndian.AppendUint64(nil, uint64(n+by))); err != nil {
			return err
		}
	}
	return nil
}

// CountRejected counts an event that was refused. It is written with whatever
// is written next, and lost when the program ends before that.
func (db *DB) CountRejected() { db.rejected.Add(1) }

// Tallies visits the tallies from the slot of a time on, in order of time, but
// those that are damaged.
func (tx *Tx) Tallies(from time.Time, visit func(slot time.Time, workflow automations.ID, kind automations.Tally, n int64)) {
	c := tx.bucket(talliesBucket).Cursor()
	for key, _ := c.Seek(tuple(from.Truncate(TallySlot))); key != nil; key, _ = c.Next() {
		n, err := tx.number(talliesBucket, key)
		if err != nil {
			continue
		}
		at, rest := splitTime(key)
		visit(at, automations.ID(rest[:16]), automations.Tally(rest[16]), n)
	}
}

// tally drops a tally that is too old.
func (s *sweeping) tally(key []byte) error {
	if at, _ := splitTime(key); at.Add(TallyLife).After(s.now) {
		s.from = bytes.Repeat([]byte{0xff}, 64)
		return nil
	}
	return s.delete(talliesBucket, key)
}

// tallyRun counts a run that starts or ends, for its workflow and for all.
func (tx *Tx) tallyRun(row *RunRow) {
	kind, ok := row.Status.Tally()
	if row.status == "" {
		kind, ok = automations.TallyRunsStarted, true
	}
	if ok {
		tx.tally(kind, automations.ID{}, row.UpdatedAt, 1)
		tx.tally(kind, row.WorkflowID, row.UpdatedAt, 1)
	}
}
