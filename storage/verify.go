package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// Progress is told how far long work has come: what is being done, and how much
// of how much; total is zero when that is not known.
type Progress func(doing string, done, total int64)

func (p Progress) tell(doing string, done, total int64) {
	if p != nil {
		p(doing, done, total)
	}
}

// Report is what a look at a whole file found.
type Report struct {
	Rows   int     `json:"rows"`
	Bytes  int64   `json:"bytes"`
	Faults []Fault `json:"faults"` // none when everything fits together
}

// DamageError says that a file does not fit together.
type DamageError struct {
	Path   string
	Faults []Fault
}

func (e *DamageError) Error() string {
	text := fmt.Sprintf("%s is damaged: %s", e.Path, e.Faults[0].Text)
	if more := len(e.Faults) - 1; more > 0 {
		text += fmt.Sprintf(", and %d more", more)
	}
	return text
}

// Inspect looks at everything in a file that no process has open for writing:
// its pages, the checksum of every row, and how the rows fit together; see
// [Tx.Faults]; of an older layout pages and checksums alone. It changes nothing. The error is an *InUseError when somebody
// has the file, and otherwise says that it is no data file, or one of a newer
// program. However the file is damaged, that is a fault or an error.
func Inspect(path string, progress Progress) (*Report, error) {
	report := &Report{Faults: []Fault{}}
	err := viewFile(path, func(tx *Tx) error {
		progress.tell("checking rows", 0, 0)
		report.Bytes = tx.bolt.Size()
		if layout, err := tx.layout(SchemaVersion); err != nil || layout < SchemaVersion {
			report.Faults, report.Rows = tx.intact()
			return err
		}
		report.Faults, report.Rows = tx.Faults(func(rows int) { progress.tell("checking rows", int64(rows), 0) })
		return nil
	})
	if damage, ok := errors.AsType[*DamageError](err); ok {
		report.Faults = damage.Faults
		return report, nil
	}
	return report, err
}

// Verify is Inspect for a file that must be whole: faults are a *DamageError.
func Verify(path string, progress Progress) (*Report, error) {
	report, err := Inspect(path, progress)
	if err == nil && len(report.Faults) > 0 {
		err = &DamageError{path, report.Faults}
	}
	return report, err
}

// VerifyBackup is Verify for a file that is not the data file.
func VerifyBackup(path string, progress Progress) (*Report, error) {
	report, err := Verify(path, progress)
	return report, asBackup(err, path)
}

// VerifyCopy is Verify for a copy that was just made of the data file: what is
// damaged is that.
func VerifyCopy(tmp string, progress Progress) (*Report, error) {
	report, err := Verify(tmp, progress)
	if damage, ok := errors.AsType[*DamageError](err); ok {
		damage.Path = "the data file"
	}
	return report, err
}

// viewFile runs fn on a file that is not written to meanwhile. Pages are looked
// at first, so that a damaged one is an error and not the end of the process.
func viewFile(path string, fn func(*Tx) error) error {
	if err := inspect(path); err != nil {
		return err
	}
	b, err := bolt.Open(path, 0, &bolt.Options{Timeout: lockTimeout, ReadOnly: true})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return &InUseError{Path: path, PID: lockHolder(path)}
	case errors.Is(err, fs.ErrPermission):
		return &UnfitError{path, "cannot be read", "give this user read permission", ""}
	case err != nil:
		return fmt.Errorf("%s cannot be opened: %w", path, err)
	}
	defer b.Close()
	if err := checkPages(path); err != nil {
		return &DamageError{path, []Fault{{Text: "structure: " + err.Error()}}}
	}
	db := &DB{path: path, bolt: b}
	return db.View(func(tx *Tx) error {
		layout, err := tx.layout(SchemaVersion)
		if err == nil && layout == SchemaVersion {
			err = db.begin(tx)
		}
		if err != nil {
			if corrupt, ok := errors.AsType[*CorruptError](err); ok {
				return &DamageError{path, []Fault{{Text: corrupt.fault()}}}
			}
			return inFile(path, err)
		}
		return fn(tx)
	})
}

// stamp is a time in the name of a file.
func stamp(at time.Time) string { return at.UTC().Format("20060102T150405Z") }
