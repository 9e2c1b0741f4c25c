package storage

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/opensend/opensend/automations"
)

var backupBytes = flag.Int64("backup-bytes", 256<<20, "size of the file that BenchmarkBackupStall backs up")

// BenchmarkBackupStall measures the longest that a commit takes while the file is
// copied, and while it is not. Eight writers commit all the time.
func BenchmarkBackupStall(b *testing.B) {
	dir := b.TempDir()
	db := openAt(b, filepath.Join(dir, "x.db"))
	text := make([]byte, 8<<10)
	for size := int64(0); size < *backupBytes; {
		db.must(b, func(tx *Tx) error {
			for range 256 {
				rand.Read(text)
				d := &automations.Delivery{ID: newID(), Event: "x", Payload: json.RawMessage(`"` + hex.EncodeToString(text) + `"`)}
				if err := tx.AddDelivery(d); err != nil {
					return err
				}
			}
			size = tx.bolt.Size()
			return nil
		})
	}
	phase := func(work func()) (longest time.Duration, commits int) {
		stop := make(chan struct{})
		var mu sync.Mutex
		var writers sync.WaitGroup
		for range 8 {
			writers.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					began := time.Now()
					c := &automations.Contact{ID: newID()}
					c.Email = c.ID.String() + "@example.com"
					if err := db.Update(func(tx *Tx) error { return tx.CreateContact(c) }); err != nil {
						b.Error(err)
						return
					}
					mu.Lock()
					longest, commits = max(longest, time.Since(began)), commits+1
					mu.Unlock()
				}
			})
		}
		work()
		close(stop)
		writers.Wait()
		return longest, commits
	}
	var took, longest time.Duration
	commits := 0
	quiet, _ := phase(func() { <-time.After(2 * time.Second) })
	b.ResetTimer()
	for range b.N {
		stall, n := phase(func() {
			began := time.Now()
			tmp, _, err := db.Spool(dir, nil)
			if err == nil {
				err = syncFile(tmp)
			}
			if err != nil {
				b.Fatal(err)
			}
			took += time.Since(began)
			os.Remove(tmp)
		})
		longest, commits = max(longest, stall), commits+n
	}
	b.ReportMetric(float64(longest.Microseconds())/1000, "ms-longest-commit")
	b.ReportMetric(float64(quiet.Microseconds())/1000, "ms-longest-commit-without")
	b.ReportMetric(float64(commits)/took.Seconds(), "commits/s")
	b.ReportMetric(took.Seconds()/float64(b.N), "s/backup")
}
