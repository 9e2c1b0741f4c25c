package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// due lets timers fall due in a file full of waiting ones while a few events
// come in: many at one instant, to see how fast they are advanced, and then
// some every millisecond, to see how late each is.
func (b *bench) due() error {
	waiting, burst := pick(b, 1_000_000, 10_000), pick(b, 100_000, 2000)
	perMS, steady := pick(b, 10, 2), pick(b, 5000, 500) // milliseconds of them
	s, automation, err := b.filled(waiting)
	if err != nil {
		return err
	}
	defer os.RemoveAll(s.dir)
	// filling in and starting take a while
	ready := time.Now().Add(pick(b, 20*time.Second, 2*time.Second)).Truncate(time.Millisecond)
	second := ready.Add(pick(b, 20*time.Second, time.Second))
	if err := s.fill(automation, waiting, burst, func(int) time.Time { return ready }); err != nil {
		return err
	}
	if err := s.fill(automation, waiting+burst, perMS*steady, func(i int) time.Time {
		return second.Add(time.Duration((i-waiting-burst)/perMS) * time.Millisecond)
	}); err != nil {
		return err
	}
	if time.Now().After(ready) {
		return errors.New("filling in took too long: the timers are due already")
	}
	if err := s.start(); err != nil {
		return err
	}
	stop := make(chan struct{})
	var load figures
	var loadErr error
	var wg sync.WaitGroup
	wg.Go(func() { load, loadErr = s.until(stop, 4) })
	took, err := s.completed(automation, burst, ready)
	if err == nil {
		_, err = s.completed(automation, burst+perMS*steady, second)
	}
	close(stop)
	wg.Wait()
	if err := errors.Join(err, loadErr, s.stop()); err != nil {
		return err
	}
	late, err := s.lateness(automation, second)
	if err != nil {
		return err
	}
	b.head("waiting timers", "due at once", "advanced/s", "due then", "late p50", "late p99", "events meanwhile", "p99 of these")
	b.row(waiting, burst, int(float64(burst)/took.Seconds()), fmt.Sprintf("%d/s", perMS*1000), late.percentile(500), late.percentile(990), load.events, load.percentile(990))
	return b.end()
}

// completed waits until so many runs are completed, and tells how long after a
// time that was.
func (s *server) completed(automation string, n int, from time.Time) (time.Duration, error) {
	time.Sleep(time.Until(from))
	for {
		var metrics struct {
			ByStatus map[string]int `json:"by_status"`
		}
		if err := s.call(http.MethodGet, "/automations/"+automation+"/runs/metrics", "", &metrics); err != nil {
			return 0, err
		}
		switch took := time.Since(from); {
		case metrics.ByStatus["completed"] >= n:
			return took, nil
		case took > 5*time.Minute:
			return 0, fmt.Errorf("%d of %d runs are completed after %s", metrics.ByStatus["completed"], n, took)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// lateness reads how late the runs were that were due from a time on.
func (s *server) lateness(automation string, from time.Time) (f figures, err error) {
	db, err := storage.Open(s.data())
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	workflow, _ := automations.ParseID(automation)
	completed := func(r *automations.Run) bool { return r.Status == automations.RunCompleted }
	err = db.View(func(tx *storage.Tx) error {
		for page, more := (storage.Page{Limit: 1000}), true; more; {
			runs, rest, err := tx.Runs(workflow, page, completed)
			if err != nil {
				return err
			}
			for _, run := range runs {
				if due := run.Steps["d"].ScheduledFor; !due.Before(from) {
					f.waited = append(f.waited, run.CompletedAt.Sub(due))
				}
				page.After = run.ID
			}
			if more = rest.More; rest.Cut != (automations.ID{}) {
				page.After = rest.Cut
			}
		}
		return nil
	})
	slices.Sort(f.waited)
	return f, err
}
