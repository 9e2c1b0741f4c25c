package cmd

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestResendForNode runs Resend's client for Node against the real binary. It
// needs Node and the packages of e2e.
func TestResendForNode(t *testing.T) {
	dir, err := filepath.Abs("../e2e")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("SKIPPED: node is not installed, so Resend's client for Node was not tried")
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "resend")); err != nil {
		t.Skip("SKIPPED: Resend's client for Node was not tried; run: npm ci --prefix e2e")
	}
	s := startLive(t, "webhooks: {allow_private: [127.0.0.0/8]}")
	node := exec.Command("node", "--test", "--test-reporter=spec")
	node.Dir, node.Env = dir, append(os.Environ(), "OPENSEND_URL="+s.base, "OPENSEND_KEY="+s.key)
	out, err := node.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}
