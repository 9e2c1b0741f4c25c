package storage

import (
	"errors"
	"os"
	"sync/atomic"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/metrics"
)

// Meter counts what a DB has done since it was opened. Reading it costs nothing
// to the writer.
type Meter struct {
	Commits *metrics.Histogram // how long a transaction took, from its beginning until it was on disk
	Batches *metrics.Histogram // how many updates shared a transaction that wrote something
	Failed  atomic.Int64       // transactions that could not be written
	Refused atomic.Int64       // updates that found the queue full

	tallies      [256]atomic.Int64 // by automations.Tally
	failingSince atomic.Int64      // the first failure since the last success, in Unix milliseconds
}

func newMeter() *Meter {
	const ms = time.Millisecond
	return &Meter{
		Commits: metrics.NewTimes(ms/2, ms, 2*ms, 5*ms, 10*ms, 20*ms, 50*ms, 100*ms, 250*ms, time.Second, 5*time.Second),
		Batches: metrics.NewSizes(1, 2, 4, 8, 16, 32, 64, 128, 256, maxBatch),
	}
}

// Meter tells what the DB has done since it was opened.
func (db *DB) Meter() *Meter { return db.meter }

// Waiting is how many updates wait for the committer.
func (db *DB) Waiting() int { return len(db.updates) }

// Tally is how many things of a kind were committed since the file was opened.
func (m *Meter) Tally(kind automations.Tally) int64 { return m.tallies[kind].Load() }

// FailingSince is when the file first failed to take a write that none has
// followed that it took; zero when it takes writes.
func (m *Meter) FailingSince() time.Time {
	if at := m.failingSince.Load(); at != 0 {
		return time.UnixMilli(at).UTC()
	}
	return time.Time{}
}

// committed counts a transaction that is on disk.
func (m *Meter) committed(began time.Time, updates int, tallies map[tallyAt]int64) {
	m.Commits.Since(began)
	m.Batches.Observe(int64(updates))
	for at, n := range tallies {
		if at.workflow == (automations.ID{}) {
			m.tallies[at.kind].Add(n)
		}
	}
	if m.failingSince.Load() != 0 {
		m.failingSince.Store(0)
	}
}

// failed counts a transaction that could not be written.
func (m *Meter) failed() {
	m.Failed.Add(1)
	m.failingSince.CompareAndSwap(0, time.Now().UnixMilli())
}

// Backlog is what of an index is due.
type Backlog struct {
	Due    int       // how many; at most MaxBacklog are counted
	Oldest time.Time // since when the first of them is; zero when none is
}

// MaxBacklog is how far a backlog is counted, so that asking costs the same
// whatever has gathered.
const MaxBacklog = 10_000

func (b *Backlog) add(at time.Time, _ []byte) {
	if b.Due++; b.Oldest.IsZero() || at.Before(b.Oldest) {
		b.Oldest = at
	}
}

// Age is for how long the first has been due.
func (b Backlog) Age(now time.Time) time.Duration {
	if b.Oldest.IsZero() {
		return 0
	}
	return max(now.Sub(b.Oldest), 0)
}

// DueWakes is the backlog of runs.
func (tx *Tx) DueWakes(now time.Time) (b Backlog) {
	tx.due(wakesBucket, nil, now, MaxBacklog, b.add)
	return b
}

// DueMail is the backlog of the outbox.
func (tx *Tx) DueMail(now time.Time) (b Backlog) {
	tx.due(outboxBucket, nil, now, MaxBacklog, b.add)
	return b
}

// DueNotices is the backlog of all webhooks.
func (tx *Tx) DueNotices(now time.Time) (b Backlog) {
	for _, webhook := range tx.WebhooksWithPending() {
		tx.due(webhookDueBucket, webhook[:], now, MaxBacklog-b.Due, b.add)
	}
	return b
}

// RunsByStatus is how many runs of all workflows have each status, without those
// whose count is damaged. It costs a step for each workflow and revision.
func (tx *Tx) RunsByStatus() map[automations.RunStatus]int64 {
	counts := map[automations.RunStatus]int64{}
	tx.each(runCountsBucket, nil, func(key []byte) bool {
		status := automations.RunStatus(key[18:]) // after the workflow and the length
		if key[16] == 0 && key[17] == 0 {
			return true // of a revision
		}
		n, _ := tx.number(runCountsBucket, key)
		counts[status] += n
		return true
	})
	return counts
}

// Room is what the file and its disk have left.
type Room struct {
	File  int64 // bytes of the file on the disk
	Free  int64 // of them, those in FreePages
	Disk  int64 // bytes that may still be written to the disk
	Known bool  // the disk says
	// FreePages is how many pages wait to be used again.
	FreePages int
}

// Room tells how much room there is. It costs the same whatever the file's size.
func (db *DB) Room() (r Room, err error) {
	usage, err := db.Usage()
	info, statErr := os.Stat(db.path)
	if err := errors.Join(err, statErr); err != nil {
		return r, err
	}
	r.File, r.Free = max(info.Size(), usage.File), usage.Free
	r.FreePages = int(usage.Free / int64(db.pageSize))
	r.Disk, r.Known = diskRoom(db.path)
	return r, nil
}
