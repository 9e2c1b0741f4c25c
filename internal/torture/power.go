package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

func powerLane() lane {
	return lane{
		name: "power", cycles: 30, run: (*rig).power,
		controlCycles: 20, controls: []mutant{
			ackEarly,
			{name: "does not sync", edits: []edit{{"storage/db.go", "Timeout:         lockTimeout,", "Timeout: lockTimeout, NoSync: true,"}}},
		},
	}
}

// sector is what a disk writes whole.
const sector = 512

// power records what the server writes to its file while clients post, and
// what it answers to them. Then it makes the files that power cuts may have
// left: everything up to the last sync, and a random part of what was written
// after it. What had been answered by then must be there.
func (r *rig) power() (result, error) {
	if _, err := exec.LookPath("strace"); err != nil {
		return result{}, fmt.Errorf("%w: it needs strace", errNotHere)
	}
	p, err := r.install(r.dir, "", ledgerAutomation)
	if err != nil {
		return result{}, err
	}
	before, err := os.ReadFile(p.data())
	if err != nil {
		return result{}, err
	}
	tracePath := filepath.Join(r.dir, "trace")
	p.wrap = []string{"strace", "-f", "-y", "-xx", "-qq", "-s", "1048576", "-e", "trace=pwrite64,write,fdatasync,fsync,ftruncate", "-o", tracePath}
	if err := p.start(); err != nil {
		return result{}, fmt.Errorf("%w: strace does not work here: %v", errNotHere, err)
	}
	l := newLedger()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() { l.post(p, 16, stop); close(done) }()
	time.Sleep(2 * time.Second)
	l.await(100) // on a slow machine, too
	err = p.kill()
	close(stop)
	<-done
	if err != nil {
		return result{}, err
	}
	calls, err := readTrace(tracePath, p.data())
	if err != nil {
		return result{}, err
	}
	sum := result{Figures: fmt.Sprintf("cuts among %d writes, syncs and answers", len(calls))}
	for range r.cycles {
		cut := rand.IntN(len(calls))
		held := claim{int(l.next.Load()), map[string]string{}}
		for _, id := range answeredBefore(calls, cut) {
			if run, ok := l.acked[id]; ok { // unless the kill came before the client had read it
				held.Acked[id] = run
			}
		}
		if err := os.WriteFile(p.data(), crashed(before, calls, cut), 0o600); err != nil {
			return sum, err
		}
		one, err := r.hold(p.data(), held)
		if err != nil {
			one.fault("after the cut at %d of %d: %v", cut, len(calls), err)
		}
		sum.Acknowledged += len(held.Acked)
		sum.Faults = append(sum.Faults, one.Faults...)
	}
	return sum, nil
}

// crashed is the file as a power cut before the call may have left it.
func crashed(before []byte, calls []call, cut int) []byte {
	file := append([]byte(nil), before...)
	synced := 0
	for i, c := range calls[:cut] {
		if c.kind == callSync && c.ended < cut {
			synced = i
		}
	}
	for i, c := range calls[:cut] {
		switch {
		case c.kind == callTruncate:
			file = resized(file, int(c.offset))
		case c.kind != callWrite:
		case c.ended < synced: // it had been written when the sync began
			file = written(file, c.data, int(c.offset))
		case i < cut:
			for at := 0; at < len(c.data); at += sector {
				if rand.IntN(2) == 0 {
					file = written(file, c.data[at:min(at+sector, len(c.data))], int(c.offset)+at)
				}
			}
		}
	}
	return file
}

func written(file, data []byte, offset int) []byte {
	if end := offset + len(data); end > len(file) {
		file = resized(file, end)
	}
	copy(file[offset:], data)
	return file
}

func resized(file []byte, size int) []byte {
	if size <= len(file) {
		return file[:size]
	}
	return append(file, make([]byte, size-len(file))...)
}
