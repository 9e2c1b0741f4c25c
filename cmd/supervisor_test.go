package cmd

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// manager is a service manager's end of the socket.
type manager struct {
	t *testing.T
	*net.UnixConn
	path string
}

func newManager(t *testing.T) *manager {
	m := &manager{t: t, path: filepath.Join(t.TempDir(), "notify")}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	m.UnixConn = conn
	return m
}

// heard returns what has come.
func (m *manager) heard() (all []string) {
	buf := make([]byte, 1024)
	for {
		m.SetReadDeadline(time.Now().Add(time.Millisecond))
		n, err := m.Read(buf)
		if err != nil {
			return all
		}
		all = append(all, string(buf[:n]))
	}
}

// next waits for the next message.
func (m *manager) next() string {
	m.t.Helper()
	buf := make([]byte, 1024)
	m.SetReadDeadline(time.Now().Add(patience))
	n, err := m.Read(buf)
	if err != nil {
		m.t.Fatal(err)
	}
	return string(buf[:n])
}

// Signs of life come while the program lives, and only then.
func TestWatchdog(t *testing.T) {
	m := newManager(t)
	count := func(after time.Duration, broken bool) (n int) {
		synctest.Test(t, func(t *testing.T) {
			s := supervisor{address: m.path, every: 30 * time.Second}
			ctx, stop := context.WithCancel(t.Context())
			var fails atomic.Bool
			fails.Store(broken)
			done := make(chan error)
			go func() {
				done <- s.watch(ctx, func() error {
					if fails.Load() {
						return errors.New("stuck")
					}
					return nil
				})
			}()
			time.Sleep(after)
			synctest.Wait()
			fails.Store(false)
			time.Sleep(1500 * time.Millisecond)
			stop()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
		return len(m.heard())
	}
	if n := count(46*time.Second, false); n != 4 { // at once, and after 15, 30 and 45 s
		t.Errorf("%d signs of life, want 4", n)
	}
	if n := count(46*time.Second, true); n != 1 { // within a second of being well again
		t.Errorf("%d signs of life, want 1", n)
	}
}

func TestSupervisor(t *testing.T) {
	for _, c := range []struct {
		environment string
		every       time.Duration
		wrong       bool
	}{
		{"", 0, false},
		{"NOTIFY_SOCKET=/x", 0, false},
		{"WATCHDOG_USEC=1000000", 0, false}, // nobody listens
		{"NOTIFY_SOCKET=/x WATCHDOG_USEC=1000000", time.Second, false},
		{"NOTIFY_SOCKET=/x WATCHDOG_USEC=1000000 WATCHDOG_PID=1", 0, false}, // meant for another process
		{"NOTIFY_SOCKET=/x WATCHDOG_USEC=soon", 0, true},
		{"NOTIFY_SOCKET=/x WATCHDOG_USEC=0", 0, true},
	} {
		s, err := newSupervisor(func(name string) string {
			for _, v := range strings.Fields(c.environment) {
				if value, ok := strings.CutPrefix(v, name+"="); ok {
					return value
				}
			}
			return ""
		})
		if s.every != c.every || (err != nil) != c.wrong {
			t.Errorf("%s: %v %v", c.environment, s.every, err)
		}
	}
	if err := (supervisor{address: filepath.Join(t.TempDir(), "nobody")}).tell("READY=1"); err == nil {
		t.Error("nobody was told, and it is no error")
	}
}
