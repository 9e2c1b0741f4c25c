package storage

import (
	"errors"
	"path/filepath"
	"testing"
	"time"
)

// What fell due in a held file can be told, and so decided, when some of it is
// damaged or missing.
func TestOverdueOfADamagedFile(t *testing.T) {
	for _, b := range []bucket{emailsBucket, webhookDeliveriesBucket} {
		db := openAt(t, filepath.Join(t.TempDir(), "x.db"))
		s := seed(t, db)
		held := &Held{Since: time.Now().Add(time.Hour)}
		db.must(t, func(tx *Tx) error {
			return errors.Join(spoilFirst(tx, b), tx.put(outboxBucket, tuple(time.Now(), newID()), nil), tx.put(webhookDueBucket, tuple(s.hook, time.Now(), newID()), nil))
		})
		db.View(func(tx *Tx) error {
			o, err := tx.Overdue(held, held.Since.Add(time.Hour))
			if err != nil || o.Emails+o.Notices != 1 {
				t.Errorf("%s: %+v %v", b, o, err)
			}
			return nil
		})
	}
}
