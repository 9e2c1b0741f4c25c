package web

import (
	"cmp"
	"slices"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// unmatchedRows is how many of the newest events that nothing listened to are
// counted.
const unmatchedRows = 5000

// unmatchedPage is the names of events that nothing listened to.
type unmatchedPage struct {
	Names   []*unmatchedName // the most frequent first
	Since   time.Time        // of the oldest event that was counted
	Bounded bool             // there are older ones
}

// unmatchedName is one of them.
type unmatchedName struct {
	Name   string
	Events int
	Last   *automations.Delivery
	Near   []nearTrigger
}

// nearTrigger is an automation whose trigger has nearly the name.
type nearTrigger struct {
	WorkflowID          automations.ID
	Automation, Trigger string
}

func (v *visit) unmatched() (any, error) {
	var page unmatchedPage
	err := v.read(func(tx *storage.Tx) error {
		rows, rest, err := tx.FindDeliveries(storage.Page{Limit: unmatchedRows}, storage.DeliveryFilter{Verdicts: []automations.Reason{automations.Unmatched, automations.NearMiss}})
		if err != nil {
			return err
		}
		page.Bounded = rest.More
		page.count(tx, rows)
		return nil
	})
	return page, err
}

func (p *unmatchedPage) count(tx *storage.Tx, rows []*automations.Delivery) {
	byName := map[string]*unmatchedName{}
	for _, d := range rows {
		if p.Since = d.ReceivedAt; slices.ContainsFunc(d.Verdicts, automations.Verdict.Listens) {
			continue // another automation did
		}
		n := byName[d.Event]
		if n == nil {
			n = &unmatchedName{Name: d.Event, Last: d}
			byName[d.Event] = n
			p.Names = append(p.Names, n)
		}
		n.Events++
	}
	for _, n := range p.Names {
		for _, verdict := range n.Last.Verdicts {
			if verdict.Reason == automations.NearMiss {
				n.Near = append(n.Near, nearTrigger{verdict.WorkflowID, workflowName(tx, verdict.WorkflowID), verdict.Trigger})
			}
		}
	}
	slices.SortStableFunc(p.Names, func(a, b *unmatchedName) int { return cmp.Compare(b.Events, a.Events) })
}
