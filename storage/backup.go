package storage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Backup is what is remembered of backups.
type Backup struct {
	At       time.Time `json:"at,omitzero"` // of the last one that succeeded; zero when none has
	Path     string    `json:"path,omitempty"`
	Bytes    int64     `json:"bytes,omitempty"`
	Verified bool      `json:"verified,omitempty"`
	FailedAt time.Time `json:"failed_at,omitzero"` // of a failure since then
	Error    string    `json:"error,omitempty"`
}

const backupKey = "backup"

// LastBackup tells of the last backup; its At is zero when there was none.
func (tx *Tx) LastBackup() (Backup, error) {
	b, err := meta[Backup](tx, backupKey)
	if b == nil {
		b = &Backup{}
	}
	return *b, err
}

// NoteBackup remembers a backup that succeeded.
func (tx *Tx) NoteBackup(b Backup) error { return tx.putRecord(metaBucket, []byte(backupKey), b) }

// NoteBackupFailure remembers that a backup failed, beside the last one that
// did not.
func (tx *Tx) NoteBackupFailure(at time.Time, cause error) error {
	b, err := tx.LastBackup()
	if err != nil {
		return err
	}
	b.FailedAt, b.Error = at, cause.Error()
	return tx.NoteBackup(b)
}

// Backup writes a copy of the file, as it is at one moment, to path while the
// file is in use, verifies it and remembers it. The copy is built under another
// name beside path and takes its name when it is whole. It returns fs.ErrExist
// when there is a file at path, unless that may be replaced.
func (db *DB) Backup(path string, replace bool, progress Progress) (Backup, error) {
	if err := db.mayBackUpTo(path, replace); err != nil {
		return Backup{}, err
	}
	tmp, at, err := db.Spool(filepath.Dir(path), progress)
	if err != nil {
		return Backup{}, err
	}
	defer os.Remove(tmp)
	report, err := Publish(tmp, path, replace, progress)
	if err != nil {
		return Backup{}, err
	}
	if full, err := filepath.Abs(path); err == nil {
		path = full
	}
	b := Backup{At: at, Path: path, Bytes: report.Bytes, Verified: true}
	return b, db.Update(func(tx *Tx) error { return tx.NoteBackup(b) })
}

// mayBackUpTo refuses what must not be overwritten, before the work is done.
func (db *DB) mayBackUpTo(path string, replace bool) error {
	return MayReplace(path, db.path, replace)
}

// MayReplace refuses a path for a new file where one is that must stay: the data
// file itself, a folder, or, unless it may be replaced, any file. That last error
// is fs.ErrExist.
func MayReplace(path, data string, replace bool) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if own, err := os.Stat(data); err == nil && os.SameFile(info, own) {
		return fmt.Errorf("%s is the data file itself; name another file", path)
	}
	switch {
	case info.IsDir():
		return fmt.Errorf("%s is a folder; name a file in it", path)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not an ordinary file; name another", path)
	case !replace:
		return fmt.Errorf("%s: %w", path, fs.ErrExist)
	}
	return nil
}

// backlog is how much of a copy may wait to be brought to the disk. A large one
// would hold up the commits behind it.
const backlog = 4 << 20

// Spool writes a copy of the file, as it is at one moment, to a temporary file in
// dir, which the caller must remove. Reading the file for longer keeps its pages
// from being used again, so nothing slow must stand behind this. The copy is not
// verified.
func (db *DB) Spool(dir string, progress Progress) (tmp string, at time.Time, err error) {
	f, err := NewCopy(dir)
	if err != nil {
		return "", at, err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			os.Remove(f.Name())
			err = fmt.Errorf("copying the data file to %s: %w", dir, err)
		}
	}()
	progress.tell("copying", 0, 0)
	at = time.Now().UTC().Truncate(time.Millisecond)
	err = db.bolt.View(func(btx *bolt.Tx) error {
		_, err := btx.WriteTo(&steadyWriter{file: f, tell: func(done int64) { progress.tell("copying", done, btx.Size()) }})
		return err
	})
	if err != nil {
		return "", at, err
	}
	return f.Name(), at, markBackup(f.Name(), at)
}

// leftoverAge is how old a temporary file is that nobody is writing any more.
const leftoverAge = 24 * time.Hour

// NewCopy makes a temporary file in dir for a copy of the data file, and deletes
// those that killed processes left there more than a day ago.
func NewCopy(dir string) (*os.File, error) {
	dropLeftovers(dir, time.Now())
	f, err := os.CreateTemp(dir, ".opensend.backup-*")
	if err != nil {
		return nil, NoFile(dir, err)
	}
	return f, nil
}

// dropLeftovers deletes the temporary copies of processes that were killed.
func dropLeftovers(dir string, now time.Time) {
	found, _ := filepath.Glob(filepath.Join(dir, ".opensend.*-*"))
	for _, path := range found {
		if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() && now.Sub(info.ModTime()) > leftoverAge {
			os.Remove(path)
		}
	}
}

// markBackup makes a copy know that it is one.
func markBackup(path string, at time.Time) error {
	return changeFile(path, func(tx *Tx) error {
		return tx.putRecord(metaBucket, []byte(placeKey), place{AsOf: at})
	})
}

// changeFile changes a file that is not in use, such as a copy in the making.
func changeFile(path string, change func(*Tx) error) error {
	b, err := openBolt(path)
	if err != nil {
		return err
	}
	err = b.Update(func(btx *bolt.Tx) error { return change(&Tx{bolt: btx}) })
	return errors.Join(err, b.Close())
}

// steadyWriter brings what it writes to the disk bit by bit.
type steadyWriter struct {
	file    *os.File
	tell    func(done int64)
	done    int64
	pending int64
}

func (w *steadyWriter) Write(p []byte) (n int, err error) {
	n, err = w.file.Write(p)
	w.done, w.pending = w.done+int64(n), w.pending+int64(n)
	if err == nil && w.pending >= backlog {
		err = writeBack(w.file, w.done-w.pending, w.pending)
		w.pending = 0
		w.tell(w.done)
	}
	return n, err
}

// ReadFrom keeps the writer above in charge: os.File's own would copy the file
// in one go.
func (w *steadyWriter) ReadFrom(r io.Reader) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, make([]byte, 1<<20))
}

// Publish verifies the file at tmp, makes it durable and readable by its owner
// alone, and gives it the name path, in the same folder.
func Publish(tmp, path string, replace bool, progress Progress) (*Report, error) {
	report, err := VerifyCopy(tmp, progress)
	if err != nil {
		return nil, err
	}
	if err := syncFile(tmp); err != nil {
		return nil, err
	}
	if replace {
		err = os.Rename(tmp, path)
	} else if err = os.Link(tmp, path); err != nil && !errors.Is(err, fs.ErrExist) { // a file system without links
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return nil, err
	}
	return report, syncDir(filepath.Dir(path))
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Chmod(0o600), f.Sync(), f.Close())
}
