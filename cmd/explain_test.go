package cmd

import (
	"testing"

	"github.com/opensend/opensend/automations"
)

// Every verdict that can be stored is said in words of its own.
func TestVerdictsHaveWords(t *testing.T) {
	said := map[string]automations.Reason{}
	for _, reason := range automations.Reasons() {
		words := verdict{Verdict: string(reason)}.words()
		if other, twice := said[words]; words == string(reason) || twice {
			t.Errorf("%s is said as %q, as %q is", reason, words, other)
		}
		said[words] = reason
	}
}
