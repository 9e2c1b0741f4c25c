package mail

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/textproto"
	"slices"
	"strings"

	"github.com/emersion/go-smtp"
)

// startTLS has a new connection upgraded (RFC 3207). The library could, but
// introduces every machine as localhost when it does, and there are servers
// that send localhost away.
func (s *SMTP) startTLS(conn net.Conn) (net.Conn, error) {
	text := textproto.NewConn(conn)
	if _, err := reply(text, 220); err != nil {
		return nil, err
	}
	offers, err := say(text, 250, "EHLO "+s.hello())
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(strings.Split(offers, "\n")[1:], func(offer string) bool { return strings.EqualFold(strings.TrimSpace(offer), "STARTTLS") }) {
		return nil, errors.New("the server does not offer STARTTLS")
	}
	if _, err := say(text, 220, "STARTTLS"); err != nil {
		return nil, err
	}
	if text.R.Buffered() > 0 { // it would pass for what comes over TLS
		return nil, errors.New("the server went on in plain text after STARTTLS")
	}
	secure := tls.Client(conn, s.tlsConfig())
	if err := secure.Handshake(); err != nil {
		return nil, err
	}
	return greeted{secure, io.MultiReader(strings.NewReader("220 \r\n"), secure)}, nil
}

func say(text *textproto.Conn, want int, command string) (string, error) {
	if err := text.PrintfLine("%s", command); err != nil {
		return "", err
	}
	return reply(text, want)
}

func reply(text *textproto.Conn, want int) (string, error) {
	_, words, err := text.ReadResponse(want)
	if refused, ok := errors.AsType[*textproto.Error](err); ok {
		err = &smtp.SMTPError{Code: refused.Code, Message: refused.Msg}
	}
	return words, err
}

// greeted is a connection that begins with a greeting: after STARTTLS servers
// send none, and the library waits for one.
type greeted struct {
	net.Conn
	in io.Reader
}

func (g greeted) Read(p []byte) (int, error) { return g.in.Read(p) }
