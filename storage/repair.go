package storage

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/opensend/opensend/automations"
)

// changeRun reads, changes and stores one run.
func (tx *Tx) changeRun(ref automations.RunRef, change func(*RunRow) error) error {
	row, err := tx.Run(ref)
	if err != nil {
		return err
	}
	if err := change(row); err != nil {
		return err
	}
	return tx.SaveRun(row)
}

// settleRun makes a run that is over expect nothing.
func (tx *Tx) settleRun(ref automations.RunRef) error {
	return tx.changeRun(ref, func(row *RunRow) error {
		row.WakeAt, row.EmailID = time.Time{}, automations.ID{}
		return nil
	})
}

func (tx *Tx) unwake(ref automations.RunRef) error {
	return tx.changeRun(ref, func(row *RunRow) error {
		row.WakeAt = time.Time{}
		return nil
	})
}

func (tx *Tx) wakeRun(ref automations.RunRef) error {
	return tx.changeRun(ref, func(row *RunRow) error {
		row.WakeAt = time.Now().UTC().Truncate(time.Millisecond)
		return nil
	})
}

// tellRun passes on to a run what became of its mail.
func (tx *Tx) tellRun(ref automations.RunRef) error {
	return tx.changeRun(ref, func(row *RunRow) error {
		email, err := tx.Email(row.EmailID)
		if err != nil {
			return err
		}
		row.Mailed(email.Email, time.Now().UTC().Truncate(time.Millisecond))
		return nil
	})
}

// errLookOnly undoes a repair that was only to be looked at.
var errLookOnly = errors.New("nothing is to be changed")

// Repair finds out what [Tx.Repair] would do to the file at path, and does it if
// it really shall. A file whose pages are damaged is left alone. The error is an
// *InUseError when a process has the file open.
func Repair(path string, really bool, progress Progress) (done, left []Fault, err error) {
	report, err := Inspect(path, progress)
	if err != nil {
		return nil, nil, err
	}
	broken := slices.DeleteFunc(slices.Clone(report.Faults), func(f Fault) bool { return !strings.HasPrefix(f.Text, "structure: ") })
	if len(broken) > 0 {
		return nil, broken, nil
	}
	db, err := Open(path)
	if err != nil {
		return nil, nil, err
	}
	err = db.Update(func(tx *Tx) error {
		if done, left, err = tx.Repair(); err == nil && !really {
			return errLookOnly
		}
		return err
	})
	if errors.Is(err, errLookOnly) {
		err = nil
	}
	return done, left, errors.Join(err, db.Close())
}
