package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/opensend/opensend/internal/port"
)

// build compiles the program.
func build(dir string) (binary string, err error) {
	binary = filepath.Join(dir, "opensend")
	out, err := exec.Command("go", "build", "-o", binary, "github.com/opensend/opensend").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("bench builds the program: run it inside the module, with Go installed: %w\n%s", err, out)
	}
	return binary, nil
}

// server is a process of its own on a data file of its own.
type server struct {
	binary string
	dir    string
	addr   string
	// release gives the port back.
	release func() error
	key     string
	// contacts is how many the events are of.
	contacts int64
	// refused puts a mistake into events, so that the answer is 422.
	refused bool
	cmd     *exec.Cmd
	stderr  bytes.Buffer
}

// newServer makes a data file with a key in a new folder.
func (b *bench) newServer() (*server, error) {
	dir, err := os.MkdirTemp(b.dir, "server-")
	if err != nil {
		return nil, err
	}
	address, release, err := port.Reserve()
	if err != nil {
		return nil, err
	}
	s := &server{binary: b.binary, dir: dir, addr: address, release: release, contacts: 10_000}
	b.servers = append(b.servers, s)
	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte("limits: {connections: 2048}\n"), 0o600); err != nil {
		return nil, err
	}
	out, err := s.command("apikeys", "create", "--name", "bench").Output()
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	s.key = strings.TrimSpace(string(out))
	return s, nil
}

// startServer is newServer, started, with the automation.
func (b *bench) startServer() (*server, error) {
	s, err := b.newServer()
	if err != nil {
		return nil, err
	}
	if err := s.start(); err != nil {
		return nil, err
	}
	_, err = s.automation("bench", "30 days")
	return s, err
}

func (s *server) data() string { return filepath.Join(s.dir, "opensend.db") }

func (s *server) command(args ...string) *exec.Cmd {
	cmd := exec.Command(s.binary, args...)
	cmd.Dir, cmd.Env = s.dir, append(os.Environ(), "OPENSEND_BASE_URL=http://"+s.addr)
	return cmd
}

// start starts the server and waits until it takes connections.
func (s *server) start() error {
	s.cmd = s.command("serve")
	s.cmd.Stderr = &s.stderr
	if err := s.cmd.Start(); err != nil {
		return err
	}
	for begin := time.Now(); time.Since(begin) < 20*time.Second; time.Sleep(time.Millisecond) {
		if conn, err := net.Dial("tcp", s.addr); err == nil {
			return conn.Close()
		}
	}
	s.kill()
	return fmt.Errorf("the server does not start: %s", s.stderr.String())
}

// stop ends the server in order.
func (s *server) stop() error {
	s.cmd.Process.Signal(syscall.SIGTERM)
	if err := s.cmd.Wait(); err != nil {
		return fmt.Errorf("the server did not stop in order: %w: %s", err, s.stderr.String())
	}
	return nil
}

// kill ends a server that still runs.
func (s *server) kill() {
	if s.cmd != nil && s.cmd.Process != nil && s.cmd.ProcessState == nil {
		s.cmd.Process.Kill()
		s.cmd.Wait()
	}
}

// call makes a request and decodes the answer, unless into is nil.
func (s *server) call(method, path, body string, into any) error {
	req, err := http.NewRequest(method, "http://"+s.addr+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+s.key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode > 299 {
		return fmt.Errorf("%s %s: %d %s %v", method, path, resp.StatusCode, raw, err)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(raw, into)
}

// automation makes one that is started by the event of its name and delays.
func (s *server) automation(name, delay string) (id string, err error) {
	var made struct{ ID string }
	err = s.call(http.MethodPost, "/automations", fmt.Sprintf(`{"name":%q,"status":"enabled","steps":[
		{"key":"t","type":"trigger","config":{"event_name":%q}},{"key":"d","type":"delay","config":{"duration":%q}}]}`, name, name, delay), &made)
	return made.ID, err
}

// cpu is the processor time that the server has used, in steps of 10 ms.
func (s *server) cpu() time.Duration {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	_, after, _ := strings.Cut(string(stat), ") ")
	var ticks int
	for i, field := range strings.Fields(after) {
		if i == 11 || i == 12 { // user, system
			n, _ := strconv.Atoi(field)
			ticks += n
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// memory is the server's memory that is not pages of a file, in MiB.
func (s *server) memory() (mib float64) {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	_, after, _ := strings.Cut(string(status), "RssAnon:")
	fmt.Sscan(after, &mib)
	return mib / 1024
}

// size is that of the data file, in bytes.
func (s *server) size() int64 {
	info, err := os.Stat(s.data())
	if err != nil {
		return 0
	}
	return info.Size()
}
