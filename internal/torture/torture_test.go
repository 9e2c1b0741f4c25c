package main

import (
	"errors"
	"testing"
)

// Each lane, briefly, and its controls. The program itself runs them longer:
// see doc.go.
func TestLanes(t *testing.T) {
	for _, l := range lanes() {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			r, missed, err := l.withControls()
			if errors.Is(err, errNotHere) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d cycles, %d acknowledged, %d controls caught: %s", l.cycles, r.Acknowledged, len(l.controls)-len(missed), r.Figures)
			for _, f := range r.Faults {
				t.Error(f)
			}
			for _, name := range missed {
				t.Errorf("the program that %s was not caught", name)
			}
		})
	}
}
