package cmd

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

func TestListenUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "http.sock")
	ln, err := listen(unixPrefix + path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if _, err := listen(unixPrefix + path); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second one: %v", err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false) // as a process that is killed leaves it
	ln.Close()
	if ln, err = listen(unixPrefix + path); err != nil {
		t.Fatalf("after a crash: %v", err)
	}
	ln.Close()
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listen(unixPrefix + path); err == nil || !strings.Contains(err.Error(), "is no socket") {
		t.Errorf("in place of a file: %v", err)
	}
	if text, _ := os.ReadFile(path); string(text) != "precious" {
		t.Error("the file is gone")
	}
	if _, err := listen(unixPrefix + filepath.Join(path, "x", "y")); err == nil {
		t.Error("below a file")
	}
}

// TestUnderSystemd runs the binary as systemd would: its sockets opened for it,
// told when it is ready, alive and stopping.
func TestUnderSystemd(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no systemd on Windows")
	}
	m, dir := newManager(t), t.TempDir()
	var files []*os.File
	var clients []*http.Client
	for _, at := range [][2]string{{"tcp", "127.0.0.1:0"}, {"unix", filepath.Join(dir, "http.sock")}} {
		ln, err := net.Listen(at[0], at[1])
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		f, err := ln.(interface{ File() (*os.File, error) }).File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files = append(files, f)
		addr := ln.Addr()
		clients = append(clients, &http.Client{Timeout: patience, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, addr.Network(), addr.String())
		}}})
	}
	cmd := exec.Command("sh", "-c", "LISTEN_PID=$$ exec opensend serve")
	cmd.Dir, cmd.ExtraFiles = dir, files
	cmd.Env = append(os.Environ(), "LISTEN_FDS=2", "NOTIFY_SOCKET="+m.path, "WATCHDOG_USEC=400000", "OPENSEND_BASE_URL=http://127.0.0.1:1")
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	told := map[string]bool{}
	for !told["READY=1"] || !told["WATCHDOG=1"] {
		told[m.next()] = true
	}
	for _, client := range clients {
		resp, err := client.Get("http://opensend/readyz")
		if err != nil {
			t.Fatalf("%v\n%s", err, said.String())
		}
		resp.Body.Close()
		client.CloseIdleConnections()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%d", resp.StatusCode)
		}
	}
	cmd.Process.Signal(syscall.SIGTERM)
	for m.next() != "STOPPING=1" {
	}
	if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), "http.sock)") {
		t.Errorf("%v\n%s%s", err, out.String(), said.String())
	}
}
