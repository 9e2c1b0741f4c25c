package storage

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/opensend/opensend/automations"
)

// maxFaults bounds what Check reports.
const maxFaults = 20

// Check walks over the whole file and returns everything that does not fit
// together: pages, checksums, and rows that point at each other. It takes time
// in proportion to the file.
func (tx *Tx) Check() error {
	var faults []error
	fault := func(format string, args ...any) {
		if len(faults) < maxFaults {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	for err := range tx.bolt.Check() {
		fault("structure: %w", err)
	}
	for b := metaBucket; b < bucketCount; b++ {
		tx.checkEnvelopes(b, fault)
	}
	if len(faults) == 0 { // records can be read
		tx.checkRuns(fault)
		tx.checkEmails(fault)
		tx.checkContacts(fault)
		tx.checkWebhooks(fault)
	}
	return errors.Join(faults...)
}

func (tx *Tx) checkEnvelopes(b bucket, fault func(string, ...any)) {
	check := func(k, v []byte) error {
		if _, ok := open(k, v); v != nil && !ok {
			fault("%w", &CorruptError{Bucket: b.String(), Key: bytes.Clone(k)})
		}
		return nil
	}
	tx.bucket(b).ForEach(func(k, v []byte) error {
		if v == nil { // a slot of time
			return tx.bucket(b).Bucket(k).ForEach(check)
		}
		return check(k, v)
	})
}

// checkRuns: a run that is not over has a wake, a wait or a mail; every wake
// and wait has its run; the counts are right.
func (tx *Tx) checkRuns(fault func(string, ...any)) {
	counted := map[runCount]int64{}
	waits := map[automations.RunRef]bool{}
	tx.each(waitsBucket, nil, func(key []byte) bool {
		ref, _ := splitRef(key[32:])
		waits[ref] = true
		if row, err := tx.Run(ref); err != nil || row.Status.Final() {
			fault("a wait points at run %s, which is over or gone: %v", ref.RunID, err)
		}
		return true
	})
	tx.each(wakesBucket, nil, func(key []byte) bool {
		at, rest := splitTime(key)
		ref, _ := splitRef(rest)
		if row, err := tx.Run(ref); err != nil || !row.WakeAt.Equal(at) {
			fault("a wake points at run %s, which does not expect it: %v", ref.RunID, err)
		}
		return true
	})
	tx.each(runsBucket, nil, func(key []byte) bool {
		ref, _ := splitRef(key)
		row, err := tx.Run(ref)
		if err != nil {
			fault("run %s: %w", ref.RunID, err)
			return true
		}
		counted[runCount{workflow: row.WorkflowID, status: row.Status}]++
		counted[runCount{workflow: row.WorkflowID, revision: row.Revision}]++
		hasWake, hasMail := !row.WakeAt.IsZero(), row.EmailID != automations.ID{}
		switch {
		case row.Status.Final() && (hasWake || hasMail):
			fault("run %s is %s and still expects something", ref.RunID, row.Status)
		case !row.Status.Final() && !hasWake && !hasMail && !waits[ref]:
			fault("run %s is %s and nothing will move it", ref.RunID, row.Status)
		case hasWake && !tx.has(wakesBucket, tuple(row.WakeAt, ref)):
			fault("run %s has no row among the wakes", ref.RunID)
		}
		return true
	})
	tx.checkCounts(counted, fault)
}

// checkCounts: run_counts has what was counted, and nothing else.
func (tx *Tx) checkCounts(counted map[runCount]int64, fault func(string, ...any)) {
	rows := 0
	tx.each(runCountsBucket, nil, func([]byte) bool { rows++; return true })
	for at, there := range counted {
		if n, err := tx.number(runCountsBucket, at.key()); err != nil || n != there {
			fault("automation %s has %d runs %s of revision %d, and %d are counted: %v", at.workflow, there, at.status, at.revision, n, err)
		}
	}
	if rows != len(counted) {
		fault("there are %d counts of runs, and %d are needed", rows, len(counted))
	}
}

// checkEmails: outbox and sending name the mails that are in that state, and
// no others.
func (tx *Tx) checkEmails(fault func(string, ...any)) {
	tx.each(emailsBucket, nil, func(key []byte) bool {
		row, err := tx.Email(automations.ID(key))
		if err != nil {
			fault("mail %x: %w", key, err)
			return true
		}
		queued := row.Status == automations.EmailQueued
		if queued && !tx.has(outboxBucket, tuple(row.NextAttemptAt, row.ID)) || row.sending != tx.has(sendingBucket, key) {
			fault("mail %s is %s and its queue does not say so", row.ID, row.Status)
		}
		return true
	})
	tx.each(outboxBucket, nil, func(key []byte) bool {
		at, rest := splitTime(key)
		if row, err := tx.Email(automations.ID(rest)); err != nil || !row.queuedAt.Equal(at) {
			fault("the outbox names mail %x, which is not queued: %v", rest, err)
		}
		return true
	})
}

// checkContacts: addresses and contacts point at each other.
func (tx *Tx) checkContacts(fault func(string, ...any)) {
	tx.each(contactEmailsBucket, nil, func(key []byte) bool {
		id, err := tx.idAt(contactEmailsBucket, key)
		if err == nil {
			var c *automations.Contact
			if c, err = tx.Contact(id); err == nil && c.Email == string(key[2:]) {
				return true
			}
		}
		fault("an address points at contact %s, which does not have it: %v", id, err)
		return true
	})
	tx.each(contactsBucket, nil, func(key []byte) bool {
		c, err := tx.Contact(automations.ID(key))
		if err == nil && !tx.has(contactEmailsBucket, tuple(c.Email)) {
			err = errors.New("its address is not in the index")
		}
		if err != nil {
			fault("contact %x: %w", key, err)
		}
		return true
	})
}
