package engine

import (
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/opensend/opensend/automations"
)

// pace spreads mail over time. A mail whose turn has not come is put off to it,
// and the turn is kept for it.
type pace struct {
	all       *rate.Limiter // nil when there is no bound
	perDomain int           // in a minute; zero is no bound

	mu      sync.Mutex
	domains map[string]*rate.Limiter
	turns   map[automations.ID]time.Time
}

const (
	maxDomains = 10_000  // beyond it all domains begin anew
	maxTurns   = 100_000 // kept; beyond it turns are given again
)

func newPace(perMinute, perDomain int) *pace {
	p := &pace{perDomain: perDomain, domains: map[string]*rate.Limiter{}, turns: map[automations.ID]time.Time{}}
	if perMinute > 0 {
		p.all = everyMinute(perMinute)
	}
	return p
}

// everyMinute lets n through in a minute, evenly: one at once at most.
func everyMinute(n int) *rate.Limiter { return rate.NewLimiter(rate.Limit(float64(n)/60), 1) }

// turn is when the mail may be sent: not after at when that is now.
func (p *pace) turn(id automations.ID, to []string, at time.Time) time.Time {
	if p.all == nil && p.perDomain == 0 {
		return at
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if kept, ok := p.turns[id]; ok {
		if !kept.After(at) {
			delete(p.turns, id)
		}
		return kept
	}
	turn := at
	for _, l := range p.limiters(to) {
		if wait := l.ReserveN(at, 1).DelayFrom(at); at.Add(wait).After(turn) {
			turn = at.Add(wait)
		}
	}
	if turn = turn.Truncate(time.Millisecond); turn.After(at) {
		if len(p.turns) >= maxTurns {
			clear(p.turns)
		}
		p.turns[id] = turn
	}
	return turn
}

func (p *pace) limiters(to []string) (all []*rate.Limiter) {
	if p.all != nil {
		all = append(all, p.all)
	}
	if p.perDomain == 0 {
		return all
	}
	seen := map[string]bool{}
	for _, address := range to {
		domain := strings.ToLower(address[strings.LastIndexByte(address, '@')+1:])
		if seen[domain] {
			continue
		}
		seen[domain] = true
		l := p.domains[domain]
		if l == nil {
			if len(p.domains) >= maxDomains {
				clear(p.domains)
			}
			l = everyMinute(p.perDomain)
			p.domains[domain] = l
		}
		all = append(all, l)
	}
	return all
}
