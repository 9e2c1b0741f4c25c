package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/opensend/opensend/automations"
)

// ErrNotFound says that no record has the key.
var ErrNotFound = errors.New("not found")

// Tx is a transaction on the file. The methods that change something may be
// called in [DB.Update] only.
type Tx struct {
	bolt    *bolt.Tx
	db      *DB
	buckets [bucketCount]*bolt.Bucket
	writes  int                // puts and deletes so far
	counts  map[runCount]int64 // changes of run_counts not yet written
	tallies map[tallyAt]int64  // changes of tallies not yet written

	marks     Marks
	listeners listeners // who is told what; nil until it is asked for, and after a change
	noticed   bool      // a delivery to a webhook was queued

	failpoint func(*Tx) error // of tests: called before each write
}

func (tx *Tx) bucket(b bucket) *bolt.Bucket {
	if tx.buckets[b] == nil {
		bb := tx.bolt.Bucket([]byte(bucketNames[b]))
		if b.appended() {
			bb.FillPercent = 0.95
		}
		tx.buckets[b] = bb
	}
	return tx.buckets[b]
}

// get returns the body stored under the key, valid until the transaction
// ends; ErrNotFound when there is none.
func (tx *Tx) get(b bucket, key []byte) ([]byte, error) {
	value := tx.bucket(b).Get(key)
	if value == nil {
		return nil, ErrNotFound
	}
	body, ok := open(key, value)
	if !ok {
		return nil, &CorruptError{Bucket: b.String(), Key: bytes.Clone(key)}
	}
	return body, nil
}

func (tx *Tx) has(b bucket, key []byte) bool { return tx.bucket(b).Get(key) != nil }

// writing must be called before every write: what has written is never
// committed in part.
func (tx *Tx) writing() error {
	tx.writes++
	if tx.failpoint != nil {
		return tx.failpoint(tx)
	}
	return nil
}

func (tx *Tx) put(b bucket, key, body []byte) error {
	return tx.putValue(b, key, sealed(key, body))
}

func (tx *Tx) putValue(b bucket, key, value []byte) error {
	if err := tx.writing(); err != nil {
		return err
	}
	return tx.bucket(b).Put(key, value)
}

func (tx *Tx) delete(b bucket, key []byte) error {
	if err := tx.writing(); err != nil {
		return err
	}
	return tx.bucket(b).Delete(key)
}

// record reads and decodes one record.
func record[T any](tx *Tx, b bucket, key []byte) (*T, error) {
	body, err := tx.get(b, key)
	if err != nil {
		return nil, err
	}
	return decode[T](b, key, body)
}

func decode[T any](b bucket, key, body []byte) (*T, error) {
	v := new(T)
	if err := decodeRecord(key, body, v); err != nil {
		return nil, fmt.Errorf("%w: %w", &CorruptError{Bucket: b.String(), Key: bytes.Clone(key)}, err)
	}
	return v, nil
}

func (tx *Tx) putRecord(b bucket, key []byte, v any) error {
	value, err := appendRecord(envelope(recordRoom), key, v)
	if err != nil {
		return err
	}
	return tx.putValue(b, key, seal(key, value))
}

// recordRoom is enough for most records of an event.
const recordRoom = 240

// idAt reads an index row whose body is an id.
func (tx *Tx) idAt(b bucket, key []byte) (automations.ID, error) {
	body, err := tx.get(b, key)
	if err != nil {
		return automations.ID{}, err
	}
	return automations.ID(body), nil
}

// each calls visit with the keys that start with prefix, in order, until it
// returns false. visit must not change the bucket.
func (tx *Tx) each(b bucket, prefix []byte, visit func(key []byte) bool) {
	c := tx.bucket(b).Cursor()
	for k, _ := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		if !visit(k) {
			return
		}
	}
}

// Marks tell whoever caches something whether it has changed: a mark is new
// whenever what it stands for is, and never comes again while the program runs.
type Marks struct {
	Definitions int64 // workflows, event types and templates
	APIKeys     int64 // which there are, by which names
}

// Marks are those of what the transaction sees, or of what was there a moment
// before: never of what came later.
func (tx *Tx) Marks() Marks { return tx.marks }

// Marks are those of the last commit that has returned.
func (db *DB) Marks() Marks { return Marks{db.definitions.Load(), db.apiKeys.Load()} }

// definitionsChanged must be called by everything that changes a definition, and
// apiKeysChanged when there is another key, one less, or one with another name.
func (tx *Tx) definitionsChanged() { tx.marks.Definitions = tx.db.newMark() }

func (tx *Tx) apiKeysChanged() { tx.marks.APIKeys = tx.db.newMark() }

// newMark is the committer's own. It counts on after a rollback.
func (db *DB) newMark() int64 {
	db.lastMark++
	return db.lastMark
}

// Probe writes something of no meaning, to see whether the file takes writes.
func (tx *Tx) Probe() error { return tx.put(metaBucket, []byte("probe"), nil) }

// Epoch names this life of the file; a restored copy has another.
func (tx *Tx) Epoch() (automations.ID, error) { return tx.idAt(metaBucket, []byte("epoch")) }

// runCount is a key of run_counts: of the runs of a status or, when that is
// empty, of a revision.
type runCount struct {
	workflow automations.ID
	status   automations.RunStatus
	revision int
}

func (at runCount) key() []byte {
	if at.status == "" {
		return tuple(at.workflow, "", at.revision)
	}
	return tuple(at.workflow, string(at.status))
}

func (tx *Tx) countRun(workflow automations.ID, status automations.RunStatus, by int64) {
	tx.count(runCount{workflow: workflow, status: status}, by)
}

func (tx *Tx) countRevision(workflow automations.ID, revision int, by int64) {
	tx.count(runCount{workflow: workflow, revision: revision}, by)
}

func (tx *Tx) count(at runCount, by int64) {
	if tx.counts == nil {
		tx.counts = map[runCount]int64{}
	}
	tx.counts[at] += by
	tx.writes++
}

// runsOfRevision is how many runs of a revision there are.
func (tx *Tx) runsOfRevision(workflow automations.ID, revision int) (int64, error) {
	at := runCount{workflow: workflow, revision: revision}
	n, err := tx.number(runCountsBucket, at.key())
	return n + tx.counts[at], err
}

// flush writes what was gathered during the transaction.
func (tx *Tx) flush() error {
	for at, by := range tx.counts {
		if by == 0 {
			continue
		}
		key := at.key()
		n, err := tx.number(runCountsBucket, key)
		if err != nil { // nothing hangs on it: it stays as it is, for Check to tell of
			tx.db.unknown(err)
			continue
		}
		if n+by == 0 {
			err = tx.delete(runCountsBucket, key)
		} else {
			err = tx.put(runCountsBucket, key, binary.BigEndian.AppendUint64(nil, uint64(n+by)))
		}
		if err != nil {
			return err
		}
	}
	tx.counts = nil
	return tx.flushTallies()
}

// number reads an 8-byte count, zero when there is none. The error is always
// that it is damaged.
func (tx *Tx) number(b bucket, key []byte) (int64, error) {
	body, err := tx.get(b, key)
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	if err == nil && len(body) != 8 {
		err = &CorruptError{Bucket: b.String(), Key: bytes.Clone(key)}
	}
	if err != nil {
		return 0, err
	}
	return int64(binary.BigEndian.Uint64(body)), nil
}

// unknown says once of a count that it is damaged. It is the committer's own.
func (db *DB) unknown(err error) {
	if text := err.Error(); !db.told[text] {
		db.told[text] = true
		db.options.Log.Error("a count cannot be read; the rest goes on without it: opensend check says more", "error", err)
	}
}

// due visits up to limit rows, keyed by time below prefix, that are due at now,
// and returns when the row after them is due, zero when there is none. visit
// gets the key after its time and must not change the bucket.
func (tx *Tx) due(b bucket, prefix []byte, now time.Time, limit int, visit func(at time.Time, rest []byte)) (next time.Time) {
	c := tx.bucket(b).Cursor()
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix) && k != nil; k, _ = c.Next() {
		at, rest := splitTime(k[len(prefix):])
		if at.After(now) || limit == 0 {
			return at
		}
		limit--
		visit(at, rest)
	}
	return time.Time{}
}
