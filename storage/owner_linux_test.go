package storage

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// A file that root puts in the place of the server's belongs to whom that
// belonged to. Needs root.
func TestOwnerStays(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	dir := t.TempDir()
	path, backup := filepath.Join(dir, "x.db"), filepath.Join(dir, "backup.db")
	db := openAt(t, path)
	if _, err := db.Backup(backup, false, nil); err != nil {
		t.Fatal(err)
	}
	db.Close()
	const uid, gid = 65534, 65533
	if err := os.Chown(path, uid, gid); err != nil {
		t.Fatal(err)
	}
	stays := func(after string) {
		t.Helper()
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if st := info.Sys().(*syscall.Stat_t); st.Uid != uid || st.Gid != gid || info.Mode().Perm() != 0o600 {
			t.Errorf("after %s it is of %d:%d, %v", after, st.Uid, st.Gid, info.Mode())
		}
	}
	if _, _, err := Compact(path, nil); err != nil {
		t.Fatal(err)
	}
	stays("a compaction")
	if _, err := Restore(backup, path, time.Now(), nil); err != nil {
		t.Fatal(err)
	}
	stays("a restore")
}
