package cmd

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// shBlock is a block of commands that a reader can run as they stand.
var shBlock = regexp.MustCompile("(?s)```sh\n(.*?)```")

// The commands of the README and of the quick start do what they say, in an
// empty folder, one after the other.
func TestDocumentedCommands(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("SKIPPED: there is no curl on this machine")
	}
	for _, doc := range []string{"../README.md", "../docs/quick-start.md"} {
		t.Run(filepath.Base(doc), func(t *testing.T) {
			text, err := os.ReadFile(doc)
			if err != nil {
				t.Fatal(err)
			}
			blocks := shBlock.FindAllStringSubmatch(string(text), -1)
			if len(blocks) == 0 {
				t.Fatal("no commands")
			}
			script := "set -eu\n"
			for _, b := range blocks {
				script += b[1]
			}
			runDocumented(t, script)
		})
	}
}

// runDocumented runs a script that starts a server on the default address, on
// another one.
func runDocumented(t *testing.T, script string) {
	t.Helper()
	const serve = "./opensend serve\n"
	if strings.Count(script, serve) != 1 {
		t.Fatalf("the commands start the server %d times", strings.Count(script, serve))
	}
	address := reserved(t)
	script = strings.ReplaceAll(script, defaultListen, address)
	script = strings.ReplaceAll(script, "curl ", "curl --fail-with-body -sS ")
	script = strings.Replace(script, serve, `./opensend serve > server.log 2>&1 &
server=$!
trap 'kill $server; wait $server' EXIT
until curl -fs http://`+address+`/healthz > /dev/null; do kill -0 $server; done
`, 1)
	dir := t.TempDir()
	program, err := exec.LookPath("opensend")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(program, filepath.Join(dir, "opensend")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", "-c", script)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "OPENSEND_BASE_URL=http://"+address)
	if out, err := cmd.CombinedOutput(); err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "server.log"))
		t.Fatalf("%v\n%s\n%s", err, out, log)
	} else {
		t.Logf("%s", out)
	}
}
