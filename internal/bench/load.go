package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// figures are what a while under load has shown.
type figures struct {
	events int
	took   time.Duration
	cpu    time.Duration
	bytes  int64           // that the file has grown
	waited []time.Duration // of each event, sorted
}

func (f figures) perSecond() int { return int(float64(f.events) / f.took.Seconds()) }

// percentile of the waits, of 1000.
func (f figures) percentile(n int) time.Duration {
	if len(f.waited) == 0 {
		return 0
	}
	return f.waited[min(len(f.waited)*n/1000, len(f.waited)-1)]
}

// median sorts the waits first.
func (f figures) median() time.Duration {
	slices.Sort(f.waited)
	return f.percentile(500)
}

// perEvent is the server's processor time for each event, in µs.
func (f figures) perEvent() float64 {
	return float64(f.cpu.Microseconds()) / float64(max(f.events, 1))
}

// closed posts events from clients that each wait for their answer, for a while.
func (s *server) closed(clients int, while time.Duration) (figures, error) {
	end := time.Now().Add(while)
	var next atomic.Int64
	return s.clients(clients, func() (n int64, at time.Time, more bool) {
		at = time.Now()
		return next.Add(1), at, at.Before(end)
	})
}

// until is closed until stop is closed, with a pause before each event.
func (s *server) until(stop <-chan struct{}, clients int) (figures, error) {
	var next atomic.Int64
	return s.clients(clients, func() (n int64, at time.Time, more bool) {
		time.Sleep(10 * time.Millisecond)
		select {
		case <-stop:
			return 0, at, false
		default:
			return next.Add(1), time.Now(), true
		}
	})
}

// open posts events at a fixed rate, for a while. An event that finds no client
// idle is late from the start, and that counts.
func (s *server) open(perSecond int, while time.Duration) (figures, error) {
	begin, every := time.Now(), time.Second/time.Duration(perSecond)
	var next atomic.Int64
	// each has a turn every second: the server hangs up on who is silent for long
	return s.clients(min(perSecond, 512), func() (n int64, at time.Time, more bool) {
		n = next.Add(1)
		if at = begin.Add(time.Duration(n) * every); at.Sub(begin) >= while {
			return n, at, false
		}
		time.Sleep(time.Until(at))
		return n, at, true
	})
}

// clients posts what turn hands out: the number of an event, and when its wait
// begins.
func (s *server) clients(count int, turn func() (n int64, at time.Time, more bool)) (f figures, err error) {
	all := make([]*client, count)
	for i := range all {
		if all[i], err = s.dial(); err != nil {
			return f, err
		}
		defer all[i].conn.Close()
	}
	waited, errs := make([][]time.Duration, count), make([]error, count)
	var wg sync.WaitGroup
	begin, cpu, size := time.Now(), s.cpu(), s.size()
	for i, c := range all {
		wg.Go(func() {
			var body []byte
			for n, at, more := turn(); more; n, at, more = turn() {
				body = s.appendEvent(body[:0], n)
				if errs[i] = c.post(body); errs[i] != nil {
					return
				}
				waited[i] = append(waited[i], time.Since(at))
			}
		})
	}
	wg.Wait()
	f = figures{took: time.Since(begin), cpu: s.cpu() - cpu, bytes: s.size() - size, waited: slices.Concat(waited...)}
	f.events = len(f.waited)
	slices.Sort(f.waited)
	return f, errors.Join(errs...)
}

func (b *bench) load() error {
	b.head("clients", "events/s", "p50", "p99", "p99.9", "CPU µs/event", "memory MiB", "file B/event")
	for _, clients := range pick(b, []int{1, 8, 64, 256, 1024}, []int{1, 64}) {
		if err := b.crowd(strconv.Itoa(clients), clients, false); err != nil {
			return err
		}
	}
	// What everything before storage costs: events that are refused at its door.
	if err := b.crowd("64, refused", 64, true); err != nil {
		return err
	}
	return b.end()
}

// crowd is the row of so many clients, on a server of its own.
func (b *bench) crowd(label string, clients int, refused bool) error {
	s, err := b.startServer()
	if err != nil {
		return err
	}
	if _, err := s.closed(8, pick(b, time.Second, 200*time.Millisecond)); err != nil { // contacts, caches
		return err
	}
	s.refused = refused
	f, err := s.closed(clients, pick(b, 10*time.Second, 500*time.Millisecond))
	if err != nil {
		return err
	}
	b.row(label, f.perSecond(), f.percentile(500), f.percentile(990), f.percentile(999), f.perEvent(), s.memory(), f.bytes/int64(max(f.events, 1)))
	return errors.Join(s.stop(), os.RemoveAll(s.dir))
}

func (b *bench) rate() error {
	b.head("arriving/s", "events/s", "p50", "p99", "p99.9", "CPU µs/event")
	for _, rate := range pick(b, []int{100, 1000, 5000, 10_000}, []int{500}) {
		s, err := b.startServer()
		if err != nil {
			return err
		}
		f, err := s.open(rate, pick(b, 10*time.Second, 500*time.Millisecond))
		if err != nil {
			return err
		}
		b.row(rate, f.perSecond(), f.percentile(500), f.percentile(990), f.percentile(999), f.perEvent())
		if err := errors.Join(s.stop(), os.RemoveAll(s.dir)); err != nil {
			return err
		}
	}
	return b.end()
}

// start measures from the start of a process without a file to its first
// answer, and with a new file that has nothing but a key to the first 202.
func (b *bench) start() error {
	b.head("start without a file", "to first 202 on a new file")
	s, err := b.newServer()
	if err != nil {
		return err
	}
	took, err := s.toFirst202()
	if err != nil {
		return err
	}
	if err := errors.Join(s.stop(), os.Remove(s.data())); err != nil {
		return err
	}
	begin := time.Now()
	if err := s.start(); err != nil {
		return err
	}
	b.row(time.Since(begin), took)
	return errors.Join(s.stop(), b.end())
}

// toFirst202 starts the server and posts until an event is accepted.
func (s *server) toFirst202() (time.Duration, error) {
	begin := time.Now()
	if err := s.start(); err != nil {
		return 0, err
	}
	c, err := s.dial()
	if err != nil {
		return 0, err
	}
	defer c.conn.Close()
	if err := c.post(s.appendEvent(nil, 1)); err != nil {
		return 0, fmt.Errorf("the first event: %w", err)
	}
	return time.Since(begin), nil
}
