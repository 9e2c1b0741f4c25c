package storage

import (
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
