package web

import (
	"cmp"
	"fmt"
	"html/template"
	"strings"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// slots is how many half hours a heartbeat shows: a day.
const slots = 48

// todayPage is what happened in the last 24 hours, and what needs a person.
type todayPage struct {
	Verdict  string
	Calm     bool // nothing needs a person
	Counts   map[string]int64
	InFlight inFlight
	Overdue  time.Time // the oldest wake that should have been; zero when none
	Chart    template.HTML
	Beats    []beat
	Recent   []*automations.Delivery
	Room     storage.Room
	Backup   storage.Backup
	Empty    bool // nothing has happened yet
	Alerts   []storage.Alert
}

// inFlight is how many runs are not over.
type inFlight struct{ Active, Waiting int64 }

// beat is one automation's day.
type beat struct {
	*automations.Workflow
	InFlight int64
	Chart    template.HTML
}

// overdueAfter is how late a run may be before a person should know.
const overdueAfter = 10 * time.Second

func (v *visit) today() (any, error) {
	page := todayPage{Counts: map[string]int64{}}
	day := newDay(v.now)
	err := v.read(func(tx *storage.Tx) error {
		day.read(tx)
		if err := page.readBeats(tx, day); err != nil {
			return err
		}
		var err error
		if page.Recent, _, err = tx.Deliveries(storage.Page{Limit: 8}, nil); err != nil {
			return err
		}
		if due, _ := tx.DueRuns(v.now.Add(-overdueAfter), 1); len(due) > 0 {
			page.Overdue = due[0].At
		}
		page.Backup, err = tx.LastBackup()
		return err
	})
	if err != nil {
		return nil, err
	}
	for kind, name := range tallyNames {
		page.Counts[name] = total(day.all[kind])
	}
	page.Chart = stackedBars("Events of the last 24 hours", []series{{"did something", "well"}, {"deduplicated", "soft"}, {"unmatched", "warn"}}, day.events())
	page.Empty = len(page.Recent) == 0
	if page.Room, err = v.d.cfg.DB.Room(); err != nil {
		return nil, err
	}
	page.Alerts = v.d.cfg.Engine.Alerts()
	page.judge()
	return page, nil
}

// tallyNames are the words that the page has for tallies.
var tallyNames = map[automations.Tally]string{
	automations.TallyEvents: "accepted", automations.TallyDeduplicated: "deduplicated", automations.TallyUnmatched: "unmatched", automations.TallyRejected: "rejected",
	automations.TallyRunsStarted: "started", automations.TallyRunsCompleted: "completed", automations.TallyRunsFailed: "failed",
	automations.TallyMailSent: "sent", automations.TallyMailCaptured: "captured", automations.TallyMailFailed: "bounced", automations.TallyMailSuppressed: "suppressed",
	automations.TallyMailUnconfirmed: "unconfirmed",
}

// judge puts the day into one sentence.
func (p *todayPage) judge() {
	var wrong []string
	add := func(n int64, one, many string) {
		switch {
		case n == 1:
			wrong = append(wrong, "1 "+one)
		case n > 1:
			wrong = append(wrong, number(n)+" "+many)
		}
	}
	add(p.Counts["failed"], "run failed", "runs failed")
	add(p.Counts["bounced"], "mail failed", "mails failed")
	add(p.Counts["unconfirmed"], "mail is unconfirmed", "mails are unconfirmed")
	if !p.Overdue.IsZero() {
		wrong = append(wrong, "runs are overdue since "+duration(time.Since(p.Overdue)))
	}
	add(int64(len(p.Alerts)), "alert", "alerts")
	mails := p.Counts["sent"] + p.Counts["captured"]
	sent := plural(p.Counts["accepted"], "event") + " and " + plural(mails, "mail") + " in the last 24 hours"
	if p.Calm = len(wrong) == 0; p.Calm {
		p.Verdict = "All well: " + sent + ", nothing overdue."
		return
	}
	p.Verdict = "Have a look: " + strings.Join(wrong, ", ") + "; " + sent + "."
}

// tallyDay is the tallies of a day.
type tallyDay struct {
	from time.Time
	all  map[automations.Tally][]int64
	runs map[automations.ID]map[automations.Tally][]int64
}

func newDay(now time.Time) *tallyDay {
	return &tallyDay{
		from: now.Truncate(storage.TallySlot).Add(-(slots - 1) * storage.TallySlot),
		all:  map[automations.Tally][]int64{}, runs: map[automations.ID]map[automations.Tally][]int64{},
	}
}

func (d *tallyDay) read(tx *storage.Tx) {
	tx.Tallies(d.from, func(slot time.Time, workflow automations.ID, kind automations.Tally, n int64) {
		at := int(slot.Sub(d.from) / storage.TallySlot)
		if at < 0 || at >= slots { // a clock that was ahead
			return
		}
		into := d.all
		if workflow != (automations.ID{}) {
			if into = d.runs[workflow]; into == nil {
				into = map[automations.Tally][]int64{}
				d.runs[workflow] = into
			}
		}
		if into[kind] == nil {
			into[kind] = make([]int64, slots)
		}
		into[kind][at] += n
	})
}

func at(of []int64, i int) int64 {
	if i < len(of) {
		return of[i]
	}
	return 0
}

// events are the bars of the chart: what did something, repeats, and what
// nothing listened to.
func (d *tallyDay) events() (bars []bar) {
	for i := range slots {
		repeats, unmatched := at(d.all[automations.TallyDeduplicated], i), at(d.all[automations.TallyUnmatched], i)
		bars = append(bars, bar{d.from.Add(time.Duration(i) * storage.TallySlot), []int64{at(d.all[automations.TallyEvents], i) - repeats - unmatched, repeats, unmatched}})
	}
	return bars
}

// heartbeat is the chart of one automation's runs.
func (d *tallyDay) heartbeat(w *automations.Workflow) template.HTML {
	var bars []bar
	of := d.runs[w.ID]
	for i := range slots {
		bars = append(bars, bar{d.from.Add(time.Duration(i) * storage.TallySlot), []int64{
			at(of[automations.TallyRunsCompleted], i) + at(of[automations.TallyRunsStarted], i), at(of[automations.TallyRunsFailed], i),
		}})
	}
	return heartbeat(fmt.Sprintf("%s in the last 24 hours: %s runs started, %s failed", cmp.Or(w.Name, "the automation"),
		number(total(of[automations.TallyRunsStarted])), number(total(of[automations.TallyRunsFailed]))), bars)
}

const maxBeats = 20

// readBeats reads the automations that the page shows, and how many runs are in
// flight.
func (p *todayPage) readBeats(tx *storage.Tx, day *tallyDay) error {
	workflows, err := tx.AllWorkflows()
	if err != nil {
		return err
	}
	for _, w := range workflows {
		counts := tx.RunCounts(w.ID)
		active, waiting := counts[automations.RunQueued]+counts[automations.RunRunning], counts[automations.RunWaiting]
		p.InFlight.Active += active
		p.InFlight.Waiting += waiting
		if w.Status == automations.StatusEnabled && len(p.Beats) < maxBeats {
			p.Beats = append(p.Beats, beat{w, active + waiting, day.heartbeat(w)})
		}
	}
	return nil
}
