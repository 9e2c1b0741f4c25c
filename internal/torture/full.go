package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

func fullLane() lane {
	return lane{
		name: "full", cycles: 2, run: (*rig).full,
		controlCycles: 1, controls: []mutant{
			{name: "acknowledges what did not fit", edits: []edit{
				{"storage/room.go", "diskReserve = 32 << 20", "diskReserve = 0"},
				{"storage/committer.go", "errors.Is(err, syscall.ENOSPC):\n", "errors.Is(err, syscall.ENOSPC):\n\t\treturn nil\n"},
			}},
		},
	}
}

const (
	smallDisk = 56 << 20 // the program leaves 32 MiB of it alone
	moreDisk  = 16 << 20 // given each time
)

// full fills the disk under a running server and then gives it room again:
// what does not fit is refused, reading goes on, and so does the server.
func (r *rig) full() (sum result, err error) {
	disk := filepath.Join(r.dir, "disk")
	if err := os.Mkdir(disk, 0o700); err != nil {
		return sum, err
	}
	size := smallDisk
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%d", size), "tmpfs", disk).CombinedOutput(); err != nil {
		return sum, fmt.Errorf("%w: it needs a small file system of its own, which only root can mount: %s", errNotHere, out)
	}
	defer exec.Command("umount", "-l", disk).Run()
	p, err := r.install(disk, "", ledgerAutomation)
	if err != nil {
		return sum, err
	}
	if err := p.start(); err != nil {
		return sum, err
	}
	l := newLedger()
	l.ballast = strings.Repeat("x", 40_000) // a slow disk is full in time, too
	for range r.cycles {
		if !l.fill(p) {
			sum.fault("the disk is full, and nothing is refused")
		}
		if status, _, err := p.call(http.MethodGet, "/deliveries?limit=1", ""); err != nil || status != http.StatusOK {
			sum.fault("a full disk stops reading: %d %v", status, err)
		}
		size += moreDisk
		if out, err := exec.Command("mount", "-o", fmt.Sprintf("remount,size=%d", size), disk).CombinedOutput(); err != nil {
			return sum, fmt.Errorf("giving the disk more room: %s", out)
		}
		before := len(l.acked)
		for deadline := time.Now().Add(time.Minute); len(l.acked) == before && time.Now().Before(deadline); {
			l.send(p)
		}
		if len(l.acked) == before {
			sum.fault("the server does not recover when there is room again")
		}
	}
	if err := p.stop(); err != nil {
		return sum, err
	}
	audited, err := r.audit(l, p.data())
	audited.Faults = append(sum.Faults, audited.Faults...)
	audited.Figures += fmt.Sprintf(", %d refused for want of room", l.full)
	return audited, err
}

// fill posts events until one is refused for want of room, and reports whether
// one was.
func (l *ledger) fill(p *program) bool {
	stop, done, full := make(chan struct{}), make(chan struct{}), l.full
	go func() { l.post(p, 16, stop); close(done) }()
	defer func() { close(stop); <-done }()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		l.mu.Lock()
		refused := l.full > full
		l.mu.Unlock()
		if refused {
			return true
		}
	}
	return false
}
