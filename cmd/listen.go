package cmd

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// unixPrefix begins a listen address that is the path of a socket.
const unixPrefix = "unix:"

// listen opens a public address: host:port, or unix: and a path.
func listen(addr string) (net.Listener, error) {
	if path, ok := strings.CutPrefix(addr, unixPrefix); ok {
		return listenUnix(path)
	}
	ln, err := net.Listen("tcp", addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s is in use by another program; stop it, or set listen to another port", addr)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("this user may not listen on %s; use a port above 1023, a reverse proxy, or a socket of systemd", addr)
	case err != nil:
		return nil, fmt.Errorf("cannot listen on %s: %w", addr, err)
	}
	return ln, nil
}

// listenUnix opens a socket for this user and group. A socket that nobody
// answers on was left by a process that is gone, and is replaced; anything else
// that is in the way stays.
func listenUnix(path string) (net.Listener, error) {
	if conn, err := net.Dial("unix", path); err == nil {
		conn.Close()
		return nil, fmt.Errorf("%s is in use by another program; stop it, or set listen to another path", path)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() == fs.ModeSocket {
		os.Remove(path)
	}
	ln, err := net.Listen("unix", path)
	if err == nil {
		if err = os.Chmod(path, 0o660); err == nil {
			return ln, nil
		}
		ln.Close()
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s is there and is no socket; remove it, or set listen to another path", path)
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("the folder of %s does not exist; make it, or set listen to another path", path)
	}
	return nil, fmt.Errorf("cannot listen on %s: %w", path, err)
}

// firstInherited is where the sockets that systemd passes begin; see
// sd_listen_fds(3).
const firstInherited = 3

// inherited returns the sockets that systemd opened for this process, none when
// it passes none.
func inherited(getenv func(string) string) ([]net.Listener, error) {
	if pid, _ := strconv.Atoi(getenv("LISTEN_PID")); pid != os.Getpid() {
		return nil, nil
	}
	n, err := strconv.Atoi(getenv("LISTEN_FDS"))
	if err != nil || n < 0 {
		return nil, fmt.Errorf("LISTEN_FDS must be a number; it is %q", getenv("LISTEN_FDS"))
	}
	var all []net.Listener
	for i := range n {
		f := os.NewFile(uintptr(firstInherited+i), fmt.Sprintf("socket %d of systemd", i+1))
		ln, err := net.FileListener(f)
		f.Close()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("socket %d of systemd cannot be used; it must be a ListenStream: %w", i+1, err), closeAll(all))
		}
		all = append(all, ln)
	}
	return all, nil
}

// doors are where requests come in.
type doors struct {
	public []net.Listener
	// plain takes what is not encrypted where everything should be; nil when
	// there is no such door.
	plain []net.Listener
}

// plainPort is where clients go that know no better.
const plainPort = "80"

// openDoors takes the sockets of systemd, or else opens what the configuration
// says. Where TLS is spoken, a socket of systemd on port 80 is the plain door, and
// for tls: auto one is opened there, since authorities ask there as well. That it
// cannot be had is told by the error plainErr alone: they ask on port 443, too.
func openDoors(cfg Config, getenv func(string) string) (d doors, plainErr, err error) {
	all, err := inherited(getenv)
	if err != nil {
		return d, nil, err
	}
	for _, ln := range all {
		if _, port, _ := net.SplitHostPort(ln.Addr().String()); cfg.TLS != tlsNone && port == plainPort {
			d.plain = append(d.plain, ln)
		} else {
			d.public = append(d.public, ln)
		}
	}
	if len(d.public) > 0 {
		return d, nil, nil
	}
	ln, err := listen(cfg.Listen)
	if err != nil {
		return doors{}, nil, errors.Join(err, d.close())
	}
	d.public = append(d.public, ln)
	if cfg.TLS == tlsAuto && len(d.plain) == 0 {
		host, _, _ := net.SplitHostPort(cfg.Listen)
		if ln, plainErr = listen(net.JoinHostPort(host, plainPort)); plainErr == nil {
			d.plain = append(d.plain, ln)
		}
	}
	return d, plainErr, nil
}

// addresses are where the public doors are, for people.
func (d doors) addresses() string {
	var all []string
	for _, ln := range d.public {
		text := ln.Addr().String()
		if ln.Addr().Network() == "unix" {
			text = unixPrefix + text
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

func (d doors) close() error { return errors.Join(closeAll(d.public), closeAll(d.plain)) }

func closeAll(all []net.Listener) error {
	var errs []error
	for _, ln := range all {
		errs = append(errs, ln.Close())
	}
	return errors.Join(errs...)
}
