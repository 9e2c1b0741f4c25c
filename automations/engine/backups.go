package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// BackupPlan says where and how often the data file is backed up. With no Dir it
// is not.
type BackupPlan struct {
	Dir   string        // made when it is missing
	Every time.Duration // from one to the next, restarts or not
	Keep  int           // how many are kept, the newest; more than zero
}

// backupRetry is the longest that a failed backup waits for another try.
const backupRetry = time.Hour

// backupName is what backups of this loop are called. Other files in their
// folder are left alone.
var backupName = regexp.MustCompile(`^opensend-\d{8}T\d{6}Z\.db$`)

func backupAt(at time.Time) string { return "opensend-" + at.Format("20060102T150405Z") + ".db" }

// backupLoop makes backups when they are due.
func (e *Engine) backupLoop(ctx context.Context) error {
	if e.cfg.Backup.Dir == "" {
		<-ctx.Done()
		return nil
	}
	for ctx.Err() == nil {
		next, err := e.nextBackup()
		if err != nil {
			if err := e.survive(ctx, "reading when the last backup was made", err); err != nil {
				return err
			}
			continue
		}
		if next.After(now()) {
			sleep(ctx, nil, next)
			continue
		}
		if err := e.backUp(ctx); err != nil {
			return err
		}
	}
	return nil
}

// nextBackup is when the next one is due: at once when there was none. What is said
// to lie ahead was noted by a clock that has been set back since, and tells nothing.
func (e *Engine) nextBackup() (time.Time, error) {
	var last storage.Backup
	err := e.db.View(func(tx *storage.Tx) (err error) {
		last, err = tx.LastBackup()
		return err
	})
	if last.At.After(now()) {
		last.At = time.Time{}
	}
	if last.FailedAt.After(now()) {
		last.FailedAt = time.Time{}
	}
	due := last.At.Add(e.cfg.Backup.Every)
	if retry := last.FailedAt.Add(min(e.cfg.Backup.Every, backupRetry)); !last.FailedAt.IsZero() && retry.After(due) {
		due = retry
	}
	return due, err
}

// backUp makes one backup and deletes those that are too many. That it failed is
// logged and remembered, and ends nothing.
func (e *Engine) backUp(ctx context.Context) error {
	began := time.Now()
	b, err := e.writeBackup()
	if err == nil {
		e.log.Info("backed up", "file", b.Path, "bytes", b.Bytes, "verified", b.Verified, "took", time.Since(began).Round(time.Millisecond))
		return nil
	}
	if e.db.Failed() != nil {
		return err
	}
	e.log.Error("the backup failed", "folder", e.cfg.Backup.Dir, "error", err)
	if err := e.db.Update(func(tx *storage.Tx) error { return tx.NoteBackupFailure(now(), err) }); err != nil {
		e.log.Error("remembering that the backup failed", "error", err)
		pause(ctx, min(e.cfg.Backup.Every, backupRetry)) // as the note would have it
	}
	return e.db.Failed()
}

func (e *Engine) writeBackup() (storage.Backup, error) {
	dir := e.cfg.Backup.Dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return storage.Backup{}, fmt.Errorf("the folder %s cannot be made: %w", dir, err)
	}
	b, err := e.db.Backup(filepath.Join(dir, backupAt(now())), true, nil)
	if err != nil {
		return b, err
	}
	return b, e.dropOldBackups()
}

// BackUp makes a backup now, in the folder of the plan. It is an
// *automations.Error of KindConflict where there is none.
func (e *Engine) BackUp() (storage.Backup, error) {
	if e.cfg.Backup.Dir == "" {
		return storage.Backup{}, automations.Errorf(automations.KindConflict, "no_backup_folder", "there is no folder for backups; set backup.dir in config.yaml and start the server again, or download a copy")
	}
	return e.writeBackup()
}

// BackupFile is a backup in the folder of the plan.
type BackupFile struct {
	Name  string
	Bytes int64
	At    time.Time
}

// Backups lists the backups in the folder of the plan, the newest first, and
// names the folder; it is empty when there is none.
func (e *Engine) Backups() (dir string, files []BackupFile, err error) {
	dir = e.cfg.Backup.Dir
	if dir == "" {
		return "", nil, nil
	}
	found, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return dir, nil, nil // none was made yet
	}
	for _, entry := range found {
		if !entry.Type().IsRegular() || !backupName.MatchString(entry.Name()) {
			continue
		}
		info, err := entry.Info()
		if err != nil { // deleted meanwhile
			continue
		}
		files = append(files, BackupFile{entry.Name(), info.Size(), info.ModTime().UTC()})
	}
	slices.SortFunc(files, func(a, b BackupFile) int { return cmp.Compare(b.Name, a.Name) })
	return dir, files, err
}

// BackupPath is the path of a backup in the folder of the plan, which may be
// gone; false when the name is not one that a backup can have.
func (e *Engine) BackupPath(name string) (path string, ok bool) {
	return filepath.Join(e.cfg.Backup.Dir, name), e.cfg.Backup.Dir != "" && backupName.MatchString(name)
}

// dropOldBackups keeps the newest ones. Their names tell their order; those named
// after a time to come, by a clock that was ahead, go first.
func (e *Engine) dropOldBackups() error {
	found, err := os.ReadDir(e.cfg.Backup.Dir)
	if err != nil {
		return err
	}
	found = slices.DeleteFunc(found, func(f os.DirEntry) bool { return !f.Type().IsRegular() || !backupName.MatchString(f.Name()) })
	ahead, _ := slices.BinarySearchFunc(found, backupAt(now().Add(time.Second)), func(f os.DirEntry, name string) int { return cmp.Compare(f.Name(), name) })
	found = slices.Concat(found[ahead:], found[:ahead])
	for _, old := range found[:max(len(found)-e.cfg.Backup.Keep, 0)] {
		if err := os.Remove(filepath.Join(e.cfg.Backup.Dir, old.Name())); err != nil {
			return err
		}
	}
	return nil
}
