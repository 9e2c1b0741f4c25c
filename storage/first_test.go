package storage_test

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/opensend/opensend/storage"
	"github.com/opensend/opensend/storage/storagetest"
)

// Whatever a first start leaves when it is cut short, the next one makes a
// whole file: what is not complete never has the file's name.
func TestFirstStartCutShort(t *testing.T) {
	made := storagetest.Open(t)
	path := made.Path()
	if err := made.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, left := range []int{0, 1, 4096, 8192, 12288, 16384, 20480, len(whole) - 1, len(whole)} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, ".x.db.new-1"), whole[:left], 0o600); err != nil {
			t.Fatal(err)
		}
		opens(t, filepath.Join(dir, "x.db"))
	}
	dir := t.TempDir() // it got as far as the second name
	if err := errors.Join(os.WriteFile(filepath.Join(dir, ".x.db.new-1"), whole, 0o600), os.Link(filepath.Join(dir, ".x.db.new-1"), filepath.Join(dir, "x.db"))); err != nil {
		t.Fatal(err)
	}
	opens(t, filepath.Join(dir, "x.db"))
	opens(t, filepath.Join(t.TempDir(), "not", "there", "yet", "x.db"))
}

func opens(t *testing.T, path string) {
	t.Helper()
	db := storagetest.Reopen(t, path)
	err := errors.Join(db.Update(func(tx *storage.Tx) error { return tx.Probe() }), db.View(func(tx *storage.Tx) error { return tx.Check() }))
	if err != nil {
		t.Error(err)
	}
}

// Of many first starts at once one gets the file, whole, and the others are
// told that it is in use.
func TestFirstStartsAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	var wg sync.WaitGroup
	var opened atomic.Pointer[storage.DB]
	for range 8 {
		wg.Go(func() {
			db, err := storage.Open(path)
			if _, inUse := errors.AsType[*storage.InUseError](err); inUse {
				return
			}
			if err != nil || !opened.CompareAndSwap(nil, db) {
				t.Errorf("a second one opened it, or failed: %v", err)
			}
		})
	}
	wg.Wait()
	if err := opened.Load().Close(); err != nil {
		t.Fatal(err)
	}
	opens(t, path)
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("%v are left: %v", entries, err)
	}
}
