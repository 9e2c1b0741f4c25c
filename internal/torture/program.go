package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/opensend/opensend/internal/port"
)

// program is a server on a data file of its own, and a client of it.
type program struct {
	binary string
	dir    string
	base   string
	key    string
	wrap   []string // a command that starts the server
	server *exec.Cmd
	stderr bytes.Buffer
	// release gives the port back.
	release func() error
	client  *http.Client
}

// install makes the data file in dir, with a key and an automation.
func (r *rig) install(dir, config, automation string) (*program, error) {
	address, release, err := port.Reserve()
	if err != nil {
		return nil, err
	}
	p := &program{binary: r.binary, dir: dir, base: "http://" + address, release: release}
	r.programs = append(r.programs, p)
	p.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: 20 * time.Second}
	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(config), 0o600); err != nil {
		return nil, err
	}
	out, err := p.command("apikeys", "create", "--name", "torture").Output()
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	p.key = strings.TrimSpace(string(out))
	if automation == "" {
		return p, nil
	}
	if err := p.start(); err != nil {
		return nil, err
	}
	if status, body, err := p.post("/automations", automation); err != nil || status != http.StatusCreated {
		p.kill()
		return nil, fmt.Errorf("making the automation: %d %s %w", status, body, err)
	}
	return p, p.stop()
}

func (p *program) data() string { return filepath.Join(p.dir, "opensend.db") }

func (p *program) command(args ...string) *exec.Cmd {
	args = append(append(p.wrap[:len(p.wrap):len(p.wrap)], p.binary), args...)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Env = p.dir, append(os.Environ(), "OPENSEND_BASE_URL="+p.base)
	return cmd
}

// start starts the server and waits until it answers.
func (p *program) start() error {
	p.stderr.Reset()
	p.server = p.command("serve")
	p.server.Stderr = &p.stderr
	p.server.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.server.Start(); err != nil {
		return err
	}
	for range 4000 {
		if resp, err := p.client.Get(p.base + "/healthz"); err == nil {
			resp.Body.Close()
			return nil
		}
		time.Sleep(5 * time.Millisecond)
	}
	p.kill()
	return fmt.Errorf("the server does not start: %s", p.stderr.String())
}

// kill ends the server as kill -9 does. It is an error when the server had
// ended by itself.
func (p *program) kill() error {
	syscall.Kill(-p.server.Process.Pid, syscall.SIGKILL)
	err := p.server.Wait()
	p.client.CloseIdleConnections()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && !exit.Exited() {
		return nil
	}
	return fmt.Errorf("the server ended by itself: %v: %s", err, p.stderr.String())
}

// stop ends the server in order.
func (p *program) stop() error {
	syscall.Kill(-p.server.Process.Pid, syscall.SIGTERM)
	p.client.CloseIdleConnections()
	if err := p.server.Wait(); err != nil {
		return fmt.Errorf("the server did not stop in order: %w: %s", err, p.stderr.String())
	}
	return nil
}

// leave ends a server that an error has left running.
func (p *program) leave() {
	if p.server != nil && p.server.Process != nil && p.server.ProcessState == nil {
		p.kill()
	}
	p.release()
}

func (p *program) post(path, body string) (status int, answer []byte, err error) {
	return p.call(http.MethodPost, path, body)
}

// call makes a request. An error means that no whole answer came.
func (p *program) call(method, path, body string) (status int, answer []byte, err error) {
	req, err := http.NewRequest(method, p.base+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+p.key)
	resp, err := p.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// standstill is how long nothing may move before what is left is lost.
const standstill = 15 * time.Second

// between waits for a random time.
func between(least, most time.Duration) { time.Sleep(least + rand.N(most-least)) }
