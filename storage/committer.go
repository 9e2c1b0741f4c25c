package storage

import (
	"errors"
	"fmt"
	"runtime/debug"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/opensend/opensend/automations"
)

const (
	maxQueued = 4096 // updates waiting for the committer; more are refused at once
	maxBatch  = 512  // updates sharing one transaction
)

// update is one call of DB.Update on its way through the committer.
type update struct {
	fn   func(*Tx) error
	err  error
	done chan struct{}
}

// Update runs fn in a transaction that it may share with other updates, and
// returns once that is on disk. When fn returns an error nothing of it stays,
// and nobody else is affected. fn may run more than once before Update
// returns, so it must set its results afresh each time. It must do no I/O of
// its own: everyone waits for it.
//
// An *automations.Error of KindUnavailable means that the queue or the disk is
// full; nothing was written and the caller may try again. [ErrClosed] and
// [ErrFailed] mean that this DB is of no more use.
func (db *DB) Update(fn func(*Tx) error) error {
	u := &update{fn: fn, done: make(chan struct{})}
	if err := db.enqueue(u); err != nil {
		return err
	}
	<-u.done
	return u.err
}

func (db *DB) enqueue(u *update) error {
	db.closing.RLock()
	defer db.closing.RUnlock()
	if db.closed {
		return ErrClosed
	}
	select {
	case db.updates <- u:
		return nil
	default:
		db.meter.Refused.Add(1)
		return automations.Errorf(automations.KindUnavailable, "overloaded", "the server has more work than it can take; try again in a moment")
	}
}

// commitLoop is the only writer. It commits whatever is waiting, at once: no
// timer holds back a lonely update, and under load the updates that arrive
// during one fsync share the next.
func (db *DB) commitLoop() {
	defer close(db.committerDone)
	batch := make([]*update, 0, maxBatch)
	for u := range db.updates {
		batch = append(batch[:0], u)
		for more := true; more && len(batch) < maxBatch; {
			select {
			case u, ok := <-db.updates:
				if more = ok; ok {
					batch = append(batch, u)
				}
			default:
				more = false
			}
		}
		db.commitAll(batch)
	}
}

// commitAll commits the batch. An update that fails after it wrote something
// spoils the shared transaction: it is run again alone, and so are the others
// without it.
func (db *DB) commitAll(batch []*update) {
	for len(batch) > 0 {
		spoiler := db.commit(batch)
		if spoiler < 0 {
			break
		}
		u := batch[spoiler]
		if len(batch) > 1 {
			db.commit([]*update{u})
		}
		close(u.done)
		batch = append(batch[:spoiler], batch[spoiler+1:]...)
	}
	for _, u := range batch {
		close(u.done)
	}
}

// commit runs the batch in one transaction and sets each update's err. When
// one of them fails after writing, everything is rolled back and its index
// returned, else -1.
func (db *DB) commit(batch []*update) (spoiler int) {
	fail := func(err error) int {
		db.meter.failed()
		err = db.storageError(err)
		for _, u := range batch {
			u.err = err
		}
		return -1
	}
	if db.Failed() != nil {
		return fail(ErrFailed)
	}
	began := time.Now()
	btx, err := db.bolt.Begin(true)
	if err != nil {
		return fail(err)
	}
	tx := &Tx{bolt: btx, db: db, marks: db.Marks(), listeners: db.listeners, failpoint: db.failpoint}
	for i, u := range batch {
		before := tx.writes
		if u.err = run(u.fn, tx); u.err != nil && tx.writes != before {
			btx.Rollback()
			return i
		}
	}
	if tx.writes == 0 {
		btx.Rollback()
		return -1
	}
	if err := tx.flush(); err != nil {
		btx.Rollback()
		return fail(err)
	}
	id := btx.ID()
	if err := btx.Commit(); err != nil {
		if db.reached(id) {
			err = fmt.Errorf("nobody knows whether a transaction is on disk: %v", err) // not wrapped: this does not pass
		}
		return fail(err)
	}
	db.definitions.Store(tx.marks.Definitions)
	db.apiKeys.Store(tx.marks.APIKeys)
	db.meter.committed(began, len(batch), tx.tallies)
	if c := db.watched.Swap(nil); c != nil {
		close(*c)
	}
	if db.listeners = tx.listeners; tx.noticed {
		select {
		case db.webhookKick <- struct{}{}:
		default: // a token that is there already is enough
		}
	}
	return -1
}

// reached reports whether the file is at a transaction or past it, as it is
// when the writing of it failed at its very end.
func (db *DB) reached(id int) bool { return db.LastCommit() >= id }

// run calls fn and turns a panic into an error, so that a fault in one update
// does not take its neighbours along.
func run(fn func(*Tx) error, tx *Tx) (err error) {
	defer func() {
		if r := recover(); r != nil {
			tx.writes++ // it may have written: never commit it
			err = fmt.Errorf("panic in an update: %v\n%s", r, debug.Stack())
		}
	}()
	return fn(tx)
}

// CodeFull is the code of errors that pass when there is room again.
const CodeFull = "storage_full"

// storageError sorts an error of the file itself. A full disk passes; after
// anything else nobody can tell what is on disk, so the DB fails for good and
// the program must start anew from what the file says.
func (db *DB) storageError(err error) error {
	switch {
	case errors.Is(err, ErrFailed):
		return err
	case errors.Is(err, berrors.ErrMaxSizeReached), errors.Is(err, syscall.ENOSPC):
		return automations.Errorf(automations.KindUnavailable, CodeFull, "the server's disk is full; nothing was stored, try again later")
	}
	db.fail(err)
	return fmt.Errorf("%w: %w", ErrFailed, err)
}

// LastCommit is the number of the last transaction: it grows with each.
func (db *DB) LastCommit() (id int) {
	db.bolt.View(func(btx *bolt.Tx) error {
		id = btx.ID()
		return nil
	})
	return id
}

// Watch returns a channel that is closed at the next commit.
func (db *DB) Watch() <-chan struct{} {
	c := make(chan struct{})
	for !db.watched.CompareAndSwap(nil, &c) {
		if other := db.watched.Load(); other != nil {
			return *other
		}
	}
	return c
}

// View runs fn in a read-only transaction on the last committed state. Keep it
// short: the file cannot reuse pages that a reader may still see.
func (db *DB) View(fn func(*Tx) error) error {
	marks := db.Marks() // before the transaction begins: see Tx.Marks
	return db.bolt.View(func(btx *bolt.Tx) error { return fn(&Tx{bolt: btx, db: db, marks: marks}) })
}
