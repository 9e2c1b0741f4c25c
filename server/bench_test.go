package server

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/opensend/opensend/automations/engine"
	"github.com/opensend/opensend/storage/storagetest"
)

// BenchmarkSendEvent is the handler with key, decoding, validation and answer,
// but without a network, from 64 clients.
func BenchmarkSendEvent(b *testing.B) {
	db := storagetest.Open(b)
	e, err := engine.New(engine.Config{DB: db})
	if err != nil {
		b.Fatal(err)
	}
	s, err := New(Config{DB: db, Engine: e})
	if err != nil {
		b.Fatal(err)
	}
	r := &rig{t: b, public: s.Handler(), trust: s.Control()}
	r.key = r.newKey("full_access")
	r.automation("bench", `[{"key":"t","type":"trigger","config":{"event_name":"bench"}},{"key":"d","type":"delay","config":{"duration":"30 days"}}]`, "")
	var n atomic.Int64
	b.SetParallelism(32)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			i := n.Add(1)
			req := httptest.NewRequest(http.MethodPost, "/events/send", strings.NewReader(fmt.Sprintf(`{"event":"bench","email":"c%d@example.com","payload":{"plan":"pro","n":%d}}`, i%10_000, i)))
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Authorization", "Bearer "+r.key)
			rec := httptest.NewRecorder()
			r.public.ServeHTTP(rec, req)
			if rec.Code != http.StatusAccepted {
				b.Errorf("%d %s", rec.Code, rec.Body)
			}
		}
	})
}
