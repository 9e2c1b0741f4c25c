package engine

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opensend/opensend/automations"
)

// wallClock is a clock that people set. It counts how often it is looked at.
type wallClock struct{ ahead, looks atomic.Int64 }

func (w *wallClock) now() time.Time {
	w.looks.Add(1)
	return time.Now().Add(time.Duration(w.ahead.Load()))
}

func (w *wallClock) set(by time.Duration) { w.ahead.Add(int64(by)) }

// setClock gives the engine a clock that the test sets.
func (e *Engine) setClock() *wallClock {
	w := &wallClock{}
	e.clock.wall = w.now
	return w
}

const sleepy = `[{"key":"t","type":"trigger","config":{"event_name":"start"}},{"key":"d","type":"delay","config":{"duration":"10 minutes"}}]`

// A clock that is set back makes what is due wait until it has caught up: it
// fires once, at its time by that clock, never before, and nobody looks at the
// clock more often for it.
func TestClockSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, Config{})
		clock := e.setClock()
		workflow(t, e.db, sleepy, "", nil)
		e.start(t)
		started := e.mustAccept(t, event("start", "a@example.com")).Started[0]
		time.Sleep(5 * time.Minute)
		clock.set(-time.Hour)
		looks := clock.looks.Load()
		time.Sleep(time.Hour + 5*time.Minute - 2*time.Second)
		synctest.Wait()
		if run := runOf(t, e.db, started); run.Status != automations.RunWaiting {
			t.Errorf("the run is %s before it is due", run.Status)
		}
		if n := clock.looks.Load() - looks; n > 1000 {
			t.Errorf("the clock was looked at %d times in an hour", n)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		run := runOf(t, e.db, started)
		if run.Status != automations.RunCompleted || run.Transitions != 2 || run.CompletedAt.Before(run.Steps["d"].ScheduledFor) {
			t.Errorf("the run is %s after %d steps, due %s, completed %s", run.Status, run.Transitions, run.Steps["d"].ScheduledFor, run.CompletedAt)
		}
	})
}

// A clock that is set ahead makes what is overdue happen once, within seconds,
// and in batches between which others have their turn.
func TestClockSetAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, Config{})
		clock := e.setClock()
		workflow(t, e.db, sleepy, "", nil)
		e.start(t)
		const runs = 3 * wakeBatch
		var started []*automations.Run
		for i := range runs {
			started = append(started, e.mustAccept(t, event("start", fmt.Sprintf("c%d@example.com", i))).Started...)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		clock.set(48 * time.Hour)
		time.Sleep(30 * time.Second) // the longest that nobody looks
		synctest.Wait()
		for _, r := range started {
			if run := runOf(t, e.db, r); run.Status != automations.RunCompleted || run.Transitions != 2 {
				t.Fatalf("run is %s after %d steps", run.Status, run.Transitions)
			}
		}
		n, next, err := e.advanceDue()
		if n != 0 || !next.IsZero() || err != nil {
			t.Errorf("%d runs are due once more: %v", n, err)
		}
	})
}

// A window is as long as it says, whatever is done to the clock meanwhile, and
// never begins anew while it lasts; a clock set ahead may end it early.
func TestWindowsAndTheClock(t *testing.T) {
	for name, c := range map[string]struct {
		by   time.Duration
		ends time.Duration // by the time that nobody sets
	}{
		"left alone":         {0, 5 * time.Minute},
		"set back an hour":   {-time.Hour, 5 * time.Minute},
		"set back a minute":  {-time.Minute, 5 * time.Minute},
		"set ahead a minute": {time.Minute, 4 * time.Minute},
		"set ahead an hour":  {time.Hour, 3 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEngine(t, Config{})
				clock := e.setClock()
				workflow(t, e.db, sendNow, "", &automations.Deduplication{Enabled: true, WindowSeconds: 300})
				began := time.Now()
				starts := func() bool { return len(e.mustAccept(t, event("start", "a@example.com")).Started) == 1 }
				if !starts() {
					t.Fatal("the first event starts nothing")
				}
				time.Sleep(3*time.Minute - time.Millisecond)
				if starts() {
					t.Error("the window was over before the clock was set")
				}
				time.Sleep(time.Millisecond)
				clock.set(c.by)
				if left := c.ends - time.Since(began); left > 0 {
					time.Sleep(left - time.Millisecond)
					if starts() {
						t.Error("it was over a millisecond early")
					}
					time.Sleep(time.Millisecond)
				}
				if !starts() {
					t.Error("it was not over at its end")
				}
				if starts() {
					t.Error("the next one is not open")
				}
			})
		})
	}
}

// While the wake loop rests, runs that are started wait for its next turn; the
// first after a quiet time does not, nor does a timer that falls due.
func TestBreather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, Config{Breather: time.Second})
		workflow(t, e.db, `[{"key":"t","type":"trigger","config":{"event_name":"start"}},{"key":"d","type":"delay","config":{"duration":"30 days"}}]`, "", nil)
		defer e.start(t)()
		time.Sleep(time.Minute)
		for i, want := range []automations.RunStatus{automations.RunWaiting, automations.RunQueued} {
			r := e.mustAccept(t, event("start", "a@example.com"))
			synctest.Wait()
			if run := runOf(t, e.db, r.Started[0]); run.Status != want {
				t.Errorf("run %d is %s, want %s", i, run.Status, want)
			}
		}
		time.Sleep(time.Second)
		r := e.mustAccept(t, event("start", "a@example.com"))
		time.Sleep(time.Second)
		synctest.Wait()
		if run := runOf(t, e.db, r.Started[0]); run.Status != automations.RunWaiting {
			t.Errorf("after the rest the run is %s", run.Status)
		}
		time.Sleep(time.Minute)
		due := runOf(t, e.db, r.Started[0]).WakeAt
		time.Sleep(time.Until(due))
		synctest.Wait()
		if run := runOf(t, e.db, r.Started[0]); !run.CompletedAt.Equal(due) {
			t.Errorf("the run was due at %v and is %s since %v", due, run.Status, run.CompletedAt)
		}
	})
}
