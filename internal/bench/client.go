package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"strings"
)

// client is one connection that is kept open. It does little itself: what it
// takes of the processors the server cannot have.
type client struct {
	conn  net.Conn
	in    *bufio.Reader
	want  string // status line of the answer, as far as it matters
	text  *textproto.Reader
	head  string
	frame []byte
}

func (s *server) dial() (*client, error) {
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		return nil, err
	}
	in := bufio.NewReaderSize(conn, 4<<10)
	want := "HTTP/1.1 202"
	if s.refused {
		want = "HTTP/1.1 422"
	}
	return &client{
		conn: conn, in: in, want: want, text: textproto.NewReader(in),
		head: "POST /events/send HTTP/1.1\r\nHost: " + s.addr + "\r\nUser-Agent: bench\r\nAuthorization: Bearer " + s.key +
			"\r\nContent-Type: application/json\r\nContent-Length: ",
	}, nil
}

// post sends an event and waits for the answer, which must be the one wanted.
func (c *client) post(body []byte) error {
	c.frame = append(strconv.AppendInt(append(c.frame[:0], c.head...), int64(len(body)), 10), "\r\n\r\n"...)
	if _, err := c.conn.Write(append(c.frame, body...)); err != nil {
		return err
	}
	status, err := c.text.ReadLineBytes()
	if err != nil {
		return err
	}
	line := string(status)
	length := 0
	for {
		field, err := c.text.ReadLineBytes()
		if err != nil {
			return err
		}
		if len(field) == 0 {
			break
		}
		const name = "Content-Length: "
		if len(field) > len(name) && string(field[:len(name)]) == name {
			if length, err = strconv.Atoi(string(field[len(name):])); err != nil {
				return err
			}
		}
	}
	if strings.HasPrefix(line, c.want) {
		_, err = c.in.Discard(length)
		return err
	}
	answer, _ := io.ReadAll(io.LimitReader(c.in, int64(length)))
	return fmt.Errorf("%s: %s", line, answer)
}

// appendEvent makes the n-th event, of one of the server's contacts. One comes
// again and again, far from the one before.
func (s *server) appendEvent(buf []byte, n int64) []byte {
	buf = strconv.AppendInt(append(buf, `{"event":"bench","email":"c`...), n*7919%s.contacts, 10)
	buf = strconv.AppendInt(append(buf, `@example.com","payload":{"plan":"pro","n":`...), n, 10)
	if s.refused {
		return append(buf, `},"mistake":1}`...)
	}
	return append(buf, "}}"...)
}
