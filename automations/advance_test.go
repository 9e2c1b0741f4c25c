package automations

import (
	"encoding/json"
	"testing"
	"time"
)

// A step sees what the steps before it put out, also when a run takes them all at
// once, as most do when they start.
func TestStepsSeeEarlierSteps(t *testing.T) {
	d, err := ParseDefinition(json.RawMessage(`[{"key":"t","type":"trigger","config":{"event_name":"start"}},
		{"key":"c","type":"condition","config":{"type":"rule","field":"event.n","operator":"eq","value":1}},
		{"key":"w","type":"wait_for_event","config":{"event_name":"paid"}},
		{"key":"s","type":"condition","config":{"type":"and","rules":[
			{"type":"rule","field":"steps.c.output.result","operator":"eq","value":true},
			{"type":"rule","field":"wait.w.sum","operator":"eq","value":9}]}},
		{"key":"u","type":"contact_update","config":{"properties":{"sum":{"var":"steps.w.output.event.sum"}}}}]`), nil, "", func() ID { return ID{} })
	if err != nil {
		t.Fatal(err)
	}
	f, err := Compile(d)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	start := &Delivery{ID: ID{1}, Event: "start", Payload: json.RawMessage(`{"n":1}`)}
	c := &Contact{Email: "ada@example.com"}
	r := NewRun(ID{2}, &Workflow{Revision: 1}, f, start, now)
	Advance(f, r, &World{
		Now: now, Trigger: start, Contact: c, Early: []*Delivery{{ID: ID{3}, Event: "paid", Payload: json.RawMessage(`{"sum":9}`)}},
		Declared: func(string) *ContactProperty { return nil },
	})
	if r.Status != RunCompleted || string(c.Properties["sum"]) != "9" {
		t.Errorf("the run is %s, the sum %s, the second condition %s", r.Status, c.Properties["sum"], r.Steps["s"].Output)
	}
}

// A delay or a wait whose run failed, as when what it needs could not be read,
// and is retried ends when it was to end.
func TestRetriedDelaysKeepTheirTime(t *testing.T) {
	for _, waits := range []string{`{"key":"d","type":"delay","config":{"duration":"30 days"}}`, `{"key":"d","type":"wait_for_event","config":{"event_name":"paid","timeout":"30 days"}}`} {
		f, _, err := define("["+trig+","+waits+"]", "")
		if err != nil {
			t.Fatal(err)
		}
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		start := &Delivery{ID: ID{1}, Event: "x", Payload: json.RawMessage(`{}`)}
		r := NewRun(ID{2}, &Workflow{Revision: 1}, f, start, now)
		at := func(days int) {
			Advance(f, r, &World{Now: now.AddDate(0, 0, days), Trigger: start, Contact: &Contact{}})
		}
		at(0)
		r.Fail("d", "damaged", now.AddDate(0, 0, 29))
		r.Retry(now.AddDate(0, 0, 29))
		if at(29); r.Status != RunWaiting || !r.WakeAt.Equal(now.AddDate(0, 0, 30)) || r.Steps["d"].Visit != 2 {
			t.Errorf("%s: the run is %s until %s", waits, r.Status, r.WakeAt)
		}
		if at(30); r.Status != RunCompleted {
			t.Errorf("%s: the run is %s at its time", waits, r.Status)
		}
	}
}
