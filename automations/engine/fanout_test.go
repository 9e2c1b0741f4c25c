package engine

import (
	"fmt"
	"testing"

	"github.com/opensend/opensend/automations"
)

// What one event can set moving is bounded, and where the bound is met a
// verdict says so: every run that waits is resumed, however many, because no
// more than that could come to wait.
func TestFanOut(t *testing.T) {
	e := newEngine(t, Config{})
	workflow(t, e.db, `[{"key":"t","type":"trigger","config":{"event_name":"start"}},{"key":"w","type":"wait_for_event","config":{"event_name":"go"}}]`, "", nil)
	events := make([]*automations.Event, MaxFanOut+10)
	for i := range events {
		events[i] = event("start", "a@example.com")
	}
	results, _, err := e.AcceptBatch(events, nil)
	if err != nil {
		t.Fatal(err)
	}
	reasons := map[automations.Reason]int{}
	for _, r := range results {
		for _, v := range r.Receipt.Delivery.Verdicts {
			reasons[v.Reason]++
		}
	}
	if reasons[automations.Started] != MaxFanOut || reasons[automations.TooMany] != 10 || len(reasons) != 2 {
		t.Errorf("%v", reasons)
	}
	if other := e.mustAccept(t, event("start", "b@example.com")); len(other.Started) != 1 {
		t.Error("another contact cannot start a run")
	}
	for { // each begins to wait
		if n, _, err := e.advanceDue(); err != nil || n == 0 {
			break
		}
	}
	if r := e.mustAccept(t, event("go", "a@example.com")); len(r.Resumed) != MaxFanOut {
		t.Errorf("%d runs were resumed", len(r.Resumed))
	}
	for {
		if n, _, err := e.advanceDue(); err != nil || n == 0 {
			break
		}
	}
	if r := e.mustAccept(t, event("start", "a@example.com")); len(r.Started) != 1 {
		t.Error("when they are over there is no room for more")
	}
}

// An event that starts more runs than the bound allows starts that many.
func TestFanOutOfAutomations(t *testing.T) {
	e := newEngine(t, Config{})
	for range MaxFanOut + 5 {
		workflow(t, e.db, sendNow, "", nil)
	}
	r := e.mustAccept(t, event("start", "a@example.com"))
	reasons := map[automations.Reason]int{}
	for _, v := range r.Delivery.Verdicts {
		reasons[v.Reason]++
	}
	if len(r.Started) != MaxFanOut || reasons[automations.TooMany] != 5 {
		t.Errorf("%d were started: %v", len(r.Started), reasons)
	}
}

// BenchmarkFanOut is how long everybody waits for one event at the bound.
func BenchmarkFanOut(b *testing.B) {
	e := newEngine(b, Config{})
	workflow(b, e.db, `[{"key":"t","type":"trigger","config":{"event_name":"start"}},{"key":"w","type":"wait_for_event","config":{"event_name":"go"}}]`, "", nil)
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		events := make([]*automations.Event, MaxFanOut)
		for j := range events {
			events[j] = event("start", fmt.Sprintf("c%d@example.com", i))
		}
		if _, _, err := e.AcceptBatch(events, nil); err != nil {
			b.Fatal(err)
		}
		for n := 1; n > 0; {
			n, _, _ = e.advanceDue()
		}
		b.StartTimer()
		if r := e.mustAccept(b, event("go", fmt.Sprintf("c%d@example.com", i))); len(r.Resumed) != MaxFanOut {
			b.Fatalf("%d resumed", len(r.Resumed))
		}
	}
}
