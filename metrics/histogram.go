// Package metrics counts what the program does while it runs, and writes that
// down in the text format of Prometheus, version 0.0.4.
//
// # Promise
//
// Counting is a few atomic additions: no lock, no allocation and no map. What
// is written parses, whatever stands in a label or a help text.
//
// # Model
//
// Counters are plain atomic integers wherever something happens. [Histogram] is
// the one kind that needs a type. [Text] writes them when somebody asks.
//
// # Limits
//
// Counts are those of this process: they begin at zero when it starts, as
// Prometheus expects. A reader may see an observation in one line of a histogram
// and not yet in another.
package metrics

import (
	"sync/atomic"
	"time"
)

// Histogram counts whole numbers, such as nanoseconds, by how large they are. It
// is safe for concurrent use and must not be copied.
type Histogram struct {
	bounds []int64 // the largest number of each bucket, growing
	unit   float64 // how many make one of what is written
	counts []atomic.Int64
	sum    atomic.Int64
}

// newHistogram makes a histogram with one bucket more than bounds, for what is
// larger than all of them.
func newHistogram(unit float64, bounds ...int64) *Histogram {
	return &Histogram{bounds: bounds, unit: unit, counts: make([]atomic.Int64, len(bounds)+1)}
}

// NewSizes makes a histogram of how many there were.
func NewSizes(bounds ...int64) *Histogram { return newHistogram(1, bounds...) }

// NewTimes makes a histogram of nanoseconds, written as seconds.
func NewTimes(bounds ...time.Duration) *Histogram {
	whole := make([]int64, len(bounds))
	for i, b := range bounds {
		whole[i] = int64(b)
	}
	return newHistogram(float64(time.Second), whole...)
}

// Observe counts n.
func (h *Histogram) Observe(n int64) {
	i := 0
	for i < len(h.bounds) && n > h.bounds[i] {
		i++
	}
	h.counts[i].Add(1)
	h.sum.Add(n)
}

// Since counts the time since began.
func (h *Histogram) Since(began time.Time) { h.Observe(int64(time.Since(began))) }
