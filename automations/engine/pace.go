package engine

import (
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/opensend/opensend/automations"
)

// pace spreads mail over time. A mail whose turn has not come is put off to it,
// and the turn is kept for it. A mail waits for its turn among those to the same
// domains first and among all after that, so that one slow domain takes no turns
// from the others.
type pace struct {
	all       *rate.Limiter // nil when there is no bound
	perDomain int           // in a minute; zero is no bound

	mu      sync.Mutex
	domains map[string]*rate.Limiter
	turns   map[automations.ID]turnAt
}

// turnAt is when the turn of a mail comes.
type turnAt struct {
	at  time.Time
	all bool // among all; otherwise among those to its domains
}

const (
	maxDomains = 10_000  // beyond it all domains begin anew
	maxTurns   = 100_000 // kept; beyond it turns are given again
)

func newPace(perMinute, perDomain int) *pace {
	p := &pace{perDomain: perDomain, domains: map[string]*rate.Limiter{}, turns: map[automations.ID]turnAt{}}
	if perMinute > 0 {
		p.all = everyMinute(perMinute)
	}
	return p
}

// everyMinute lets n through in a minute, evenly: one at once at most.
func everyMinute(n int) *rate.Limiter { return rate.NewLimiter(rate.Limit(float64(n)/60), 1) }

// turn is when the mail may be sent or asks again: not after at when it may be
// sent now.
func (p *pace) turn(id automations.ID, to []string, at time.Time) time.Time {
	if p.all == nil && p.perDomain == 0 {
		return at
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	kept, waited := p.turns[id]
	if kept.at.After(at) {
		return kept.at
	}
	if !waited {
		if t := reserve(p.ofDomains(to), at); t.After(at) {
			return p.keep(id, turnAt{at: t})
		}
	}
	if p.all != nil && !kept.all {
		if t := reserve([]*rate.Limiter{p.all}, at); t.After(at) {
			return p.keep(id, turnAt{at: t, all: true})
		}
	}
	delete(p.turns, id)
	return at
}

func (p *pace) keep(id automations.ID, t turnAt) time.Time {
	if len(p.turns) >= maxTurns {
		clear(p.turns)
	}
	p.turns[id] = t
	return t.at
}

// reserve takes the next turn of each limiter and returns the last of them.
func reserve(limiters []*rate.Limiter, at time.Time) time.Time {
	turn := at
	for _, l := range limiters {
		if t := at.Add(l.ReserveN(at, 1).DelayFrom(at)).Truncate(time.Millisecond); t.After(turn) {
			turn = t
		}
	}
	return turn
}

// ofDomains are the limiters of the domains of some addresses.
func (p *pace) ofDomains(to []string) (all []*rate.Limiter) {
	if p.perDomain == 0 {
		return nil
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
