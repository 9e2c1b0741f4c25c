package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

// lane is one kind of bad day.
type lane struct {
	name     string
	cycles   int // unless the caller says otherwise
	run      func(*rig) (result, error)
	controls []mutant
	// controlCycles is how many it takes to meet the fault of a control.
	controlCycles int
}

// result is what a lane found.
type result struct {
	Acknowledged int
	Faults       []string // what was promised and did not hold
	Figures      string   // anything else worth knowing
	Digest       string   // of what a file says
}

func (r *result) fault(format string, args ...any) {
	r.Faults = append(r.Faults, fmt.Sprintf(format, args...))
}

// errNotHere says that the machine does not allow a lane.
var errNotHere = errors.New("left out")

func lanes() []lane {
	return []lane{killLane(), sendLane(), timersLane(), powerLane(), flipsLane(), fullLane()}
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == readCommand {
		os.Exit(read(os.Args[2], os.Stdin, os.Stdout))
	}
	names := flag.String("lane", "", "lanes to run, with commas between; all when empty")
	cycles := flag.Int("cycles", 0, "kills, cuts or flips of each lane; the lane's own number when 0")
	flag.Parse()
	if !torture(*names, *cycles) {
		os.Exit(1)
	}
}

func torture(names string, cycles int) (held bool) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	defer w.Flush()
	fmt.Fprintln(w, "LANE\tCYCLES\tACKNOWLEDGED\tFAULTS\tCONTROLS CAUGHT\t")
	held = true
	for _, l := range lanes() {
		if names != "" && !slices.Contains(strings.Split(names, ","), l.name) {
			continue
		}
		if cycles > 0 {
			l.cycles = cycles
		}
		r, missed, err := l.withControls()
		if err != nil {
			held = held && errors.Is(err, errNotHere)
			fmt.Fprintf(w, "%s\t\t\t\t\t%v\n", l.name, err)
			continue
		}
		for _, name := range missed {
			r.fault("the program that %s was not caught", name)
		}
		held = held && len(r.Faults) == 0
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d of %d\t%s\n",
			l.name, l.cycles, r.Acknowledged, len(r.Faults), len(l.controls)-len(missed), len(l.controls), r.Figures)
		for _, f := range r.Faults {
			fmt.Fprintf(w, "\t%s\n", f)
		}
	}
	return held
}

// withControls runs the lane on the program, and on each of its controls, and
// names those in which it found no fault.
func (l lane) withControls() (r result, missed []string, err error) {
	if r, err = l.on(l.cycles); err != nil {
		return r, nil, err
	}
	for _, m := range l.controls {
		broken, err := l.on(l.controlCycles, m)
		if err != nil {
			return r, missed, fmt.Errorf("the program that %s: %w", m.name, err)
		}
		if len(broken.Faults) == 0 {
			missed = append(missed, m.name)
		}
	}
	return r, missed, nil
}

// on runs the lane on the program with the mutants in it.
func (l lane) on(cycles int, mutants ...mutant) (r result, err error) {
	dir, err := os.MkdirTemp("", "opensend-torture-")
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(dir)
	rig := &rig{dir: dir, cycles: cycles, mutants: mutants}
	defer func() {
		for _, p := range rig.programs {
			p.leave()
		}
	}()
	if rig.binary, err = rig.build("opensend", "."); err != nil {
		return r, err
	}
	return l.run(rig)
}
