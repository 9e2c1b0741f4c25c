package cmd

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener without a network.
type pipes struct {
	come   chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.come:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes"} }

// caller is a client that keeps its connection.
type caller struct {
	conn net.Conn
	in   *bufio.Reader
}

func (p *pipes) dial() *caller {
	ours, theirs := net.Pipe()
	p.come <- theirs
	return &caller{ours, bufio.NewReader(ours)}
}

// ask does not wait until the server reads.
func (c *caller) ask(path string) {
	go io.WriteString(c.conn, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
}

// told reports whether there is an answer, and whether the connection is kept.
func (c *caller) told() (answered, kept bool) {
	answer, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return false, false
	}
	io.Copy(io.Discard, answer.Body)
	return answer.StatusCode == http.StatusOK, !answer.Close
}

func TestConnectionsMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		server := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				<-release
			}
		})}
		ln := &pipes{make(chan net.Conn, 10), make(chan struct{})}
		served := make(chan error)
		go func() { served <- server.Serve(boundConnections(server, 2).limit(ln)) }()

		first, second := ln.dial(), ln.dial()
		for _, c := range []*caller{first, second} {
			time.Sleep(time.Second)
			c.ask("/")
			if answered, kept := c.told(); !answered || !kept {
				t.Fatalf("answered %v, kept %v", answered, kept)
			}
		}
		time.Sleep(time.Minute)
		third := ln.dial()
		third.ask("/slow")
		synctest.Wait()
		if answered, _ := first.told(); answered { // it has been idle the longest, and is gone
			t.Error("an answer to nothing")
		}

		second.ask("/")
		second.told()
		fourth := ln.dial() // nobody has been idle for long
		fourth.ask("/")
		synctest.Wait()
		second.ask("/")
		if answered, kept := second.told(); !answered || kept {
			t.Errorf("answered %v, kept %v while another waits", answered, kept)
		}
		if answered, _ := fourth.told(); !answered {
			t.Error("the one who waited is not answered")
		}
		fourth.ask("/slow")
		ln.dial().ask("/") // now all are busy, and nobody keeps the server from stopping
		synctest.Wait()
		stopped := make(chan error)
		go func() { stopped <- server.Shutdown(t.Context()) }()
		if err := <-served; err != http.ErrServerClosed {
			t.Error(err)
		}
		close(release)
		for _, c := range []*caller{third, fourth} {
			if answered, _ := c.told(); !answered {
				t.Error("a request under way is not finished")
			}
		}
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
}
