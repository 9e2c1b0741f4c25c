package server

import (
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/opensend/opensend/automations"
)

// limiter bounds how many requests each K makes in a second. One that was silent
// may make burst at once.
type limiter[K comparable] struct {
	perSecond, burst int

	mu      sync.Mutex
	buckets map[K]*rate.Limiter
}

// maxBuckets bounds the memory: beyond it all begin anew.
const maxBuckets = 10_000

// newLimiter makes a limiter; zero is no limit.
func newLimiter[K comparable](perSecond, burst int) *limiter[K] {
	if perSecond <= 0 {
		return nil
	}
	return &limiter[K]{perSecond: perSecond, burst: burst, buckets: map[K]*rate.Limiter{}}
}

func (l *limiter[K]) bucket(key K) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.buckets[key]
	if b == nil {
		if len(l.buckets) >= maxBuckets {
			clear(l.buckets)
		}
		b = rate.NewLimiter(rate.Limit(l.perSecond), l.burst)
		l.buckets[key] = b
	}
	return b
}

// admit counts a request of the key and tells the caller where it stands, in
// the headers that Resend's clients read: how many requests a second, how many
// are left, and in how many seconds all are.
func (l *limiter[K]) admit(h http.Header, key K, now time.Time) error {
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

// What each address may send without good credentials: so many requests at once,
// and then so many a second.
const (
	strangersBurst     = 100
	strangersPerSecond = 1
)

// refuse is the error for a request whose key, or provider's own proof, is not
// good: who has sent many of those from one address is told to wait. One that is
// good is never refused here, whatever else comes from its address.
func (s *Server) refuse(r *request, err error) error {
	if !automations.IsKind(err, automations.KindUnauthorized) || s.strangers.bucket(origin(r.RemoteAddr)).AllowN(r.now, 1) {
		return err
	}
	return automations.Errorf(automations.KindRateLimited, "", "too many requests without good credentials came from this address; wait a moment. This one: %s", err)
}

// origin is where a request comes from: an address or, with IPv6, its /64, all of
// which one customer of a provider has. Whoever comes over a unix socket without a
// name is one of the same.
func origin(remote string) netip.Prefix {
	at, _ := netip.ParseAddrPort(remote)
	addr, bits := at.Addr().Unmap(), 32
	if addr.Is6() {
		bits = 64
	}
	network, _ := addr.Prefix(bits)
	return network
}
