package mail

import (
	"errors"
	"net"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

const (
	keepIdle    = 10 * time.Second // less than any server waits (RFC 5321 asks for 5 minutes)
	keepAtMost  = 16               // connections
	keepForMany = 100              // messages; servers limit them
)

// connection is a session with a server, between two messages.
type connection struct {
	conn   net.Conn
	client *smtp.Client
	used   int         // messages so far
	idle   *time.Timer // closes it; set while it is in the pool
}

// boundedConn ends a connection whose server says more than a reply can be: a
// reply may have any number of lines. And it ends one whose server does not
// listen: the library waits for replies within a time, and for ever for room to
// send a message.
type boundedConn struct {
	net.Conn
	timeout time.Duration // for each write
	heard   int           // bytes since we last said something
}

const maxReply = 64 << 10

func (c *boundedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.heard += n; c.heard > maxReply {
		return 0, errors.New("the mail server's reply does not end")
	}
	return n, err
}

func (c *boundedConn) Write(p []byte) (int, error) {
	c.heard = 0
	if err := c.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

func (c *connection) close() { c.conn.Close() }

// quit takes leave of the server; what it says now changes nothing.
func (c *connection) quit() {
	c.client.Quit()
	c.conn.Close()
}

// pool keeps idle connections for a while.
type pool struct {
	mu   sync.Mutex
	idle []*connection // the latest last
}

// take returns the connection that was used last; nil when there is none.
func (p *pool) take() *connection {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.idle) > 0 {
		c := p.idle[len(p.idle)-1]
		p.idle = p.idle[:len(p.idle)-1]
		if c.idle.Stop() {
			return c
		}
	}
	return nil
}

// put keeps a connection after a message, unless what happened spoils it or it
// has done enough.
func (p *pool) put(c *connection, failure *SendError) {
	c.used++
	switch {
	case failure != nil && (failure.Code == 0 || failure.Code == 421 || c.client.Reset() != nil):
		c.close()
		return
	case c.used >= keepForMany:
		c.quit()
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) >= keepAtMost {
		c.close()
		return
	}
	c.idle = time.AfterFunc(keepIdle, func() {
		p.drop(c)
		c.quit()
	})
	p.idle = append(p.idle, c)
}

func (p *pool) drop(gone *connection) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, c := range p.idle {
		if c == gone {
			p.idle = append(p.idle[:i], p.idle[i+1:]...)
			return
		}
	}
}
