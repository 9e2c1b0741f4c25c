package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
)

func flipsLane() lane {
	return lane{
		name: "flips", cycles: 150, run: (*rig).flips,
		controlCycles: 60, controls: []mutant{
			{name: "does not verify checksums", edits: []edit{{"storage/envelope.go", "return body, binary.BigEndian.Uint32(value[1:]) == checksum(value[0], key, body)", "return body, true"}}},
		},
	}
}

// flips flips one random bit of a closed file, many times over, and reads
// everything: either the damage is noticed, or every record is as it was.
func (r *rig) flips() (result, error) {
	p, err := r.install(r.dir, "", ledgerAutomation)
	if err != nil {
		return result{}, err
	}
	l := newLedger()
	if err := p.start(); err != nil {
		return result{}, err
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() { l.post(p, 8, stop); close(done) }()
	l.await(1000)
	close(stop)
	<-done
	if err := p.stop(); err != nil {
		return result{}, err
	}
	whole, err := os.ReadFile(p.data())
	if err != nil {
		return result{}, err
	}
	held := claim{int(l.next.Load()), l.acked}
	sum, err := r.hold(p.data(), held)
	if err != nil {
		return sum, fmt.Errorf("reading the whole file: %w", err)
	}
	records := sum.Digest
	noticed, harmless, used := 0, 0, usedBytes(whole)
	flipped := filepath.Join(r.dir, "flipped.db")
	for range r.cycles {
		at, bit := used[rand.IntN(len(used))], rand.IntN(8)
		whole[at] ^= 1 << bit
		err := os.WriteFile(flipped, whole, 0o600)
		whole[at] ^= 1 << bit
		if err != nil {
			return sum, err
		}
		switch one, err := r.hold(flipped, held); {
		case err != nil || len(one.Faults) > 0:
			noticed++
		case one.Digest == records:
			harmless++
		default:
			sum.fault("bit %d of byte %d: other records are read, and nothing is said", bit, at)
		}
	}
	sum.Figures = fmt.Sprintf("%d noticed, %d changed nothing that is read", noticed, harmless)
	return sum, nil
}

// usedBytes are the places of the file that are not zero: flips in empty pages
// meet nothing.
func usedBytes(file []byte) (at []int) {
	for i, b := range file {
		if b != 0 {
			at = append(at, i)
		}
	}
	return at
}
