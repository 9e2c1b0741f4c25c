package storage_test

import (
	"path/filepath"
	"testing"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// What could not be written is counted as failing until something is written
// again.
func TestMeterOfAFullFile(t *testing.T) {
	db, err := storage.OpenWith(filepath.Join(t.TempDir(), "x.db"), storage.Options{MaxSize: storage.MinSize})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	m := db.Meter()
	if left, low, err := db.LowRoom(); err != nil || low {
		t.Errorf("a new file: %d %v %v", left, low, err)
	}
	err = db.Update(func(tx *storage.Tx) error {
		return tx.SaveEmailContent(automations.ID{1}, &automations.EmailContent{Message: make([]byte, storage.MinSize)})
	})
	if !automations.IsKind(err, automations.KindUnavailable) || m.Failed.Load() != 1 || m.FailingSince().IsZero() {
		t.Errorf("%v, %d failed, since %s", err, m.Failed.Load(), m.FailingSince())
	}
	if err := db.Update(func(tx *storage.Tx) error { return tx.Probe() }); err != nil || !m.FailingSince().IsZero() {
		t.Errorf("%v, failing since %s", err, m.FailingSince())
	}
}

// Who asks how full the file is while it is closed, or mapped anew because it
// has grown, gets an error at worst.
func TestMeterOfAClosedFile(t *testing.T) {
	db, err := storage.Open(filepath.Join(t.TempDir(), "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	_, usageErr := db.Usage()
	_, roomErr := db.Room()
	_, _, lowErr := db.LowRoom()
	_, breakdownErr := db.Breakdown()
	for name, err := range map[string]error{"usage": usageErr, "room": roomErr, "low room": lowErr, "breakdown": breakdownErr} {
		if err == nil {
			t.Errorf("%s of a closed file", name)
		}
	}
}

// Counting is of what was committed: an update that fails counts nothing, also
// when it shares its transaction with others.
func TestMeterCountsCommits(t *testing.T) {
	db, err := storage.Open(filepath.Join(t.TempDir(), "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	add := func(id byte, err error) error {
		return db.Update(func(tx *storage.Tx) error {
			if err := tx.AddDelivery(&automations.Delivery{ID: automations.ID{id}, Event: "x", Payload: []byte("{}"), Verdicts: []automations.Verdict{{Reason: automations.Unmatched}}}); err != nil {
				return err
			}
			return err
		})
	}
	if err := add(1, nil); err != nil {
		t.Fatal(err)
	}
	if err := add(2, storage.ErrNotFound); err == nil {
		t.Fatal("no error")
	}
	if n, un := db.Meter().Tally(automations.TallyEvents), db.Meter().Tally(automations.TallyUnmatched); n != 1 || un != 1 {
		t.Errorf("%d events and %d unmatched are counted, want 1 and 1", n, un)
	}
}
