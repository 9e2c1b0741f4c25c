package server

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// stall makes the disk take as long as the test wants, and fills the queue
// behind it.
func stall(t testing.TB, db *storage.DB) (release func()) {
	hold, held := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { db.Update(func(*storage.Tx) error { close(held); <-hold; return nil }) })
	<-held
	full := make(chan struct{})
	var once sync.Once
	for range 5000 {
		wg.Go(func() {
			err := db.Update(func(*storage.Tx) error { return nil })
			if automations.IsKind(err, automations.KindUnavailable) {
				once.Do(func() { close(full) })
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	<-full
	return func() { close(hold); wg.Wait() }
}

// While the disk does not keep up, so much waits and no more: what comes then
// is refused at once and may come again, reads are answered, and nothing that
// was taken is lost.
func TestSlowDisk(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		const event = `{"event":"go","email":"ada@example.com"}`
		r.do(http.MethodPost, "/events/send", event).want(202)
		hold, held := make(chan struct{}), make(chan struct{})
		go r.db.Update(func(*storage.Tx) error { close(held); <-hold; return nil })
		<-held
		var taken, refused atomic.Int32
		const sent = 6000
		var wg sync.WaitGroup
		for range sent {
			wg.Go(func() {
				req := httptest.NewRequest(http.MethodPost, "/events/send", strings.NewReader(event))
				req.Header.Set("Authorization", "Bearer "+r.key)
				rec := httptest.NewRecorder()
				r.public.ServeHTTP(rec, req)
				switch rec.Code {
				case http.StatusAccepted:
					taken.Add(1)
				case http.StatusServiceUnavailable:
					refused.Add(1)
					if rec.Header().Get("Retry-After") == "" {
						t.Error("no Retry-After")
					}
				default:
					t.Errorf("%d %s", rec.Code, rec.Body)
				}
			})
		}
		synctest.Wait()
		if taken.Load() != 0 || refused.Load() == 0 || refused.Load() == sent {
			t.Errorf("while the disk stands still %d were taken and %d refused", taken.Load(), refused.Load())
		}
		r.do(http.MethodGet, "/deliveries", "").want(200).has("data.1", nil)
		close(hold)
		wg.Wait()
		stored := 0
		err := r.db.View(func(tx *storage.Tx) error {
			deliveries, _, err := tx.Deliveries(storage.Page{Limit: 2 * sent}, nil)
			stored = len(deliveries)
			return err
		})
		if err != nil || stored != int(taken.Load())+1 || taken.Load()+refused.Load() != sent {
			t.Errorf("%d taken, %d refused, %d stored, %v", taken.Load(), refused.Load(), stored, err)
		}
	})
}

// BenchmarkRefused is how long a caller waits for 503 when the queue is full.
func BenchmarkRefused(b *testing.B) {
	r := newRig(b)
	r.do(http.MethodPost, "/events/send", `{"event":"go","email":"ada@example.com"}`).want(202)
	release := stall(b, r.db)
	defer release()
	for b.Loop() {
		req := httptest.NewRequest(http.MethodPost, "/events/send", strings.NewReader(`{"event":"go","email":"ada@example.com"}`))
		req.Header.Set("Authorization", "Bearer "+r.key)
		rec := httptest.NewRecorder()
		r.public.ServeHTTP(rec, req)
		if rec.Code != http.StatusServiceUnavailable {
			b.Fatalf("%d %s", rec.Code, rec.Body)
		}
	}
}
