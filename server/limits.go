package server

import (
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/opensend/opensend/automations"
)

// limiter bounds how many requests each API key makes in a second. A key that
// was silent may make a second's worth at once.
type limiter struct {
	perSecond int

	mu      sync.Mutex
	buckets map[automations.ID]*rate.Limiter
}

// maxBuckets bounds the memory: beyond it all keys begin anew.
const maxBuckets = 10_000

// newLimiter makes a limiter; zero is no limit.
func newLimiter(perSecond int) *limiter {
	if perSecond <= 0 {
		return nil
	}
	return &limiter{perSecond: perSecond, buckets: map[automations.ID]*rate.Limiter{}}
}

func (l *limiter) bucket(key automations.ID) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.buckets[key]
	if b == nil {
		if len(l.buckets) >= maxBuckets {
			clear(l.buckets)
		}
		b = rate.NewLimiter(rate.Limit(l.perSecond), l.perSecond)
		l.buckets[key] = b
	}
	return b
}

// admit counts a request of the key and tells the caller where it stands, in
// the headers that Resend's clients read: how many requests a second, how many
// are left, and in how many seconds all are.
func (l *limiter) admit(h http.Header, key automations.ID, now time.Time) error {
	if l == nil {
		return nil
	}
	b := l.bucket(key)
	admitted := b.AllowN(now, 1)
	left := max(b.TokensAt(now), 0)
	h.Set("ratelimit-limit", strconv.Itoa(l.perSecond))
	h.Set("ratelimit-remaining", strconv.Itoa(int(left)))
	h.Set("ratelimit-reset", strconv.Itoa(int(math.Ceil((float64(l.perSecond)-left)/float64(l.perSecond)))))
	if !admitted {
		return automations.Errorf(automations.KindRateLimited, "", "this API key may make %d requests a second; wait a moment and try again", l.perSecond)
	}
	return nil
}
