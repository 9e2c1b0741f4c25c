package mail

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// TLSPolicy says how a connection is secured.
type TLSPolicy string

// The TLS policies.
const (
	StartTLS TLSPolicy = "starttls" // upgraded before anything is said; a server that cannot is not used
	TLS      TLSPolicy = "tls"      // from the first byte
	NoTLS    TLSPolicy = "none"     // for a server on this machine
)

// SMTP hands messages to one submission server, over connections that it keeps
// for a while. It is safe for concurrent use and must not be copied.
type SMTP struct {
	Addr     string         // host:port
	TLS      TLSPolicy      // StartTLS when empty
	Username string         // no authentication when empty
	Password string         // sent over TLS, or to this machine, only
	Hello    string         // name given in EHLO; "localhost" when empty
	Timeout  time.Duration  // for connecting, for each piece sent and each reply but the last; 30 s when zero
	RootCAs  *x509.CertPool // who may sign the server's certificate; the system's when nil
	// FinalTimeout is for the reply to a whole message, which many servers look
	// through first: who gives up earlier does not know whether it was taken.
	// 10 minutes when zero (RFC 5321, section 4.5.3.2.6).
	FinalTimeout time.Duration

	pool pool
}

// Envelope is a message with where it goes.
type Envelope struct {
	From    string
	To      []string
	Message []byte // RFC 5322, with CRLF line ends
	ID      string // that reports of the server's name the message by, where it has them (RFC 3461); printable
	// Mark is told what can be known of the message if nothing more is heard;
	// nil when nobody wants to know.
	Mark func(Stage)
}

// international reports whether the mail needs a server that takes addresses
// in any letters (RFC 6531): one of them is in the envelope or the header. The
// rest of a Message is ASCII, however it is written.
func (e *Envelope) international() bool {
	header, _, _ := bytes.Cut(e.Message, []byte("\r\n\r\n"))
	return !isASCII(header) || !isASCII(e.From) || slices.ContainsFunc(e.To, func(to string) bool { return !isASCII(to) })
}

// Stage is how far a transaction has come.
type Stage byte

// The stages. Before FinalDot the server cannot have taken the message.
const (
	FinalDot   Stage = iota + 1 // the end of the message is about to be sent
	Taken                       // the server has taken it, for all recipients
	PutOff                      // it has not, and may later
	TurnedDown                  // it has not, and never will
)

func (e *Envelope) mark(s Stage) {
	if e.Mark != nil {
		e.Mark(s)
	}
}

// Reply is what a server said when it took a message. Of a failure it has the
// refused recipients alone.
type Reply struct {
	Code    int
	Text    string
	Refused []Refused // recipients that it did not accept
}

// Refused is a recipient that the server did not accept.
type Refused struct {
	Address string
	Err     *SendError
}

// Class says what a failure means for the message.
type Class int

// The classes of failure.
const (
	Temporary Class = iota + 1 // not taken; trying again may help
	Permanent                  // not taken, and it never will be
	Unknown                    // sent whole, but no reply came: it may have been taken
)

// SendError is the failure of an attempt.
type SendError struct {
	Class   Class
	Code    int    // the server's reply code; zero when it did not say
	Text    string // for people: what was tried, and the server's own words
	Bounced bool   // the server says that the address does not exist
}

func (e *SendError) Error() string { return e.Text }

// Send hands a message to the server. An error is always a *SendError, and
// means that no recipient was accepted or that the message was not taken. When
// ctx ends the connection is closed.
func (s *SMTP) Send(ctx context.Context, e Envelope) (Reply, error) {
	for {
		c, err := s.connect(ctx)
		if err != nil {
			return Reply{}, err
		}
		stop := context.AfterFunc(ctx, func() { c.conn.Close() })
		reply, err := transfer(c.client, &e)
		stop()
		failure, _ := errors.AsType[*SendError](err)
		if c.used > 0 && failure != nil && failure.Class == Temporary && (failure.Code == 0 || failure.Code == 421) && ctx.Err() == nil {
			c.close() // it was kept too long; nothing was taken, a new one may do
			continue
		}
		s.pool.put(c, failure)
		return reply, err
	}
}

// connect takes a kept connection or makes one.
func (s *SMTP) connect(ctx context.Context) (*connection, error) {
	if c := s.pool.take(); c != nil {
		return c, nil
	}
	conn, err := s.dial(ctx)
	if err != nil {
		return nil, temporary("connecting to "+s.Addr, err)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	client, err := s.greet(conn)
	if err != nil {
		conn.Close()
		return nil, temporary("greeting "+s.Addr, err)
	}
	if err := s.authenticate(client); err != nil {
		conn.Close()
		return nil, temporary("signing in to "+s.Addr, err)
	}
	return &connection{conn: conn, client: client}, nil
}

func (s *SMTP) timeout() time.Duration { return cmp.Or(s.Timeout, 30*time.Second) }

func (s *SMTP) hello() string { return cmp.Or(s.Hello, "localhost") }

func (s *SMTP) dial(ctx context.Context) (net.Conn, error) {
	dialer := net.Dialer{Timeout: s.timeout()}
	conn, err := dialer.DialContext(ctx, "tcp", s.Addr)
	if err != nil {
		return nil, err
	}
	conn = &boundedConn{Conn: conn, timeout: s.timeout()}
	if s.TLS != TLS {
		return conn, nil
	}
	secure := tls.Client(conn, s.tlsConfig())
	ctx, cancel := context.WithTimeout(ctx, s.timeout())
	defer cancel()
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secure, nil
}

func (s *SMTP) tlsConfig() *tls.Config {
	host, _, _ := net.SplitHostPort(s.Addr)
	return &tls.Config{ServerName: host, RootCAs: s.RootCAs, MinVersion: tls.VersionTLS12}
}

func (s *SMTP) greet(conn net.Conn) (*smtp.Client, error) {
	conn.SetDeadline(time.Now().Add(s.timeout()))
	defer conn.SetDeadline(time.Time{})
	if s.TLS != NoTLS && s.TLS != TLS {
		var err error
		if conn, err = s.startTLS(conn); err != nil {
			return nil, err
		}
	}
	client := smtp.NewClient(conn)
	client.CommandTimeout, client.SubmissionTimeout = s.timeout(), cmp.Or(s.FinalTimeout, 10*time.Minute)
	return client, client.Hello(s.hello())
}

func (s *SMTP) authenticate(client *smtp.Client) error {
	if s.Username == "" {
		return nil
	}
	if s.TLS == NoTLS && !s.local() {
		return errors.New("the password is not sent without TLS; set smtp.tls to starttls or tls")
	}
	switch {
	case client.SupportsAuth(sasl.Plain):
		return client.Auth(sasl.NewPlainClient("", s.Username, s.Password))
	case client.SupportsAuth(sasl.Login):
		return client.Auth(sasl.NewLoginClient(s.Username, s.Password))
	}
	return errors.New("the server offers neither AUTH PLAIN nor LOGIN")
}

// local reports whether the server is on this machine.
func (s *SMTP) local() bool {
	host, _, _ := net.SplitHostPort(s.Addr)
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// transfer is one mail transaction. Up to the final dot nothing has been
// taken; from then on only the server's reply tells.
func transfer(client *smtp.Client, e *Envelope) (Reply, error) {
	options := &smtp.MailOptions{Size: int64(len(e.Message)), UTF8: e.international()}
	if len(e.ID) <= 100 { // RFC 3461, section 4.4
		options.EnvelopeID = e.ID
	}
	if offered, _ := client.Extension("SMTPUTF8"); options.UTF8 && !offered {
		return Reply{}, &SendError{Class: Permanent, Text: "an address of the mail has letters beyond ASCII before its @, and the mail server does not take such: it offers no SMTPUTF8. Use another address, or another server"}
	}
	if err := client.Mail(e.From, options); err != nil {
		return Reply{}, failure("MAIL FROM", err)
	}
	refused, err := recipients(client, e.To)
	if err != nil {
		return Reply{Refused: refused}, err
	}
	body, err := client.Data()
	if err != nil {
		return Reply{Refused: refused}, failure("DATA", err)
	}
	if _, err := bytes.NewReader(e.Message).WriteTo(body); err != nil {
		return Reply{Refused: refused}, temporary("sending the message", err)
	}
	e.mark(FinalDot)
	response, err := body.CloseWithResponse()
	if err == nil {
		return e.taken(Reply{Code: 250, Text: Printable(response.StatusText), Refused: refused}), nil
	}
	unknown := &SendError{Class: Unknown}
	switch reply, replied := errors.AsType[*smtp.SMTPError](err); {
	case !replied:
		unknown.Text = "the connection ended before the server said whether it took the message: " + Printable(err.Error())
	case reply.Code/100 == 2 && reply.Code != closing: // the first digit alone decides (RFC 5321, section 4.3.2)
		return e.taken(Reply{Code: reply.Code, Text: Printable(reply.Message), Refused: refused}), nil
	case reply.Code/100 == 4, reply.Code/100 == 5:
		f := failure("the message", err)
		f.Bounced = false // it is about the message
		e.mark(map[Class]Stage{Temporary: PutOff, Permanent: TurnedDown}[f.Class])
		return Reply{Refused: refused}, f
	default:
		unknown.Text = explain("the message", err) + ", which does not say whether it took it"
	}
	return Reply{Refused: refused}, unknown
}

// closing is the reply with which a server takes its leave, of a client that
// said nothing for too long among others.
const closing = 221

// taken marks that the server has taken the message, when that is true of
// every recipient: the mark could not say who has not got it.
func (e *Envelope) taken(reply Reply) Reply {
	if len(reply.Refused) == 0 {
		e.mark(Taken)
	}
	return reply
}

// recipients names the recipients to the server and returns those it refuses.
// When these are all, its first reply is the error, or a temporary one if any
// was.
func recipients(client *smtp.Client, to []string) (refused []Refused, err error) {
	for _, address := range to {
		err := client.Rcpt(address, nil)
		if err == nil {
			continue
		}
		if _, replied := errors.AsType[*smtp.SMTPError](err); !replied {
			return refused, failure(rcpt, err)
		}
		refused = append(refused, Refused{address, failure(rcpt, err)})
	}
	if len(refused) < len(to) {
		return refused, nil
	}
	worst := refused[0].Err
	for _, r := range refused {
		if r.Err.Class == Temporary {
			worst = r.Err
		}
	}
	return refused, worst
}

const rcpt = "RCPT TO"

// NoSuchAddress reports whether a permanent refusal of a recipient says that
// the address does not exist, and not that the server dislikes the sender. It
// is the one rule for what servers say at once and for what they report later.
// The enhanced codes are of RFC 3463, section 3.2; servers without them, or
// with one that says nothing, say it in words.
func NoSuchAddress(code int, enhanced [3]int, words string) bool {
	if enhanced[0] == 5 && enhanced[1] != 0 {
		return enhanced[1] == 1 && slices.Contains([]int{1, 2, 3, 6, 10}, enhanced[2])
	}
	return code == 550 && unknownUser.MatchString(words) && !disliked.MatchString(words)
}

var (
	unknownUser = regexp.MustCompile(`(?i)no such|unknown|not exist|invalid|not found|unavailable`)
	disliked    = regexp.MustCompile(`(?i)relay|spam|block|policy|denied|reject|reput|auth|sender|[he][eh]lo|client|service|spf|dkim|dmarc`)
)

// failure classes an error by the server's reply; without one it may pass.
func failure(doing string, err error) *SendError {
	reply, ok := errors.AsType[*smtp.SMTPError](err)
	if ok && reply.Code/100 == 5 && reply.Code != signInFirst {
		return &SendError{Class: Permanent, Code: reply.Code, Text: explain(doing, err), Bounced: doing == rcpt && NoSuchAddress(reply.Code, reply.EnhancedCode, reply.Message)}
	}
	return temporary(doing, err)
}

// signInFirst is the reply to whoever must sign in, or use TLS, and has not
// (RFC 3207, RFC 4954): it is about the settings.
const signInFirst = 530

// temporary is a failure that mending the server or the settings cures, as a
// refused password is, whatever the reply.
func temporary(doing string, err error) *SendError {
	e := &SendError{Class: Temporary, Text: explain(doing, err)}
	if reply, ok := errors.AsType[*smtp.SMTPError](err); ok {
		e.Code = reply.Code
	}
	return e
}

func explain(doing string, err error) string {
	if reply, ok := errors.AsType[*smtp.SMTPError](err); ok {
		words := reply.Message
		if c := reply.EnhancedCode; c[0] > 0 { // the library takes it out of the words
			words = fmt.Sprintf("%d.%d.%d %s", c[0], c[1], c[2], words)
		}
		return fmt.Sprintf("%s: the mail server answered %d %s", doing, reply.Code, Printable(words))
	}
	return doing + ": " + Printable(err.Error())
}

// maxServerText is how much of a server's words is kept.
const maxServerText = 500

// Printable is what a server said, fit to be shown and kept: on one line and
// cut.
func Printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > maxServerText {
		s = strings.ToValidUTF8(s[:maxServerText], "") + "…"
	}
	return s
}
