package engine

import (
	"sync"
	"time"
)

// steadyClock tells time for deduplication windows, which must neither repeat
// nor grow when somebody sets the clock back: it follows the clock forward and
// goes on at its own pace when the clock steps back.
type steadyClock struct {
	wall  func() time.Time // what people set; of tests: something else
	began time.Time        // nobody sets how long it has been since

	mu   sync.Mutex
	told time.Time     // the time last told
	at   time.Duration // since it began, when it was told
}

func newSteadyClock() *steadyClock { return &steadyClock{wall: time.Now, began: time.Now()} }

func (c *steadyClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	wall, at := c.wall().Round(0), time.Since(c.began)
	if steady := c.told.Add(at - c.at); !c.told.IsZero() && steady.After(wall) {
		wall = steady
	}
	c.told, c.at = wall, at
	return wall.UTC().Truncate(time.Millisecond)
}

// setBy is by how much people have set that clock since the program began.
func (c *steadyClock) setBy() time.Duration {
	return c.wall().Round(0).Sub(c.began.Round(0)) - time.Since(c.began)
}

// until is when a time by that clock comes if nobody sets it; zero stays zero.
func (c *steadyClock) until(at time.Time) time.Time {
	if at.IsZero() {
		return at
	}
	return time.Now().Add(at.Sub(c.wall()))
}

// today is the time by the clock that people set, as precise as it is stored.
// What is due at a time is due by it.
func (c *steadyClock) today() time.Time { return c.wall().UTC().Truncate(time.Millisecond) }
