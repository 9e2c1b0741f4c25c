package main

import (
	"math/rand/v2"
	"time"
)

func killLane() lane {
	return lane{
		name: "kill", cycles: 100, run: (*rig).kill,
		controlCycles: 10, controls: []mutant{ackEarly},
	}
}

// ackEarly answers before the commit.
var ackEarly = mutant{name: "answers before the commit", edits: []edit{
	{"storage/committer.go", "if err := btx.Commit(); err != nil {", "go btx.Commit()\n\tif err := error(nil); err != nil {"},
}}

// kill ends the server at random moments while clients post, and starts it
// again on the same file.
func (r *rig) kill() (result, error) {
	p, err := r.install(r.dir, "", ledgerAutomation)
	if err != nil {
		return result{}, err
	}
	l := newLedger()
	for i := range r.cycles {
		if err := p.start(); err != nil {
			return result{}, err
		}
		stop, done := make(chan struct{}), make(chan struct{})
		go func() { l.post(p, 8+rand.IntN(57), stop); close(done) }()
		if i%2 == 0 { // however slow the machine is
			l.await(1)
		}
		between(10*time.Millisecond, 70*time.Millisecond)
		err := p.kill()
		close(stop)
		<-done
		if err != nil {
			return result{}, err
		}
	}
	return r.audit(l, p.data())
}
