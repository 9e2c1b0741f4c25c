package web

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/engine"
	"github.com/opensend/opensend/storage"
	"github.com/opensend/opensend/storage/storagetest"
)

var pageRowsInFile = flag.Int("rows", 10_000, "how many events, and how many contacts, BenchmarkPages has in the file")

// BenchmarkPages makes pages of events and contacts from a file with many of
// both, those first whose filters match nothing.
func BenchmarkPages(b *testing.B) {
	db := storagetest.Open(b)
	e, err := engine.New(engine.Config{DB: db, BaseURL: base})
	if err != nil {
		b.Fatal(err)
	}
	d, err := New(Config{DB: db, Engine: e, API: http.NotFoundHandler(), BaseURL: base, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		b.Fatal(err)
	}
	contact, delivery := fillMany(b, db, *pageRowsInFile)
	segment := "/contacts?segment_id=" + manySegment.String()
	for _, path := range []string{
		"/events", "/events?event=rare", "/events?email=nobody@example.com", "/events?verdict=resumed", "/events?verdict=started&event=rare", "/events/unmatched", "/events/" + delivery.String(), "/events/types/new?name=user.signed_up&infer=1",
		"/contacts", "/contacts?search=nobody", "/contacts?status=unsubscribed", "/contacts/" + contact.String(), segment, "/contacts/segments", "/contacts/topics",
	} {
		b.Run(path, func(b *testing.B) {
			for b.Loop() {
				w := httptest.NewRecorder()
				pageFor(b, d, path)(w, httptest.NewRequest(http.MethodGet, home+path, nil))
				if w.Code != http.StatusOK {
					b.Fatal(w.Code, w.Body)
				}
			}
		})
	}
}

// pageFor answers a path as somebody who is signed in.
func pageFor(b *testing.B, d *Dashboard, path string) http.HandlerFunc {
	mux := http.NewServeMux()
	for _, rt := range routes() {
		if rt.method == http.MethodGet {
			mux.HandleFunc(home+rt.path, func(w http.ResponseWriter, r *http.Request) {
				v := &visit{Request: r, d: d, w: w, now: time.Now(), user: &automations.User{Name: "Ada"}}
				data, err := rt.handle(v)
				v.answer(rt, data, err)
			})
		}
	}
	return mux.ServeHTTP
}

var manySegment, manyTopic = uuid.MustParse("0190d1a2-0000-7000-8000-000000000001"), uuid.MustParse("0190d1a2-0000-7000-8000-000000000002")

// fillMany stores n events and n contacts, and names one of each.
func fillMany(b *testing.B, db *storage.DB, n int) (contact, delivery automations.ID) {
	b.Helper()
	workflow := uuid.Must(uuid.NewV7())
	store := func(tx *storage.Tx, i int) error {
		c := &automations.Contact{
			ID: uuid.Must(uuid.NewV7()), Email: fmt.Sprintf("c%d@example.com", i), FirstName: "Ada", CreatedAt: time.Now(), Segments: []automations.ID{manySegment},
			Properties: map[string]json.RawMessage{"plan": json.RawMessage(`"pro"`)}, Topics: map[automations.ID]automations.Subscription{manyTopic: automations.OptIn},
		}
		d := &automations.Delivery{
			ID: uuid.Must(uuid.NewV7()), Event: "user.signed_up", ContactID: c.ID, Email: c.Email, Payload: json.RawMessage(`{"plan":"pro","amount":12,"source":{"campaign":"spring","medium":"mail"}}`), ReceivedAt: time.Now(),
			Verdicts: []automations.Verdict{
				{Reason: automations.Started, WorkflowID: workflow, RunID: uuid.Must(uuid.NewV7())},
				{Reason: automations.ConditionsNotMet, WorkflowID: workflow, Compared: []automations.Comparison{{Field: "event.plan", Operator: "equals", Expected: json.RawMessage(`"free"`), Actual: json.RawMessage(`"pro"`)}}},
			},
		}
		if i%2 == 0 {
			d.Verdicts = []automations.Verdict{{Reason: automations.Unmatched}}
		}
		contact, delivery = c.ID, d.ID
		if err := tx.CreateContact(c); err != nil {
			return err
		}
		return tx.AddDelivery(d)
	}
	err := db.Update(func(tx *storage.Tx) error {
		if err := tx.SaveSegment(&automations.Segment{ID: manySegment, Name: "all"}); err != nil {
			return err
		}
		return tx.SaveTopic(&automations.Topic{ID: manyTopic, Name: "news", Default: automations.OptIn})
	})
	for from := 0; from < n && err == nil; from += 5000 {
		err = db.Update(func(tx *storage.Tx) error {
			for i := from; i < min(from+5000, n); i++ {
				if err := store(tx, i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err != nil {
		b.Fatal(err)
	}
	return contact, delivery
}
