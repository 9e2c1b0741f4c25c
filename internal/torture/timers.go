package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

func timersLane() lane {
	return lane{
		name: "timers", cycles: 10, run: (*rig).timers,
		controlCycles: 10, controls: []mutant{
			{name: "takes timers before it acts on them", edits: []edit{
				{"automations/engine/wake.go", "\tvar mailed, erasing bool\n", "\tvar mailed, erasing bool\n\te.db.Update(func(tx *storage.Tx) error {\n\t\tfor _, wake := range due {\n\t\t\ttx.DropWake(wake)\n\t\t}\n\t\treturn nil\n\t})\n"},
				{"automations/engine/wake.go", "\t\tdue, _ = tx.DueRuns(at, wakeBatch)\n", ""},
			}},
			{name: "wakes early", edits: []edit{{"automations/advance.go", "a.world.Now.Add(d.Duration)", "a.world.Now.Add(d.Duration/2)"}}},
		},
	}
}

const (
	timerDelays   = 40 // workflows, each with another delay
	mailEvery     = 8  // of them send mail
	timersPerKill = 1000
	shortest      = 2 * time.Second
	longest       = 6 * time.Second
)

func timerDelay(i int) time.Duration {
	return shortest + time.Duration(i)*(longest-shortest)/timerDelays
}

// timers starts runs that sleep, and ends the server at random moments while
// they fall due: none is lost, early, or moved on twice.
func (r *rig) timers() (result, error) {
	p, err := r.install(r.dir, "mail: {from: hello@example.com}\n", "")
	if err != nil {
		return result{}, err
	}
	if err := p.start(); err != nil {
		return result{}, err
	}
	total := timersPerKill * r.cycles
	workflows, err := sleepers(p, total)
	if err != nil {
		return result{}, err
	}
	// Half the kills come while timers fall due one by one, until two thirds of the
	// longest delay, the others while the server makes up for what fell due when it
	// was down.
	ends := time.Now().Add(longest)
	apart := 2 * longest / 3 / time.Duration(max(r.cycles/2, 1))
	for i := range r.cycles {
		if i == r.cycles/2 {
			time.Sleep(time.Until(ends))
		}
		if i > 0 {
			if err := p.start(); err != nil {
				return result{}, err
			}
		}
		if i < r.cycles/2 {
			between(apart/2, apart*3/2)
		} else {
			between(0, 20*time.Millisecond)
		}
		if err := p.kill(); err != nil {
			return result{}, err
		}
	}
	if err := p.start(); err != nil {
		return result{}, err
	}
	if err := p.settleRuns(workflows); err != nil {
		return result{}, err
	}
	if err := p.stop(); err != nil {
		return result{}, err
	}
	return auditTimers(p.data(), total)
}

// sleepers makes the workflows and their runs.
func sleepers(p *program, total int) (workflows []string, err error) {
	for i := range timerDelays {
		last := `{"key":"e","type":"end"}`
		if i%mailEvery == 0 {
			last = `{"key":"m","type":"send_email","config":{"subject":"Hi","text":"Hi"}}`
		}
		automation := fmt.Sprintf(`{"name":"d%[1]d","status":"enabled","steps":[{"key":"t","type":"trigger","config":{"event_name":"sleep%[1]d"}},
			{"key":"d","type":"delay","config":{"duration":"%[2]s"}},%[3]s]}`, i, timerDelay(i), last)
		status, body, err := p.post("/automations", automation)
		var made struct{ ID string }
		if err != nil || status != http.StatusCreated || json.Unmarshal(body, &made) != nil {
			return nil, fmt.Errorf("making an automation: %d %s %w", status, body, err)
		}
		workflows = append(workflows, made.ID)
	}
	for n := 0; n < total; {
		var batch []string
		for ; len(batch) < 500 && n < total; n++ {
			batch = append(batch, fmt.Sprintf(`{"event":"sleep%d","email":"c%d@example.com"}`, n%timerDelays, n))
		}
		if status, body, err := p.post("/events/send/batch", "["+strings.Join(batch, ",")+"]"); err != nil || status != http.StatusAccepted {
			return nil, fmt.Errorf("posting events: %d %s %w", status, body, err)
		}
	}
	return workflows, nil
}

// settleRuns waits until no run is in flight, or none has moved for long: what is
// left then was lost.
func (p *program) settleRuns(workflows []string) error {
	before := -1
	for deadline := time.Now().Add(standstill); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		inFlight := 0
		for _, id := range workflows {
			_, raw, err := p.call(http.MethodGet, "/automations/"+id+"/runs/metrics", "")
			if err != nil {
				return err
			}
			var metrics struct {
				ByStatus map[automations.RunStatus]int `json:"by_status"`
			}
			if err := json.Unmarshal(raw, &metrics); err != nil {
				return err
			}
			inFlight += metrics.ByStatus[automations.RunQueued] + metrics.ByStatus[automations.RunRunning] + metrics.ByStatus[automations.RunWaiting]
		}
		switch {
		case inFlight == 0:
			return nil
		case inFlight != before:
			before, deadline = inFlight, time.Now().Add(standstill)
		}
	}
	return nil
}

// auditTimers looks at every run: it is over, its mail is there once, and no
// earlier than its delay allows.
func auditTimers(path string, total int) (r result, err error) {
	db, err := storage.Open(path)
	if err != nil {
		return r, err
	}
	defer db.Close()
	runs, mails := 0, map[automations.RunRef]int{}
	err = db.View(func(tx *storage.Tx) error {
		if err := eachEmail(tx, func(email *automations.Email) { mails[email.Run]++ }); err != nil {
			return err
		}
		workflows, err := tx.AllWorkflows()
		if err != nil {
			return err
		}
		for _, w := range workflows {
			var number int
			fmt.Sscanf(w.Trigger, "sleep%d", &number)
			wanted := 0
			if number%mailEvery == 0 {
				wanted = 1
			}
			err := eachRun(tx, w.ID, func(run *automations.Run) {
				runs++
				if mails[run.Ref()] != wanted {
					r.fault("run %s has %d mails instead of %d", run.ID, mails[run.Ref()], wanted)
				}
				auditTimer(run, timerDelay(number), &r)
			})
			if err != nil {
				return err
			}
		}
		if err := tx.Check(); err != nil {
			r.fault("check: %v", err)
		}
		return nil
	})
	if runs != total {
		r.fault("%d of %d runs are there", runs, total)
	}
	r.Acknowledged = total
	r.Figures = fmt.Sprintf("%d sleeping runs, each once and not early", runs)
	return r, err
}

func auditTimer(run *automations.Run, delay time.Duration, r *result) {
	woke := run.Steps["d"]
	switch {
	case run.Status != automations.RunCompleted || woke == nil:
		r.fault("run %s is %s", run.ID, run.Status)
	case woke.ScheduledFor.Sub(woke.StartedAt) < delay: // a slow machine is too late to wake it then
		r.fault("run %s was to sleep for %s instead of %s", run.ID, woke.ScheduledFor.Sub(woke.StartedAt), delay)
	case woke.CompletedAt.Sub(woke.StartedAt) < delay:
		r.fault("run %s slept for %s instead of %s", run.ID, woke.CompletedAt.Sub(woke.StartedAt), delay)
	}
}
