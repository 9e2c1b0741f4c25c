package engine

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opensend/opensend/storage"
)

// Backups are made at their time over restarts, the newest are kept, and what
// else is in the folder is left alone.
func TestScheduledBackups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "backups")
		e := newEngine(t, Config{Backup: BackupPlan{Dir: dir, Every: 24 * time.Hour, Keep: 3}})
		names := func() (names []string) {
			found, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range found {
				names = append(names, f.Name())
			}
			return names
		}
		stop := e.start(t)
		time.Sleep(time.Hour)
		if got := names(); len(got) != 1 || got[0] != "opensend-20000101T000000Z.db" {
			t.Errorf("after an hour: %q", got)
		}
		other := filepath.Join(dir, "opensend-mine.db")
		if err := os.WriteFile(other, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		stop()
		e = newEngine(t, Config{DB: e.db, Backup: e.cfg.Backup})
		stop = e.start(t)
		time.Sleep(22 * time.Hour)
		if got := names(); len(got) != 2 {
			t.Errorf("a restart made another: %q", got)
		}
		time.Sleep(9*24*time.Hour + time.Minute)
		if got := names(); len(got) != 4 || got[0] != "opensend-20000108T000000Z.db" || got[3] != "opensend-mine.db" {
			t.Errorf("after ten days: %q", got)
		}
		if _, err := storage.Verify(filepath.Join(dir, "opensend-20000109T000000Z.db"), nil); err != nil {
			t.Error(err)
		}
		stop()

		// A folder that cannot be had is remembered, and tried again in an hour.
		blocked := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(blocked, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		e = newEngine(t, Config{DB: e.db, Backup: BackupPlan{Dir: filepath.Join(blocked, "x"), Every: 24 * time.Hour, Keep: 3}})
		e.start(t)
		time.Sleep(25*time.Hour + time.Minute)
		last := func() (b storage.Backup) {
			e.db.View(func(tx *storage.Tx) (err error) {
				b, err = tx.LastBackup()
				return err
			})
			return b
		}
		failed := last()
		if failed.FailedAt.IsZero() || failed.Error == "" || failed.At.IsZero() {
			t.Errorf("%+v", failed)
		}
		if err := os.Remove(blocked); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour + time.Minute)
		if b := last(); !b.At.After(failed.FailedAt) || b.Error != "" {
			t.Errorf("after another hour: %+v", b)
		}
	})
}

// What a clock that was ahead has left keeps no backup from being made, nor those
// that are made from being kept.
func TestBackupsAfterAClockAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		for _, name := range []string{"opensend-20990101T000000Z.db", "opensend-20990102T000000Z.db"} {
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		e := newEngine(t, Config{Backup: BackupPlan{Dir: dir, Every: 24 * time.Hour, Keep: 2}})
		ahead := time.Date(2099, 1, 2, 0, 0, 0, 0, time.UTC)
		if err := e.db.Update(func(tx *storage.Tx) error { return tx.NoteBackup(storage.Backup{At: ahead, FailedAt: ahead}) }); err != nil {
			t.Fatal(err)
		}
		e.start(t)
		time.Sleep(25 * time.Hour)
		_, files, err := e.Backups()
		if err != nil || len(files) != 2 || files[0].Name != "opensend-20000102T000000Z.db" || files[1].Name != "opensend-20000101T000000Z.db" {
			t.Errorf("%+v %v", files, err)
		}
	})
}
