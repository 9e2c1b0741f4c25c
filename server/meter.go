package server

import (
	"sync/atomic"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/metrics"
)

// meter counts what passes through a Server. What it has is made once, so that
// counting takes no lock.
type meter struct {
	families map[string]*familyMeter // by route.family
	order    []*familyMeter
	unknown  *familyMeter
	doors    map[door]*doorMeter
}

// familyMeter counts the requests of a family of routes.
type familyMeter struct {
	name    string
	classes [6]atomic.Int64 // by the first digit of the status
	latency *metrics.Histogram
}

// doorMeter counts the events at one door.
type doorMeter struct {
	name     string
	events   atomic.Int64 // stored
	refused  atomic.Int64
	verdicts map[automations.Reason]*atomic.Int64 // of stored events
}

func newMeter() *meter {
	m := &meter{families: map[string]*familyMeter{}, doors: map[door]*doorMeter{}}
	for _, rt := range routes() {
		if name := rt.family(); m.families[name] == nil {
			m.families[name] = m.family(name)
		}
	}
	m.unknown = m.family("unknown")
	for d, name := range map[door]string{openSendDoor: "opensend", mailDiverDoor: "maildiver"} {
		m.doors[d] = &doorMeter{name: name, verdicts: map[automations.Reason]*atomic.Int64{}}
		for _, reason := range automations.Reasons() {
			m.doors[d].verdicts[reason] = new(atomic.Int64)
		}
	}
	return m
}

func (m *meter) family(name string) *familyMeter {
	const ms = time.Millisecond
	f := &familyMeter{name: name, latency: metrics.NewTimes(ms, 2*ms, 5*ms, 10*ms, 25*ms, 50*ms, 100*ms, 250*ms, time.Second, 5*time.Second)}
	m.order = append(m.order, f)
	return f
}

// answered counts an answer; without a meter it does nothing.
func (f *familyMeter) answered(status int, began time.Time) {
	if f == nil {
		return
	}
	if class := status / 100; class < len(f.classes) {
		f.classes[class].Add(1)
	}
	f.latency.Since(began)
}

// took counts a stored event and what was decided about it.
func (d *doorMeter) took(delivery *automations.Delivery) {
	d.events.Add(1)
	for _, v := range delivery.Verdicts {
		if n := d.verdicts[v.Reason]; n != nil {
			n.Add(1)
		}
	}
}
