package engine

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// BenchmarkAccept stores events that start a run each, from so many clients at
// once. Read it beside BenchmarkBareBolt of the same run: the disk is shared.
func BenchmarkAccept(b *testing.B) { benchmarkAccept(b, func(*Engine) {}) }

// BenchmarkAcceptTold is BenchmarkAccept with a webhook that is told of each
// event, and does not answer in its course.
func BenchmarkAcceptTold(b *testing.B) {
	benchmarkAccept(b, func(e *Engine) {
		e.outbound.dial = func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
		e.webhook(b, "/", automations.EventReceivedNotice)
	})
}

func benchmarkAccept(b *testing.B, prepare func(*Engine)) {
	for _, clients := range []int{1, 8, 64, 256, 1024} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			e := newEngine(b, Config{})
			prepare(e)
			workflow(b, e.db, `[{"key":"t","type":"trigger","config":{"event_name":"start"}},{"key":"d","type":"delay","config":{"duration":"30 days"}}]`, "", nil)
			e.start(b)
			var n atomic.Int64
			b.ReportAllocs()
			b.ResetTimer()
			inParallel(clients, b.N, func() {
				ev := event("start", fmt.Sprintf("c%d@example.com", n.Add(1)%10_000))
				if _, _, err := e.Accept(ev, nil); err != nil {
					b.Error(err)
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

func inParallel(clients, n int, do func()) {
	var wg sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(n))
	for range clients {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				do()
			}
		})
	}
	wg.Wait()
}

// BenchmarkBareBolt commits the rows of one event, one event at a time, with
// nothing around it: what the disk and bbolt cost.
func BenchmarkBareBolt(b *testing.B) {
	db, err := bolt.Open(filepath.Join(b.TempDir(), "bare.db"), 0o600, &bolt.Options{InitialMmapSize: 1 << 30, FreelistType: bolt.FreelistMapType})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	buckets := []string{"deliveries", "runs", "wakes", "counts"}
	db.Update(func(tx *bolt.Tx) error {
		for _, name := range buckets {
			if _, err := tx.CreateBucket([]byte(name)); err != nil {
				return err
			}
		}
		return nil
	})
	value := make([]byte, 350)
	for i := range b.N {
		err := db.Update(func(tx *bolt.Tx) error {
			key := binary.BigEndian.AppendUint64(make([]byte, 0, 32), uint64(i))
			for _, name := range buckets[:3] {
				if err := tx.Bucket([]byte(name)).Put(key, value); err != nil {
					return err
				}
			}
			return tx.Bucket([]byte("counts")).Put([]byte("n"), key)
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkAdvance moves runs that are due through one condition to their end.
func BenchmarkAdvance(b *testing.B) {
	e := newEngine(b, Config{})
	workflow(b, e.db, `[{"key":"t","type":"trigger","config":{"event_name":"start"}},{"key":"c","type":"condition","config":{"type":"rule","field":"plan","operator":"equals","value":"pro"}},{"key":"e","type":"end"}]`, "", nil)
	var n atomic.Int64
	inParallel(64, b.N, func() {
		if _, _, err := e.Accept(event("start", fmt.Sprintf("c%d@example.com", n.Add(1)%10_000)), nil); err != nil {
			b.Error(err)
		}
	})
	b.ReportAllocs()
	b.ResetTimer()
	for done := 0; done < b.N; {
		moved, _, err := e.advanceDue()
		if err != nil || moved == 0 {
			b.Fatal(moved, err)
		}
		done += moved
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "runs/s")
}

// BenchmarkWebhooks delivers notices to one receiver on this machine, from the
// change that is told to the answer that is noted.
func BenchmarkWebhooks(b *testing.B) {
	e := newEngine(b, Config{AllowPrivate: prefixes("127.0.0.0/8")})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	w := &automations.Webhook{ID: newID(), Endpoint: server.URL, Events: []automations.NoticeType{automations.ContactCreatedNotice}, Status: automations.WebhookEnabled}
	if err := e.CreateWebhook(w); err != nil {
		b.Fatal(err)
	}
	e.start(b)
	var n atomic.Int64
	b.ResetTimer()
	inParallel(64, b.N, func() { e.newContact(b, fmt.Sprintf("c%d@example.com", n.Add(1))) })
	for pending := 1; pending > 0; {
		watch := e.db.Watch()
		if err := e.db.View(func(tx *storage.Tx) error { pending = len(tx.WebhooksWithPending()); return nil }); err != nil {
			b.Fatal(err)
		}
		if pending > 0 {
			<-watch
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "notices/s")
}
