package cmd

import (
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// restTime is how long a connection must have been idle before it is closed for
// another: its client is then hardly about to use it.
const restTime = time.Second

// connections bounds how many connections a server has open. When one more comes
// the one that has been idle the longest is closed for it; while none is, it waits
// and those that are answered are not kept.
type connections struct {
	room    chan struct{} // has one for each open connection
	waiting atomic.Int32

	mu   sync.Mutex
	idle map[net.Conn]time.Time // since when
}

// boundConnections bounds those of the server that come through a listener which
// limit returns.
func boundConnections(server *http.Server, most int) *connections {
	c := &connections{room: make(chan struct{}, most), idle: map[net.Conn]time.Time{}}
	next := server.Handler
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c.waiting.Load() > 0 {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
	server.ConnState = func(conn net.Conn, state http.ConnState) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if delete(c.idle, conn); state == http.StateIdle {
			c.idle[conn] = time.Now()
		}
	}
	return c
}

// limit is the listener with connections that count.
func (c *connections) limit(ln net.Listener) net.Listener {
	closed := make(chan struct{})
	return &limited{Listener: ln, all: c, closed: closed, close: sync.OnceFunc(func() { close(closed) })}
}

// take waits for room, and reports whether there is any before closed.
func (c *connections) take(closed <-chan struct{}) bool {
	select {
	case c.room <- struct{}{}:
		return true
	default:
	}
	c.waiting.Add(1)
	defer c.waiting.Add(-1)
	for {
		c.dismiss()
		select {
		case c.room <- struct{}{}:
			return true
		case <-closed:
			return false
		case <-time.After(restTime): // one may have been idle for long enough now
		}
	}
}

// dismiss closes the connection that has been idle the longest, if any has been
// for long enough.
func (c *connections) dismiss() {
	c.mu.Lock()
	var longest net.Conn
	before := time.Now().Add(-restTime)
	for conn, since := range c.idle {
		if !since.After(before) {
			longest, before = conn, since
		}
	}
	delete(c.idle, longest)
	c.mu.Unlock()
	if longest != nil {
		longest.Close()
	}
}

type limited struct {
	net.Listener
	all    *connections
	closed chan struct{}
	close  func()
}

func (l *limited) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if !l.all.take(l.closed) {
		conn.Close()
		return nil, net.ErrClosed
	}
	return &counted{conn, sync.OnceFunc(func() { <-l.all.room })}, nil
}

func (l *limited) Close() error {
	l.close()
	return l.Listener.Close()
}

// counted is a connection that makes room when it is closed.
type counted struct {
	net.Conn
	leave func()
}

func (c *counted) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
