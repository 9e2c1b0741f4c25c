// Package storagetest opens data files for tests.
package storagetest

import (
	"path/filepath"
	"testing"

	"github.com/opensend/opensend/storage"
)

// Open opens a new data file that is closed when the test ends.
func Open(t testing.TB) *storage.DB {
	t.Helper()
	return Reopen(t, filepath.Join(t.TempDir(), "opensend.db"))
}

// Reopen opens the data file at path, closed when the test ends.
func Reopen(t testing.TB, path string) *storage.DB {
	t.Helper()
	db, err := storage.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}
