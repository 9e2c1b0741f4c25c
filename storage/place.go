package storage

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/google/uuid"

	"github.com/opensend/opensend/automations"
)

// Held says that the file is a copy, and that nothing moves until somebody has
// decided what happens to what fell due while it lay elsewhere: the file it was
// copied from may have done all that since.
type Held struct {
	Since  time.Time `json:"since"`          // what was due before is in question
	Reason string    `json:"reason"`         // for people
	AsOf   time.Time `json:"as_of,omitzero"` // when the copy was made, where that is known
}

// place is what a file remembers of where it was served from. A copy carries
// the place of its original, which is not its own.
type place struct {
	Inode  uint64    `json:"inode,omitempty"`
	Born   int64     `json:"born,omitempty"` // in nanoseconds; zero where the file system does not say
	Starts int       `json:"starts"`         // how often it was served
	AsOf   time.Time `json:"as_of,omitzero"` // of a backup, which has no place: when it was made
}

const (
	placeKey = "place"
	heldKey  = "held"
)

// meta reads a JSON row of the bucket meta; nil when there is none.
func meta[T any](tx *Tx, name string) (*T, error) {
	v, err := record[T](tx, metaBucket, []byte(name))
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return v, err
}

// Held says since when and why the file is held; nil when it is not.
func (tx *Tx) Held() (*Held, error) { return meta[Held](tx, heldKey) }

// Release ends that the file is held.
func (tx *Tx) Release() error { return tx.delete(metaBucket, []byte(heldKey)) }

// hold makes the file another one than that which it was copied from.
func (tx *Tx) hold(h Held) error {
	epoch := uuid.Must(uuid.NewV7())
	return errors.Join(tx.putRecord(metaBucket, []byte(heldKey), h), tx.put(metaBucket, []byte("epoch"), epoch[:]))
}

// Claim ties the file to the place it lies in. It must be called before anything
// is sent from the file, and holds it when it is a copy:
//
//   - it is a backup, or was copied: the file it was served as had another inode
//     or another time of birth. Restarts, upgrades, renames and moves within a
//     file system change neither;
//   - it was put back over the original: the file beside it, PATH.starts,
//     remembers more starts than the file itself does. When there is no such file
//     nothing follows from that.
func (db *DB) Claim(now time.Time) error {
	here, err := placeOf(db.path)
	if err != nil {
		return err
	}
	var epoch automations.ID
	reason := ""
	err = db.Update(func(tx *Tx) error {
		reason = ""
		was, err := meta[place](tx, placeKey)
		if err != nil {
			return err
		}
		if epoch, err = tx.Epoch(); err != nil {
			return err
		}
		here.Starts = 1
		if was != nil {
			here.Starts += was.Starts
			if reason = db.moved(was, &here, epoch); reason != "" {
				if err := tx.hold(Held{Since: now, Reason: reason, AsOf: was.AsOf}); err != nil {
					return err
				}
				if epoch, err = tx.Epoch(); err != nil {
					return err
				}
			}
		}
		return tx.putRecord(metaBucket, []byte(placeKey), here)
	})
	if automations.IsKind(err, automations.KindUnavailable) && reason == "" {
		return nil // a full disk keeps only a copy from being served
	}
	if err != nil {
		return err
	}
	db.rememberStarts(epoch, here.Starts)
	return nil
}

// moved says why a file that was last served at a place is a copy; empty when it
// is not.
func (db *DB) moved(was, here *place, epoch automations.ID) string {
	switch {
	case !was.AsOf.IsZero():
		return "it is a backup made at " + was.AsOf.Format(time.RFC3339)
	case was.Inode != here.Inode, was.Born != 0 && here.Born != 0 && was.Born != here.Born:
		return "it is a copy of the file that was served"
	}
	var known starts
	raw, err := os.ReadFile(db.startsPath())
	if err == nil && json.Unmarshal(raw, &known) == nil && known.Epoch == epoch && known.Starts > was.Starts {
		return "it is an older copy, put back over the file that was served"
	}
	return ""
}

// starts is the content of the file beside the data file.
type starts struct {
	Epoch  automations.ID `json:"epoch"`
	Starts int            `json:"starts"`
}

func (db *DB) startsPath() string { return db.path + ".starts" }

// rememberStarts writes down how often the file was served. Where it cannot, an
// older copy put back over the file is not noticed.
func (db *DB) rememberStarts(epoch automations.ID, n int) {
	raw, _ := json.Marshal(starts{epoch, n})
	os.WriteFile(db.startsPath(), raw, 0o600)
}

// replaced notes in a file made anew by this program, which is about to take
// the name of another, that it is the same file at another place.
func (tx *Tx) replaced(from, to place) error {
	was, err := meta[place](tx, placeKey)
	if err != nil || was == nil || was.Inode != from.Inode || was.Born != from.Born {
		return err
	}
	was.Inode, was.Born = to.Inode, to.Born
	return tx.putRecord(metaBucket, []byte(placeKey), was)
}

func placeOf(path string) (place, error) {
	info, err := os.Stat(path)
	if err != nil {
		return place{}, fmt.Errorf("%s cannot be looked at: %w", path, err)
	}
	inode, _ := inodeOf(info)
	return place{Inode: inode, Born: birthOf(path)}, nil
}
