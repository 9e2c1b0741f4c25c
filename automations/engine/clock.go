package engine

import (
	"sync"
	"time"
)

// steadyClock tells time for deduplication windows, which must neither repeat
// nor grow when somebody sets the clock back: it follows the clock forward and
// goes on at its own pace when the clock steps back.
type steadyClock struct {
	mu   sync.Mutex
	told time.Time // the time last told
	read time.Time // the reading of the system's clocks it was told at
}

func (c *steadyClock) now() time.Time { return c.tell(time.Now()) }

// tell is now for a reading of the system's clocks: its wall time, and its
// monotonic time for how long it has been since the last one.
func (c *steadyClock) tell(reading time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	wall := reading.Round(0)
	if steady := c.told.Add(max(reading.Sub(c.read), 0)); !c.told.IsZero() && steady.After(wall) {
		wall = steady
	}
	c.told, c.read = wall, reading
	return wall.UTC().Truncate(time.Millisecond)
}
