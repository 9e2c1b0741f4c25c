package storage

import (
	"time"

	"github.com/opensend/opensend/automations"
)

// Alert is something about this program that a person should know, from when it
// began until everybody has been told that it has passed.
type Alert struct {
	Kind  string    `json:"kind"`
	Since time.Time `json:"since"`
	Text  string    `json:"text"` // for people: what is wrong, without an address
	// EndedAt is when it had passed; zero while it lasts.
	EndedAt time.Time `json:"ended_at,omitzero"`
	Untold  []Telling `json:"untold,omitempty"` // in order
}

// Telling is a message about an alert that has not reached everybody.
type Telling struct {
	ID      automations.ID `json:"id"` // the same however often it is tried
	At      time.Time      `json:"at"`
	Ended   bool           `json:"ended,omitempty"`   // it says that the alert has passed
	Mail    bool           `json:"mail,omitempty"`    // is still to be queued as mail
	Webhook bool           `json:"webhook,omitempty"` // is still to be posted
}

const alertsKey = "alerts"

// Alerts are those that last or are still to be told.
func (tx *Tx) Alerts() ([]Alert, error) {
	all, err := meta[[]Alert](tx, alertsKey)
	if all == nil {
		return nil, err
	}
	return *all, err
}

// SaveAlerts replaces them.
func (tx *Tx) SaveAlerts(all []Alert) error {
	return tx.putRecord(metaBucket, []byte(alertsKey), all)
}

// warnRoom is how much room should be left on the disk: eight times what is
// kept in reserve.
const warnRoom = 8 * diskReserve

// LowRoom tells how little room is left before nothing new is taken in, when that
// is little: on the disk, or in the bound of the file.
func (db *DB) LowRoom() (left int64, low bool, err error) {
	usage, err := db.Usage()
	if err != nil {
		return 0, false, err
	}
	if limit, reserve := db.options.MaxSize, db.options.reserve(); limit > 0 && limit-usage.Used() < 2*reserve {
		return max(limit-usage.Used()-reserve, 0), true, nil
	}
	if onDisk, known := diskRoom(db.path); known && onDisk+usage.Free < warnRoom {
		return max(onDisk+usage.Free-diskReserve, 0), true, nil
	}
	return 0, false, nil
}
