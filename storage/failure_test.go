package storage

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/opensend/opensend/automations"
)

// A full disk passes; after any other error of the file nobody can tell what
// is on disk, and the store stops for good.
func TestStorageErrors(t *testing.T) {
	db, err := Open(filepath.Join(t.TempDir(), "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, full := range []error{syscall.ENOSPC, berrors.ErrMaxSizeReached} {
		if err := db.storageError(full); !automations.IsKind(err, automations.KindUnavailable) || db.Failed() != nil {
			t.Errorf("%v: %v, failed %v", full, err, db.Failed())
		}
	}
	if err := db.Update(func(tx *Tx) error { return tx.Probe() }); err != nil {
		t.Fatal(err)
	}
	var id int // of the newest transaction on disk
	db.bolt.View(func(tx *bolt.Tx) error { id = tx.ID(); return nil })
	if !db.reached(id) || db.reached(id+1) {
		t.Errorf("transaction %d is on disk: %v, the next: %v", id, db.reached(id), db.reached(id+1))
	}
	db.bolt.MaxSize = 1 // from here on the file may not grow
	grow := make([]byte, 32<<20)
	err = db.Update(func(tx *Tx) error { return tx.put(metaBucket, []byte("large"), grow) })
	if !automations.IsKind(err, automations.KindUnavailable) {
		t.Errorf("a full file: %v", err)
	}
	db.bolt.MaxSize = 0
	if err := db.Update(func(tx *Tx) error { return tx.put(metaBucket, []byte("large"), grow) }); err != nil {
		t.Errorf("when there is room again: %v", err)
	}
	if err := db.bolt.Close(); err != nil {
		t.Fatal(err)
	}
	if err := db.Update(func(tx *Tx) error { return tx.Probe() }); !errors.Is(err, ErrFailed) {
		t.Errorf("a file that is gone: %v", err)
	}
	select {
	case <-db.Failure():
	default:
		t.Error("the failure was not announced")
	}
	if err := db.Update(func(tx *Tx) error { return tx.Probe() }); !errors.Is(err, ErrFailed) {
		t.Errorf("afterwards: %v", err)
	}
}

// The queue is bounded: what does not fit is refused at once.
func TestFullQueue(t *testing.T) {
	db, err := Open(filepath.Join(t.TempDir(), "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	hold, held := make(chan struct{}), make(chan struct{})
	go db.Update(func(*Tx) error { close(held); <-hold; return nil })
	<-held
	var waiting []*update
	for {
		u := &update{fn: func(*Tx) error { return nil }, done: make(chan struct{})}
		if err := db.enqueue(u); err != nil {
			if !automations.IsKind(err, automations.KindUnavailable) || len(waiting) != maxQueued {
				t.Errorf("after %d: %v", len(waiting), err)
			}
			break
		}
		waiting = append(waiting, u)
	}
	close(hold)
	for _, u := range waiting {
		<-u.done
		if u.err != nil {
			t.Fatal(u.err)
		}
	}
}
