package cmd

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
)

// Every command says what it does and shows how; an example is of its own
// command, with flags and commands that exist.
func TestHelp(t *testing.T) {
	root := newRoot(&app{stdout: new(bytes.Buffer), stderr: new(bytes.Buffer)})
	all := append(commands(root), newMan(&app{}))
	if len(all) < 50 {
		t.Fatalf("only %d commands are found", len(all))
	}
	for _, cmd := range all {
		if cmd.Short == "" || cmd.Example == "" {
			t.Errorf("%s has no Short or no Example", cmd.CommandPath())
		}
		if !strings.Contains(cmd.Example, cmd.Root().Name()) {
			t.Errorf("the example of %s does not run it", cmd.CommandPath())
		}
		for line := range strings.SplitSeq(cmd.Example, "\n") {
			_, typed, found := strings.Cut(line, "opensend ")
			if !found {
				continue
			}
			words := strings.Fields(typed)
			sub, rest, err := root.Find(words)
			if err != nil || sub == root {
				t.Errorf("the example of %s names no command: %s", cmd.CommandPath(), line)
				continue
			}
			for _, word := range rest {
				name, _, _ := strings.Cut(strings.TrimPrefix(word, "--"), "=")
				if strings.HasPrefix(word, "--") && sub.Flags().Lookup(name) == nil && root.PersistentFlags().Lookup(name) == nil {
					t.Errorf("the example of %s names no flag: %s", cmd.CommandPath(), word)
				}
			}
		}
	}
}

// The completions are scripts that their shells can read.
func TestCompletion(t *testing.T) {
	for shell, check := range map[string][]string{"bash": {"-n"}, "zsh": {"-n"}, "fish": {"--no-execute"}} {
		var script bytes.Buffer
		if code := (&app{stdout: &script, stderr: &script}).run([]string{"completion", shell}); code != 0 || script.Len() < 1000 {
			t.Errorf("%s: exit code %d, %d bytes", shell, code, script.Len())
		}
		path, err := exec.LookPath(shell)
		if err != nil {
			t.Logf("no %s is here to read its completion", shell)
			continue
		}
		cmd := exec.Command(path, check...)
		cmd.Stdin = &script
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", shell, err, out)
		}
	}
}

// Every page of the manual can be read without a complaint, and says what the
// help says.
func TestManual(t *testing.T) {
	root := newRoot(&app{stdout: new(bytes.Buffer), stderr: new(bytes.Buffer)})
	groff, err := exec.LookPath("groff")
	for _, cmd := range commands(root) {
		page := manPage(cmd)
		for _, part := range []string{".TH ", ".SH NAME\n", ".SH SYNOPSIS\n", ".SH DESCRIPTION\n", ".SH EXAMPLES\n"} {
			if !strings.Contains(page, part) {
				t.Errorf("the page of %s has no %q", cmd.CommandPath(), part)
			}
		}
		if err != nil {
			continue
		}
		read := exec.Command(groff, "-man", "-ww", "-Tutf8", "-z")
		read.Stdin = strings.NewReader(page)
		if out, err := read.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", cmd.CommandPath(), err, out)
		}
	}
}
