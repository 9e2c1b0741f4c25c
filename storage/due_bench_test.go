package storage

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
)

// BenchmarkDueRuns finds a hundred runs that are due among so many that wait.
func BenchmarkDueRuns(b *testing.B) {
	for _, waiting := range []int{10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("waiting=%d", waiting), func(b *testing.B) {
			db := openAt(b, filepath.Join(b.TempDir(), "data.db"))
			now, workflow := time.Now(), uuid.Must(uuid.NewV7())
			const due, batch = 100, 10_000
			for i := 0; i < waiting+due; i += batch {
				err := db.Update(func(tx *Tx) error {
					for j := i; j < min(i+batch, waiting+due); j++ {
						at := now.Add(time.Duration(j-due+1) * time.Minute)
						if err := tx.put(wakesBucket, tuple(at, workflow, uuid.Must(uuid.NewV7())), nil); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				err := db.View(func(tx *Tx) error {
					if found, next := tx.DueRuns(now, 2*due); len(found) != due || next.IsZero() {
						return fmt.Errorf("%d runs are due, and the next at %v", len(found), next)
					}
					return nil
				})
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
