package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// ledger is what clients have posted and what was acknowledged.
type ledger struct {
	next    atomic.Int64 // number of the last event
	ballast string       // in each event, to make it bigger

	mu    sync.Mutex
	acked map[string]string // by delivery, the run that it started
	odd   []string          // answers that should not come
	full  int               // events refused with 503
}

func newLedger() *ledger { return &ledger{acked: map[string]string{}} }

const ledgerAutomation = `{"name":"torture","status":"enabled","steps":[
	{"key":"t","type":"trigger","config":{"event_name":"torture"}},
	{"key":"c","type":"condition","config":{"type":"rule","field":"event.n","operator":"gte","value":0}},
	{"key":"w","type":"wait_for_event","config":{"event_name":"calm","timeout":"30 days"}}],
	"connections":[{"from":"t","to":"c"},{"from":"c","to":"w","type":"condition_met"}]}`

// post posts events from some clients until stop is closed.
func (l *ledger) post(p *program, clients int, stop <-chan struct{}) {
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					l.send(p)
				}
			}
		})
	}
	wg.Wait()
}

// await waits until so many more events are acknowledged, at most a minute.
func (l *ledger) await(more int) {
	acknowledged := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.acked)
	}
	enough := acknowledged() + more
	for deadline := time.Now().Add(time.Minute); acknowledged() < enough && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
}

// send posts one event and notes what was acknowledged: an answer with a 2xx
// status that was read whole.
func (l *ledger) send(p *program) {
	n := int(l.next.Add(1))
	status, raw, err := p.post("/events/send", fmt.Sprintf(`{"event":"torture","email":"c%d@example.com","payload":{"n":%d,"x":"%s"}}`, n%500, n, l.ballast))
	if err != nil {
		time.Sleep(time.Millisecond) // it is gone
		return
	}
	var answer struct {
		Delivery struct{ ID string }
		Runs     []struct{ ID string } `json:"automation_runs"`
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case status == http.StatusServiceUnavailable:
		l.full++
	case status != http.StatusAccepted || json.Unmarshal(raw, &answer) != nil || len(answer.Runs) != 1:
		l.odd = append(l.odd, fmt.Sprintf("event %d: %d %s", n, status, raw))
	default:
		l.acked[answer.Delivery.ID] = answer.Runs[0].ID
	}
}

// claim is what a data file is held to: it is handed to the process that reads
// the file, which a damaged file may end.
type claim struct {
	Posted int               // events have the numbers 1 to Posted
	Acked  map[string]string // by delivery, the run that it started
}

// audit compares a data file with the ledger.
func (r *rig) audit(l *ledger, path string) (result, error) {
	sum, err := r.hold(path, claim{int(l.next.Load()), l.acked})
	for _, odd := range l.odd {
		sum.fault("%s", odd)
	}
	return sum, err
}

// compare holds an open file to a claim: everything acknowledged is there,
// whole and once, and nothing that nobody posted.
func (c claim) compare(tx *storage.Tx) (r result, err error) {
	stored, seen := map[string]*automations.Delivery{}, map[int]bool{}
	err = eachDelivery(tx, func(d *automations.Delivery) {
		var payload struct{ N int }
		if json.Unmarshal(d.Payload, &payload) != nil || payload.N < 1 || payload.N > c.Posted || seen[payload.N] {
			r.fault("delivery %s of event %d was not posted, or is there twice", d.ID, payload.N)
		}
		seen[payload.N], stored[d.ID.String()] = true, d
		auditDelivery(tx, d, &r)
	})
	if err != nil {
		return r, err
	}
	if err := tx.Check(); err != nil {
		r.fault("check: %v", err)
	}
	lost := 0
	for id, run := range c.Acked {
		if d := stored[id]; d == nil || len(d.Verdicts) != 1 || d.Verdicts[0].RunID.String() != run {
			lost++
		}
	}
	if lost > 0 {
		r.fault("%d of %d acknowledged events are lost", lost, len(c.Acked))
	}
	r.Acknowledged = len(c.Acked)
	r.Figures = fmt.Sprintf("%d posted, %d stored, %d lost", c.Posted, len(stored), lost)
	return r, nil
}

// auditDelivery makes sure that what belongs to a delivery is all there.
func auditDelivery(tx *storage.Tx, d *automations.Delivery, r *result) {
	if c, err := tx.Contact(d.ContactID); err != nil || c.Email != d.Email {
		r.fault("the contact of delivery %s: %v", d.ID, err)
	}
	for _, v := range d.Verdicts {
		run, err := tx.Run(automations.RunRef{WorkflowID: v.WorkflowID, RunID: v.RunID})
		if err != nil || run.TriggerEventID != d.ID || run.Status.Final() {
			r.fault("the run of delivery %s: %v", d.ID, err)
		}
	}
}

func eachDelivery(tx *storage.Tx, visit func(*automations.Delivery)) error {
	read := func(p storage.Page) ([]*automations.Delivery, storage.Rest, error) { return tx.Deliveries(p, nil) }
	return eachRow(read, func(d *automations.Delivery) automations.ID { return d.ID }, visit)
}

func eachEmail(tx *storage.Tx, visit func(*automations.Email)) error {
	read := func(p storage.Page) ([]*automations.Email, storage.Rest, error) { return tx.Emails(p, nil) }
	return eachRow(read, func(e *automations.Email) automations.ID { return e.ID }, visit)
}

func eachRun(tx *storage.Tx, workflow automations.ID, visit func(*automations.Run)) error {
	read := func(p storage.Page) ([]*automations.Run, storage.Rest, error) { return tx.Runs(workflow, p, nil) }
	return eachRow(read, func(r *automations.Run) automations.ID { return r.ID }, visit)
}

// eachRow reads a list to its end.
func eachRow[R any](read func(storage.Page) ([]R, storage.Rest, error), id func(R) automations.ID, visit func(R)) error {
	for page, more := (storage.Page{Limit: 1000}), true; more; {
		rows, rest, err := read(page)
		if err != nil {
			return err
		}
		for _, row := range rows {
			visit(row)
			page.After = id(row)
		}
		more = rest.More
	}
	return nil
}
