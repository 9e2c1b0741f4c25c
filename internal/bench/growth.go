package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// growth looks at files with so many contacts, each with an event and a
// waiting run.
func (b *bench) growth() error {
	var all []*grown
	for _, rows := range pick(b, []int{10_000, 100_000, 1_000_000}, []int{1000, 10_000}) {
		g, err := b.grow(rows)
		if err != nil {
			return fmt.Errorf("%d rows: %w", rows, err)
		}
		all = append(all, g)
	}
	b.head("contacts, runs", "file MiB", "to first 202", "idle CPU ms/s", "memory MiB", "p50, 1 client", "events/s, 64", "CPU µs/event", "memory MiB")
	for _, g := range all {
		b.row(g.rows, g.file>>20, g.start, g.idle, g.memory, g.alone.percentile(500), g.crowd.perSecond(), g.crowd.perEvent(), g.after)
	}
	if err := b.end(); err != nil {
		return err
	}
	b.head("contacts, runs", "newest events", "rarest filter", "contact search", "one contact", "runs", "metrics", "backup", "longest stall")
	for _, g := range all {
		b.row(g.rows, g.lists[0], g.lists[1], g.lists[2], g.lists[3], g.lists[4], g.lists[5], g.backup, g.stall)
	}
	return b.end()
}

// grown is what a file of a size costs.
type grown struct {
	rows          int
	file          int64
	start         time.Duration // to the first 202
	idle          float64       // processor time in ms for each second with nothing to do
	memory, after float64       // MiB, idle and after the load
	alone, crowd  figures       // one client, and 64
	lists         []time.Duration
	backup, stall time.Duration
}

func (b *bench) grow(rows int) (g *grown, err error) {
	s, automation, err := b.filled(rows)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(s.dir)
	g = &grown{rows: rows, file: s.size()}
	if g.start, err = s.toFirst202(); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	rest := pick(b, 10*time.Second, 500*time.Millisecond)
	time.Sleep(rest / 5)
	cpu := s.cpu()
	time.Sleep(rest)
	g.idle, g.memory = float64((s.cpu()-cpu).Milliseconds())/rest.Seconds(), s.memory()
	if g.lists, err = s.lists(automation); err != nil {
		return nil, err
	}
	if g.alone, err = s.closed(1, rest/2); err != nil {
		return nil, err
	}
	if g.crowd, err = s.closed(64, rest); err != nil {
		return nil, err
	}
	g.after = s.memory()
	return g, s.backup(g)
}

// lists times what a person looks at: the median of some readings of each.
func (s *server) lists(automation string) (took []time.Duration, err error) {
	for _, path := range []string{
		"/deliveries?limit=100", "/deliveries?limit=100&email=nobody@example.com", "/contacts?limit=100&search=nobody",
		"/contacts/c7@example.com", "/automations/" + automation + "/runs?limit=100", "/automations/" + automation + "/runs/metrics",
	} {
		f := figures{}
		for range 11 {
			begin := time.Now()
			if err := s.call(http.MethodGet, path, "", nil); err != nil {
				return nil, err
			}
			f.waited = append(f.waited, time.Since(begin))
		}
		took = append(took, f.median())
	}
	return took, nil
}

// backup copies the file while events come in, and notes how long that took and
// the longest that an event waited meanwhile.
func (s *server) backup(g *grown) error {
	stop := make(chan struct{})
	var load figures
	var loadErr error
	var wg sync.WaitGroup
	wg.Go(func() { load, loadErr = s.until(stop, 8) })
	begin := time.Now()
	out, err := s.command("backup", filepath.Join(s.dir, "copy.db")).CombinedOutput()
	g.backup = time.Since(begin)
	close(stop)
	wg.Wait()
	if err != nil {
		err = fmt.Errorf("backup: %w: %s", err, out)
	}
	g.stall = load.percentile(1000)
	return errors.Join(err, loadErr)
}
