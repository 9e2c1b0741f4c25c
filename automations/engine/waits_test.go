package engine

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// An event is not kept for a wait on a way that the run did not take.
func TestEventForAWaitOnAnotherWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, Config{})
		workflow(t, e.db, `[{"key":"t","type":"trigger","config":{"event_name":"start"}},
			{"key":"c","type":"condition","config":{"type":"rule","field":"event.plan","operator":"eq","value":"pro"}},
			{"key":"d","type":"delay","config":{"duration":"1 day"}},
			{"key":"w","type":"wait_for_event","config":{"event_name":"paid"}}]`,
			`[{"from":"t","to":"c"},{"from":"c","to":"d","type":"condition_met"},{"from":"c","to":"w","type":"condition_not_met"}]`, nil)
		e.mustAccept(t, event("start", "ada@example.com"))
		if v := e.mustAccept(t, event("paid", "ada@example.com")).Delivery.Verdicts; v[0].Reason != automations.Kept {
			t.Errorf("before the condition: %v", v)
		}
		e.start(t)
		time.Sleep(idle)
		if r := e.mustAccept(t, event("paid", "ada@example.com")); r.Listened() || r.Delivery.Verdicts[0].Reason != automations.Unmatched {
			t.Errorf("behind it: %v", r.Delivery.Verdicts)
		}
	})
}

// A run that failed and is retried finds the events that came since it started,
// each once.
func TestRetriedRunFindsWhatItMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, Config{})
		segment := newID()
		workflow(t, e.db, `[{"key":"t","type":"trigger","config":{"event_name":"start"}},
			{"key":"w","type":"wait_for_event","config":{"event_name":"paid"}},
			{"key":"s","type":"add_to_segment","config":{"segment_id":"`+segment.String()+`"}},
			{"key":"v","type":"wait_for_event","config":{"event_name":"paid"}},
			{"key":"x","type":"wait_for_event","config":{"event_name":"Left"}},
			{"key":"y","type":"wait_for_event","config":{"event_name":"paid"}}]`, "", nil)
		e.start(t)
		e.mustAccept(t, event("paid", "ada@example.com")) // before it started
		run := e.mustAccept(t, event("start", "ada@example.com")).Started[0]
		e.mustAccept(t, event("paid", "ada@example.com")) // ends the first wait
		e.mustAccept(t, event("left", "ada@example.com"))
		time.Sleep(idle)
		if r := runOf(t, e.db, run); r.Status != automations.RunFailed || r.FailedStep != "s" {
			t.Fatalf("the run is %s at %q", r.Status, r.FailedStep)
		}
		e.mustAccept(t, event("paid", "bob@example.com"))
		testing := event("paid", "ada@example.com")
		testing.Test = true
		e.mustAccept(t, testing)
		missed := e.mustAccept(t, event("paid", "ada@example.com")).Delivery
		folded := event("left", "ada@example.com")
		folded.Intake.FoldCase = true
		e.mustAccept(t, folded)
		if err := e.db.Update(func(tx *storage.Tx) error { return tx.SaveSegment(&automations.Segment{ID: segment}) }); err != nil {
			t.Fatal(err)
		}
		if _, err := e.RetryRun(run.Ref()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(idle)
		r := runOf(t, e.db, run)
		if r.CurrentStep != "y" || r.Status != automations.RunWaiting || !strings.Contains(string(r.Steps["v"].Output), missed.ID.String()) {
			t.Errorf("the run is %s at %q, and its second wait was ended by %s", r.Status, r.CurrentStep, r.Steps["v"].Output)
		}
		var verdicts []automations.Verdict
		err := e.db.View(func(tx *storage.Tx) error {
			d, err := tx.Delivery(missed.ID)
			verdicts = d.Verdicts
			return err
		})
		if err != nil || len(verdicts) != 1 || verdicts[0].Reason != automations.Kept || verdicts[0].RunID != run.ID {
			t.Errorf("the verdicts of what it missed are %v, %v", verdicts, err)
		}
		whole(t, e.db)
	})
}

// Retrying a run reads the events before it changes anything, and then only those
// that came since.
func TestRetriedRunFindsWhatCameMeanwhile(t *testing.T) {
	for name, test := range map[string]struct {
		forget bool
		step   string
	}{"both": {false, "z"}, "only what came since": {true, "y"}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEngine(t, Config{})
				segment := newID()
				workflow(t, e.db, `[{"key":"t","type":"trigger","config":{"event_name":"start"}},
					{"key":"s","type":"add_to_segment","config":{"segment_id":"`+segment.String()+`"}},
					{"key":"x","type":"wait_for_event","config":{"event_name":"paid"}},
					{"key":"y","type":"wait_for_event","config":{"event_name":"paid"}},
					{"key":"z","type":"wait_for_event","config":{"event_name":"paid"}}]`, "", nil)
				e.start(t)
				run := e.mustAccept(t, event("start", "ada@example.com")).Started[0]
				time.Sleep(idle)
				e.mustAccept(t, event("paid", "ada@example.com"))
				m := e.missedBy(run.Ref())
				if len(m.ids) != 1 {
					t.Fatalf("it missed %v", m.ids)
				}
				if test.forget {
					m.ids = nil
				}
				e.mustAccept(t, event("paid", "ada@example.com"))
				if err := e.db.Update(func(tx *storage.Tx) error { return tx.SaveSegment(&automations.Segment{ID: segment}) }); err != nil {
					t.Fatal(err)
				}
				if _, err := e.retryRun(run.Ref(), m, nil); err != nil {
					t.Fatal(err)
				}
				time.Sleep(idle)
				if r := runOf(t, e.db, run); r.CurrentStep != test.step {
					t.Errorf("the run is at %q, want %q", r.CurrentStep, test.step)
				}
				whole(t, e.db)
			})
		})
	}
}

// What folds case folds it as triggers and waits are looked up.
func TestWaitInAnyAlphabet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, Config{})
		e.start(t)
		workflow(t, e.db, `[{"key":"t","type":"trigger","config":{"event_name":"İade"}},
			{"key":"w","type":"wait_for_event","config":{"event_name":"İade Ödendi"}}]`, "", nil)
		folded := func(name string) *Receipt {
			ev := event(strings.ToLower(name), "ada@example.com")
			ev.Intake.FoldCase = true
			return e.mustAccept(t, ev)
		}
		run := folded("İade").Started[0]
		time.Sleep(idle)
		folded("İade Ödendi")
		time.Sleep(idle)
		if got := runOf(t, e.db, run); got.Status != automations.RunCompleted {
			t.Errorf("the run is %s at %q", got.Status, got.CurrentStep)
		}
	})
}

func TestTooManyEarlyEvents(t *testing.T) {
	e := newEngine(t, Config{})
	workflow(t, e.db, `[{"key":"t","type":"trigger","config":{"event_name":"start"}},{"key":"w","type":"wait_for_event","config":{"event_name":"paid"}}]`, "", nil)
	run := e.mustAccept(t, event("start", "ada@example.com")).Started[0]
	var last automations.Verdict
	for range storage.MaxArrivals {
		last = e.mustAccept(t, event("paid", "ada@example.com")).Delivery.Verdicts[0]
	}
	if last.Reason != automations.Kept {
		t.Errorf("the last that is kept: %s", last.Words())
	}
	v := e.mustAccept(t, event("paid", "ada@example.com")).Delivery.Verdicts[0]
	if v.Reason != automations.TooMany || v.RunID != run.ID || !strings.HasPrefix(v.Words(), "not kept for run "+run.ID.String()) {
		t.Errorf("the first that is not: %s", v.Words())
	}
}
