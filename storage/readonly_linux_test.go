package storage

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A disk with a fault is mounted read-only by the system: that is said, and not
// that the user lacks a permission. What needs no writing goes on.
func TestReadOnlyDisk(t *testing.T) {
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=64m"); err != nil {
		t.Skipf("SKIPPED, not tested here: a disk of its own is for root alone to mount: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(disk, syscall.MNT_DETACH) })
	path, backup := filepath.Join(disk, "x.db"), filepath.Join(t.TempDir(), "backup.db")
	db := openAt(t, path)
	if _, err := db.Backup(backup, false, nil); err != nil {
		t.Fatal(err)
	}
	db.Close()
	if err := syscall.Mount("", disk, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(path, nil); err != nil {
		t.Errorf("looking at it: %v", err)
	}
	for doing, do := range map[string]func() error{
		"opening":    func() error { _, err := Open(path); return err },
		"making":     func() error { _, err := Open(filepath.Join(disk, "new.db")); return err },
		"restoring":  func() error { _, err := Restore(backup, path, time.Now(), nil); return err },
		"compacting": func() error { _, _, err := Compact(path, nil); return err },
	} {
		if err := do(); err == nil || !strings.Contains(err.Error(), "read-only") || strings.Contains(err.Error(), "permission") || strings.Contains(err.Error(), "open ") {
			t.Errorf("%s: %v", doing, err)
		}
	}
}
