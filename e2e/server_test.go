package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var binary string // the program; built by TestMain

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "opensend-e2e-")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "opensend")
	build := exec.Command("go", "build", "-o", binary, ".")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building opensend: %v\n%s", err, out)
		os.Exit(1)
	}
	os.Setenv("TMPDIR", dir) // browsers leave things there
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// server is a running opensend on a file of its own.
type server struct {
	t          *testing.T
	base, dir  string
	invitation string // where the first user sets a password
	key        string
	process    *os.Process
}

// patience is how long tests wait for what must come, on the slowest machine.
const patience = time.Minute

// serve starts a server with nothing in its file but a key.
func serve(t *testing.T) *server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, base: "http://" + ln.Addr().String(), dir: t.TempDir()}
	ln.Close()
	out, err := s.command("apikeys", "create", "--name", "e2e").Output()
	if err != nil {
		t.Fatal(err)
	}
	s.key = strings.TrimSpace(string(out))
	cmd := s.command("serve")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.process = cmd.Process
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the server did not stop in order: %v", err)
		}
	})
	link := regexp.MustCompile(`http\S+/dashboard/join\S+`)
	lines := bufio.NewScanner(stdout)
	for lines.Scan() && s.invitation == "" {
		s.invitation = link.FindString(lines.Text())
	}
	go io.Copy(io.Discard, stdout)
	if s.invitation == "" {
		t.Fatal("the server printed no link to set a password")
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if resp, err := http.Get(s.base + "/readyz"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return s
			}
		}
	}
	t.Fatal("the server is not ready")
	return nil
}

func (s *server) command(args ...string) *exec.Cmd {
	cmd := exec.Command(binary, args...)
	cmd.Dir, cmd.Env = s.dir, append(os.Environ(), "OPENSEND_BASE_URL="+s.base)
	return cmd
}

// pause keeps the server from answering until the function it returns is called.
func (s *server) pause() (resume func()) {
	s.t.Helper()
	tell := func(signal os.Signal) {
		if err := s.process.Signal(signal); err != nil {
			s.t.Error(err)
		}
	}
	tell(syscall.SIGSTOP)
	resume = sync.OnceFunc(func() { tell(syscall.SIGCONT) })
	s.t.Cleanup(resume)
	return resume
}

// call makes a request of the API and decodes the answer.
func (s *server) call(ctx context.Context, method, path string, in any) map[string]any {
	s.t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		s.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(ctx, method, s.base+path, strings.NewReader(string(body)))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode >= 400 {
		s.t.Fatalf("%s %s: %d %v %v", method, path, resp.StatusCode, answer, err)
	}
	return answer
}
