package storage

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/opensend/opensend/automations"
)

// Fault is something in the file that does not fit together.
type Fault struct {
	Text string `json:"text"`
	// Repair is what [Tx.Repair] does about it; empty when only a backup helps.
	Repair string `json:"repair,omitempty"`

	fix func(*Tx) error
}

func (f Fault) Error() string { return f.Text }

// maxFaults bounds what Check reports.
const maxFaults = 20

// Check walks over the whole file and returns what does not fit together: the
// first faults that [Tx.Faults] finds, as one error. It takes time in
// proportion to the file.
func (tx *Tx) Check() error {
	faults, _ := tx.Faults(nil)
	var errs []error
	for _, f := range faults[:min(len(faults), maxFaults)] {
		errs = append(errs, f)
	}
	return errors.Join(errs...)
}

// Faults walks over the whole file and returns everything that does not fit
// together: pages, checksums, records that cannot be read, runs that nothing
// will move, index rows without their record and records without their index
// rows, counts that are not what a scan finds. It also tells how many rows there
// are. progress, when not nil, is told of rows as they are passed.
func (tx *Tx) Faults(progress func(rows int)) (faults []Fault, rows int) {
	c := &checker{tx: tx, faults: []Fault{}, progress: progress, counted: map[runCount]int64{}, flows: map[string][]string{}}
	for err := range tx.bolt.Check() {
		c.fault("structure: %w", err)
	}
	c.walk()
	return c.faults, c.rows
}

// Repair does what the faults say can be done, and returns those it dealt with
// and those that are left. It makes index rows, counts and wakes anew and drops
// index rows that point nowhere; it never deletes a record.
func (tx *Tx) Repair() (done, left []Fault, err error) {
	// What is mended can bring to light what it hid, such as a count that was
	// wrong only because of it: a few passes get to the end of that.
	for range 4 {
		if err := tx.flush(); err != nil {
			return nil, nil, err
		}
		c := &checker{tx: tx, counted: map[runCount]int64{}, flows: map[string][]string{}, mending: true}
		c.walk()
		left = left[:0]
		mended := len(done)
		for _, f := range c.faults {
			if f.fix == nil {
				left = append(left, f)
				continue
			}
			if err := f.fix(tx); err != nil {
				return nil, nil, fmt.Errorf("%s: %w", f.Repair, err)
			}
			done = append(done, f)
		}
		if len(done) == mended {
			break
		}
	}
	return done, left, nil
}

// check says what is looked at in a bucket beside the envelopes of its rows. At
// least one of its fields is set.
type check struct {
	// record, of a bucket of records, reads one and returns the index rows that
	// follow from it, in all buckets.
	record func(c *checker, key []byte) ([]entry, error)
	// owner, of an index, names the record that a row follows from.
	owner func(key, body []byte) (bucket, []byte)
	// row looks at whatever else there is to a row.
	row func(c *checker, key, body []byte)
	// slot looks at a row of a bucket with slots of time.
	slot func(c *checker, slot, key, body []byte)
}

// entry is an index row that follows from a record.
type entry struct {
	bucket    bucket
	key, body []byte
}

// checker is one walk over the file.
type checker struct {
	tx       *Tx
	faults   []Fault
	rows     int
	progress func(rows int)

	counted map[runCount]int64
	blind   bool                // a run could not be read: counts mean nothing
	flows   map[string][]string // names that a revision waits for, by its key
	mending bool                // faults are repaired: counts come last
	fixes   int
}

func (c *checker) fault(format string, args ...any) {
	c.faults = append(c.faults, Fault{Text: fmt.Errorf(format, args...).Error()})
}

func (c *checker) repairable(fix func(*Tx) error, repair, format string, args ...any) {
	c.fixes++
	c.faults = append(c.faults, Fault{Text: fmt.Sprintf(format, args...), Repair: repair, fix: fix})
}

func (c *checker) walk() {
	for b := metaBucket; b < bucketCount; b++ {
		c.guard(b, func() {
			c.tx.bucket(b).ForEach(func(key, value []byte) error {
				if value != nil {
					c.look(b, nil, key, value)
					return nil
				}
				return c.tx.bucket(b).Bucket(key).ForEach(func(k, v []byte) error {
					c.look(b, key, k, v)
					return nil
				})
			})
		})
	}
	if !c.blind && !(c.mending && c.fixes > 0) {
		c.compareCounts()
	}
}

// guard turns a panic over what nobody expected in a bucket into a fault.
func (c *checker) guard(b bucket, look func()) {
	defer func() {
		if caught := recover(); caught != nil {
			c.fault("%s cannot be read: %v", b, caught)
		}
	}()
	look()
}

// look holds one row, in a slot of time unless that is nil, against the others.
func (c *checker) look(b bucket, slot, key, value []byte) {
	c.rows++
	if c.progress != nil && c.rows%1000 == 0 {
		c.progress(c.rows)
	}
	check := checks[b]
	body, ok := open(key, value)
	if !ok {
		c.damaged(b, check, key)
		return
	}
	if check.record != nil {
		c.lookAtRecord(b, check, key)
	}
	if check.owner != nil {
		c.lookAtEntry(entry{b, key, body})
	}
	if check.row != nil {
		check.row(c, key, body)
	}
	if check.slot != nil {
		check.slot(c, slot, key, body)
	}
}

// damaged reports a row that fails its checksum. An index row and a count can be
// made anew from the records.
func (c *checker) damaged(b bucket, check check, key []byte) {
	key = bytes.Clone(key)
	switch {
	case b == runsBucket:
		c.blind = true
	case b == runCountsBucket && !c.blind:
		return // compareCounts makes it anew
	}
	if check.owner == nil {
		c.fault("a record in %s (key %x) fails its checksum", b, key)
		return
	}
	c.repairable(func(tx *Tx) error { return tx.delete(b, key) }, fmt.Sprintf("drop the row %x of %s, and make it anew from its record", key, b),
		"a row of %s (key %x) fails its checksum", b, key)
}

// lookAtRecord makes sure that a record can be read and has its index rows.
func (c *checker) lookAtRecord(b bucket, check check, key []byte) {
	entries, err := check.record(c, key)
	if err != nil {
		if b == runsBucket {
			c.blind = true
		}
		c.fault("%s %s cannot be read: %w", b, keyText(key), err)
		return
	}
	for _, e := range entries {
		body, err := c.tx.get(e.bucket, e.key)
		switch {
		case err == nil && bytes.Equal(body, e.body):
		case err == nil && c.claimed(e, body):
			c.fault("%s %s and another record both claim a row of %s (key %x): delete one of the two over the API", b, keyText(key), e.bucket, e.key)
		case err == nil || errors.Is(err, ErrNotFound):
			c.repairable(func(tx *Tx) error { return tx.put(e.bucket, e.key, e.body) }, fmt.Sprintf("add the row to %s", e.bucket),
				"%s %s has no row in %s", b, keyText(key), e.bucket)
		} // damaged: reported, and dropped, where it lies
	}
}

// claimed reports whether an index row with this body follows from a record.
func (c *checker) claimed(e entry, body []byte) bool {
	ok, _ := c.follows(entry{e.bucket, e.key, body})
	return ok
}

// follows finds out whether an index row follows from its record; err is set
// when that record cannot be read.
func (c *checker) follows(e entry) (ok bool, err error) {
	owner, key := checks[e.bucket].owner(e.key, e.body)
	entries, err := checks[owner].record(c, key)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return slices.ContainsFunc(entries, func(f entry) bool {
		return f.bucket == e.bucket && bytes.Equal(f.key, e.key) && bytes.Equal(f.body, e.body)
	}), err
}

// lookAtEntry makes sure that an index row follows from a record. A row whose
// record is damaged is left alone: it may be all that tells of it.
func (c *checker) lookAtEntry(e entry) {
	if ok, err := c.follows(e); err != nil || ok || c.forgiven(e) {
		return
	}
	key := bytes.Clone(e.key)
	c.repairable(func(tx *Tx) error { return tx.delete(e.bucket, key) }, "drop the row",
		"a row of %s (key %x) points at a record that is gone or does not expect it", e.bucket, key)
}

// compareCounts holds run_counts against the runs that were seen.
func (c *checker) compareCounts() {
	seen := map[string]int64{}
	for at, n := range c.counted {
		seen[string(at.key())] = n
	}
	c.tx.each(runCountsBucket, nil, func(key []byte) bool {
		if seen[string(key)] == 0 {
			stray := bytes.Clone(key)
			c.repairable(func(tx *Tx) error { return tx.delete(runCountsBucket, stray) }, "drop the count",
				"runs of automation %s are counted (key %x) and there are none", automations.ID(key), key)
		}
		return true
	})
	for at, want := range c.counted {
		n, err := c.tx.number(runCountsBucket, at.key())
		if err == nil && n == want {
			continue
		}
		found := fmt.Sprint(n)
		if err != nil {
			found = "a damaged number of"
		}
		what := string(at.status)
		if what == "" {
			what = fmt.Sprintf("of revision %d", at.revision)
		}
		c.repairable(func(tx *Tx) error { return tx.put(runCountsBucket, at.key(), countBody(want)) }, fmt.Sprintf("set the count to %d", want),
			"%s runs %s of automation %s are counted, there are %d", found, what, at.workflow, want)
	}
}
