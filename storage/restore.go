package storage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// Restored is what became of a restore.
type Restored struct {
	Report
	AsOf time.Time `json:"as_of,omitzero"` // when the backup was made, where that is known
	Kept string    `json:"kept,omitempty"` // where the file that was replaced is now
}

// Restore puts a copy of the file at from in the place of the data file at path,
// which is kept under a dated name. The copy is verified first, begins a new life
// (see [Tx.Epoch]) and is held. The error is an *InUseError when a process has
// one of the two files open; then, as with every other error, nothing has
// changed.
func Restore(from, path string, now time.Time, progress Progress) (*Restored, error) {
	if a, err := os.Stat(from); err == nil {
		if b, err := os.Stat(path); err == nil && os.SameFile(a, b) {
			return nil, fmt.Errorf("%s is the data file itself; name the backup to restore", from)
		}
	}
	path = followed(path)
	release, err := lock(path)
	if err != nil {
		return nil, err
	}
	defer release()
	tmp, err := copyFile(from, filepath.Dir(path), progress)
	if err != nil {
		return nil, err
	}
	defer os.Remove(tmp)
	restored := &Restored{}
	report, err := Verify(tmp, progress)
	if err != nil {
		return nil, asBackup(err, from)
	}
	restored.Report = *report
	err = changeFile(tmp, func(tx *Tx) error {
		was, err := meta[place](tx, placeKey)
		if err != nil {
			return err
		}
		reason := "it was restored from " + filepath.Base(from)
		if was != nil && !was.AsOf.IsZero() {
			restored.AsOf, reason = was.AsOf, reason+", made at "+was.AsOf.Format(time.RFC3339)
		}
		here, err := placeOf(tmp)
		if err != nil {
			return err
		}
		return errors.Join(tx.hold(Held{Since: now, Reason: reason, AsOf: restored.AsOf}), tx.putRecord(metaBucket, []byte(placeKey), here))
	})
	if err == nil {
		err = syncFile(tmp)
	}
	if err != nil {
		return nil, err
	}
	restored.Kept, err = swap(tmp, path, path+".replaced-"+stamp(now), release)
	return restored, err
}

// followed is where a path leads, if it is that of a symbolic link: the file
// itself is to be replaced, and the link stays.
func followed(path string) string {
	if file, err := filepath.EvalSymlinks(path); err == nil {
		return file
	}
	return path
}

// copyFile copies a file that nobody writes to into a temporary file in dir.
func copyFile(from, dir string, progress Progress) (tmp string, err error) {
	if err := inspect(from); errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s does not exist; name the backup to restore", from)
	} else if err != nil {
		return "", asBackup(err, from)
	}
	release, err := lock(from)
	if err != nil {
		return "", err
	}
	defer release()
	source, err := os.Open(from)
	if err != nil {
		return "", err
	}
	defer source.Close()
	info, err := source.Stat()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("the folder %s cannot be made: %w", dir, err)
	}
	f, err := os.CreateTemp(dir, ".opensend.restore-*")
	if err != nil {
		return "", NoFile(dir, err)
	}
	w := &steadyWriter{file: f, tell: func(done int64) { progress.tell("copying", done, info.Size()) }}
	_, err = io.Copy(w, source)
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(f.Name())
		return "", fmt.Errorf("copying %s to %s: %w", from, dir, err)
	}
	return f.Name(), nil
}

// lock makes sure that no process has the file open for writing, and keeps it so
// until release. A file that is missing, or damaged, is nobody's.
func lock(path string) (release func(), err error) {
	b, err := bolt.Open(path, 0, &bolt.Options{Timeout: lockTimeout, ReadOnly: true})
	if errors.Is(err, berrors.ErrTimeout) {
		return nil, &InUseError{Path: path, PID: lockHolder(path)}
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil, &UnfitError{path, "cannot be read", "give this user read and write permission", "give this user read permission"}
	}
	if err != nil {
		return func() {}, nil
	}
	return func() { b.Close() }, nil
}

// swap gives the file at tmp the name path, and the one that has it now, if any,
// the name kept, unless that is empty. At every moment one of the two has the
// name, and it keeps its owner.
func swap(tmp, path, kept string, release func()) (string, error) {
	if runtime.GOOS == "windows" { // open files cannot be replaced there
		release()
	}
	if present, err := os.Stat(path); err == nil {
		ownAs(tmp, present)
	} else if errors.Is(err, fs.ErrNotExist) {
		kept = ""
	}
	if kept != "" {
		name := kept
		err := os.Link(path, kept)
		for n := 2; errors.Is(err, fs.ErrExist); n++ {
			kept = fmt.Sprintf("%s-%d", name, n)
			err = os.Link(path, kept)
		}
		if err != nil {
			return "", fmt.Errorf("the present file cannot be kept as %s: %w", kept, err)
		}
	}
	if err := os.Rename(tmp, path); err != nil {
		if kept != "" {
			os.Remove(kept)
		}
		return "", err
	}
	return kept, syncDir(filepath.Dir(path))
}
