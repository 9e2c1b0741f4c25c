package cmd

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
)

// supervisor is the service manager that started the process, if it wants to be
// told how it is doing: systemd's Type=notify and WatchdogSec=, as sd_notify(3)
// and sd_watchdog_enabled(3) have them. The zero one listens to nothing.
type supervisor struct {
	address string        // its socket; empty when nobody listens
	every   time.Duration // it wants a sign of life in this time; zero when it wants none
}

// newSupervisor reads what the service manager says in the environment.
func newSupervisor(getenv func(string) string) (s supervisor, err error) {
	s.address = getenv("NOTIFY_SOCKET")
	text := getenv("WATCHDOG_USEC")
	if pid := getenv("WATCHDOG_PID"); s.address == "" || text == "" || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return s, nil
	}
	usec, err := strconv.ParseInt(text, 10, 64)
	if err != nil || usec <= 0 {
		return s, fmt.Errorf("WATCHDOG_USEC must be a number of microseconds; it is %q", text)
	}
	s.every = time.Duration(usec) * time.Microsecond
	return s, nil
}

// tell sends one message, such as READY=1.
func (s supervisor) tell(message string) error {
	if s.address == "" {
		return nil
	}
	conn, err := net.Dial("unixgram", s.address) // an @ at its head is the abstract name space, to Go as well
	if err == nil {
		_, err = conn.Write([]byte(message))
		conn.Close()
	}
	if err != nil {
		return fmt.Errorf("telling the service manager %s: %w", message, err)
	}
	return nil
}

// watch gives signs of life while alive returns nil, twice in the time that the
// supervisor allows, until ctx ends. Without one it asks again each second, so that
// a moment of too much work ends nothing; an alive that does not return at all
// gives no sign either.
func (s supervisor) watch(ctx context.Context, alive func() error) error {
	if s.every == 0 {
		<-ctx.Done()
		return nil
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		next := min(time.Second, s.every/2)
		if alive() == nil && s.tell("WATCHDOG=1") == nil {
			next = s.every / 2
		}
		timer.Reset(next)
	}
}
