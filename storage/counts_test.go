package storage

import (
	"bytes"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opensend/opensend/automations"
)

// Counts that are damaged are not known, and hold up nothing: that is said once,
// and Check goes on saying it of what is not begun anew.
func TestDamagedCounts(t *testing.T) {
	var log bytes.Buffer
	db, err := OpenWith(filepath.Join(t.TempDir(), "x.db"), Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	workflow, at := newID(), time.Now().UTC().Truncate(time.Millisecond)
	start := func(tx *Tx) error {
		run := &automations.Run{ID: newID(), WorkflowID: workflow, Revision: 1, Status: automations.RunCompleted, CreatedAt: at, UpdatedAt: at}
		return errors.Join(tx.InsertRun(run), tx.CountMail(at))
	}
	db.must(t, start)
	damaged := 0
	db.must(t, func(tx *Tx) error {
		damaged, tx.writes = 0, tx.writes+1
		for _, b := range []bucket{runCountsBucket, talliesBucket, mailCountsBucket} {
			var keys [][]byte
			tx.each(b, nil, func(key []byte) bool { keys = append(keys, bytes.Clone(key)); return true })
			for _, key := range keys {
				if err := tx.bucket(b).Put(key, []byte("\x01spoiled")); err != nil {
					return err
				}
			}
			damaged += len(keys)
		}
		return nil
	})
	for range 2 {
		db.must(t, start)
	}
	if told := strings.Count(log.String(), "cannot be read"); told != damaged || damaged < 5 {
		t.Errorf("%d of %d damaged counts are told of once:\n%s", told, damaged, &log)
	}
	db.View(func(tx *Tx) error {
		counts := tx.RunCounts(workflow)
		if _, known := counts[automations.RunCompleted]; known || len(counts) == 0 {
			t.Errorf("counted: %v", counts)
		}
		if n := tx.RunsByStatus()[automations.RunCompleted]; n != 0 {
			t.Errorf("%d runs are counted", n)
		}
		tx.Tallies(at, func(time.Time, automations.ID, automations.Tally, int64) { t.Error("a damaged tally is shown") })
		if n := tx.MailCount(at.Truncate(day), at.Add(day)); n != 2 {
			t.Errorf("%d mails are counted, want 2", n)
		}
		if text := tx.Check().Error(); !strings.Contains(text, "a damaged number of") || !strings.Contains(text, "tallies") {
			t.Errorf("Check says: %s", text)
		}
		return nil
	})
	db.must(t, func(tx *Tx) error {
		_, _, err := tx.Repair()
		return err
	})
	db.View(func(tx *Tx) error {
		if n := tx.RunCounts(workflow)[automations.RunCompleted]; n != 3 {
			t.Errorf("%d runs are counted after a repair, want 3", n)
		}
		return nil
	})
}
