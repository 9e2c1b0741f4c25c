package automations

import "testing"

// Every verdict that can be stored is said in words of its own.
func TestVerdictsHaveWords(t *testing.T) {
	said := map[string]Reason{}
	for _, reason := range Reasons() {
		words := Verdict{Reason: reason}.Words()
		if other, twice := said[words]; words == string(reason) || twice {
			t.Errorf("%s is said as %q, as %q is", reason, words, other)
		}
		said[words] = reason
	}
}
