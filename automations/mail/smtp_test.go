package mail

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// testServer is a real SMTP server that keeps what it takes.
type testServer struct {
	mu       sync.Mutex
	messages []string
	users    []string // who signed in, and how
	auth     []string // mechanisms offered
	utf8     bool     // SMTPUTF8 is offered
	dsn      bool     // so is DSN
	ids      []string // of envelopes
	hellos   []string // names of who began a session; with STARTTLS twice
	sessions int
}

func (s *testServer) NewSession(c *smtp.Conn) (smtp.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions++
	s.hellos = append(s.hellos, c.Hostname())
	return &testSession{s}, nil
}

type testSession struct{ server *testServer }

func (s *testSession) Reset()        {}
func (s *testSession) Logout() error { return nil }
func (s *testSession) Mail(from string, options *smtp.MailOptions) error {
	s.server.mu.Lock()
	s.server.ids = append(s.server.ids, options.EnvelopeID)
	s.server.mu.Unlock()
	if from == "refused@example.com" {
		return &smtp.SMTPError{Code: 550, Message: "no such\r\nsender"}
	}
	return nil
}
func (s *testSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	switch to {
	case "gone@example.com":
		return &smtp.SMTPError{Code: 550, Message: "no such user"}
	case "full@example.com":
		return &smtp.SMTPError{Code: 452, Message: "mailbox full"}
	}
	return nil
}
func (s *testSession) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	s.server.messages = append(s.server.messages, string(raw))
	return err
}
func (s *testSession) AuthMechanisms() []string { return s.server.auth }
func (s *testSession) Auth(mech string) (sasl.Server, error) {
	check := func(user, password string) error {
		if user != "ada" || password != "secret" {
			return errors.New("wrong")
		}
		s.server.mu.Lock()
		defer s.server.mu.Unlock()
		s.server.users = append(s.server.users, mech)
		return nil
	}
	if mech == sasl.Login {
		return &loginServer{check: check}, nil
	}
	return sasl.NewPlainServer(func(_, user, password string) error { return check(user, password) }), nil
}

// loginServer is the server's side of AUTH LOGIN.
type loginServer struct {
	check func(user, password string) error
	step  int
	user  string
}

func (l *loginServer) Next(response []byte) (challenge []byte, done bool, err error) {
	if l.step++; response != nil && l.step == 1 {
		l.step = 2 // the name came along with the command
	}
	switch l.step {
	case 1:
		return []byte("Username:"), false, nil
	case 2:
		l.user = string(response)
		return []byte("Password:"), false, nil
	}
	return nil, true, l.check(l.user, string(response))
}

// serve starts the server and returns how to reach it.
func (s *testServer) serve(t *testing.T, policy TLSPolicy) *SMTP {
	t.Helper()
	config, roots := certificate(t)
	server := smtp.NewServer(s)
	server.Domain, server.AllowInsecureAuth, server.EnableSMTPUTF8 = "test", policy == NoTLS, s.utf8
	server.EnableDSN = s.dsn
	if policy == StartTLS {
		server.TLSConfig = config
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if policy == TLS {
		ln = tls.NewListener(ln, config)
	}
	go server.Serve(ln)
	t.Cleanup(func() { server.Close() })
	return &SMTP{Addr: ln.Addr().String(), TLS: policy, RootCAs: roots, Timeout: time.Minute}
}

// certificate makes a certificate for 127.0.0.1 that its pool trusts.
func certificate(t *testing.T) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, roots
}

func TestSend(t *testing.T) {
	m := sample()
	raw, err := m.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	for _, policy := range []TLSPolicy{StartTLS, TLS, NoTLS} {
		for _, mech := range []string{"", sasl.Plain, sasl.Login} {
			server := &testServer{}
			if mech != "" {
				server.auth = []string{mech}
			}
			client := server.serve(t, policy)
			client.Hello = "mx.example.com"
			if mech != "" {
				client.Username, client.Password = "ada", "secret"
			}
			reply, err := client.Send(context.Background(), Envelope{From: "ada@example.com", To: []string{"bob@example.com"}, Message: raw})
			if err != nil || reply.Code != 250 || len(server.messages) != 1 || server.messages[0] != string(raw) || mech != "" && strings.Join(server.users, "") != mech {
				t.Errorf("%s %s: %+v %v, %d messages, %v", policy, mech, reply, err, len(server.messages), server.users)
			}
			if slices.ContainsFunc(server.hellos, func(name string) bool { return name != client.Hello }) { // there are servers that send localhost away
				t.Errorf("%s: the client is named %q", policy, server.hellos)
			}
		}
	}
}

func TestSendToSeveral(t *testing.T) {
	server := &testServer{}
	client := server.serve(t, NoTLS)
	send := func(to ...string) (Reply, error) {
		return client.Send(context.Background(), Envelope{From: "ada@example.com", To: to, Message: []byte("Subject: x\r\n\r\nx\r\n")})
	}
	reply, err := send("a@example.com", "gone@example.com", "full@example.com", "b@example.com")
	if err != nil || len(reply.Refused) != 2 || reply.Refused[0].Address != "gone@example.com" || reply.Refused[0].Err.Class != Permanent || reply.Refused[1].Err.Class != Temporary {
		t.Errorf("%+v %v", reply, err)
	}
	if reply, err = send("gone@example.com", "full@example.com"); err == nil || err.(*SendError).Class != Temporary || len(reply.Refused) != 2 || !reply.Refused[0].Err.Bounced {
		t.Errorf("all refused, one for now: %+v %v", reply, err)
	}
	if _, err = send("gone@example.com"); err == nil || err.(*SendError).Class != Permanent || len(server.messages) != 1 {
		t.Errorf("refused: %v, %d messages", err, len(server.messages))
	}
}

// twin is a client of the same server without connections.
func (s *SMTP) twin() *SMTP {
	return &SMTP{Addr: s.Addr, TLS: s.TLS, Username: s.Username, Password: s.Password, RootCAs: s.RootCAs, Timeout: s.Timeout}
}

func TestSendRefuses(t *testing.T) {
	plain := &testServer{auth: []string{sasl.Plain}}
	wantClass := func(name string, client *SMTP, from string, want Class, words string) {
		t.Helper()
		_, err := client.Send(context.Background(), Envelope{From: from, To: []string{"b@example.com"}, Message: []byte("Subject: x\r\n\r\nx\r\n")})
		failure, ok := err.(*SendError)
		if !ok || failure.Class != want || !strings.Contains(failure.Text, words) || strings.ContainsAny(failure.Text, "\r\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
	secure := plain.serve(t, StartTLS)
	untrusted := secure.twin()
	untrusted.RootCAs = x509.NewCertPool()
	wantClass("an untrusted certificate", untrusted, "a@example.com", Temporary, "certificate")
	wrong := secure.twin()
	wrong.Username, wrong.Password = "ada", "guess"
	wantClass("a wrong password", wrong, "a@example.com", Temporary, "signing in")
	wantClass("a refused sender", secure, "refused@example.com", Permanent, "550 no such")
	open := plain.serve(t, NoTLS)
	noTLS := open.twin()
	noTLS.TLS = StartTLS
	wantClass("a server without STARTTLS", noTLS, "a@example.com", Temporary, "STARTTLS")
	wantClass("nobody listening", &SMTP{Addr: "127.0.0.1:1", TLS: NoTLS}, "a@example.com", Temporary, "connecting")
	if (&SMTP{Addr: "mail.example.com:25"}).local() || !open.local() {
		t.Error("which server is local")
	}
}

// script is a server that says its lines and then does as told: "close",
// "hang", "deaf", or nothing more to say.
func script(t *testing.T, lines map[string]string) *SMTP {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	t.Cleanup(func() { ln.Close(); close(over) })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go converse(conn, lines, over)
		}
	}()
	return &SMTP{Addr: ln.Addr().String(), TLS: NoTLS, Timeout: time.Minute, FinalTimeout: time.Minute}
}

func converse(conn net.Conn, lines map[string]string, over <-chan struct{}) {
	defer conn.Close()
	defaults := map[string]string{"banner": "220 hi", "EHLO": "250 test", "MAIL": "250 ok", "RCPT": "250 ok", "DATA": "354 go", "dot": "250 queued", "QUIT": "221 bye"}
	say := func(phase string) bool {
		line, ok := lines[phase]
		if !ok {
			line = defaults[phase]
		}
		switch line {
		case "close":
			return false
		case "hang":
			io.Copy(io.Discard, conn)
			return false
		case "deaf": // it asks for the message and reads no more
			io.WriteString(conn, "354 go\r\n")
			<-over
			return false
		case "endless": // a reply that never comes to its last line
			for conn.SetWriteDeadline(time.Now().Add(5*time.Second)) == nil {
				if _, err := io.WriteString(conn, "250-more\r\n"); err != nil {
					return false
				}
			}
		case "long": // a line that does not end
			for conn.SetWriteDeadline(time.Now().Add(5*time.Second)) == nil {
				if _, err := io.WriteString(conn, strings.Repeat("2", 4096)); err != nil {
					return false
				}
			}
		}
		_, err := fmt.Fprintf(conn, "%s\r\n", line)
		return err == nil
	}
	if !say("banner") {
		return
	}
	in := bufio.NewScanner(conn)
	data := false
	for in.Scan() {
		line := in.Text()
		phase, _, _ := strings.Cut(line, " ")
		switch {
		case data && line != ".":
			continue
		case data:
			phase, data = "dot", false
		case phase == "DATA":
			answer, told := lines["DATA"]
			data = !told || strings.HasPrefix(answer, "354")
		}
		if !say(phase) {
			return
		}
	}
}

// Whatever happens at whatever moment, the class says what it means for the
// message.
func TestEveryPhase(t *testing.T) {
	var wg sync.WaitGroup
	for _, phase := range []string{"banner", "EHLO", "MAIL", "RCPT", "DATA", "dot"} {
		for _, action := range []string{"close", "hang", "what?", "\x00\xff\x16\x03\x01", "250", "354 odd", "221 bye", "99999 odd", "endless", "long", "451 later", "530 sign in", "554 never"} {
			if phase == "DATA" && action == "354 odd" { // there it is not
				continue
			}
			wg.Go(func() { testPhase(t, phase, action) })
		}
	}
	wg.Wait()
	client := script(t, map[string]string{"QUIT": "close"})
	if reply, err := client.Send(context.Background(), Envelope{From: "a@example.com", To: []string{"b@example.com"}, Message: []byte("x\r\n")}); err != nil || reply.Text != "queued" {
		t.Errorf("a server that leaves after it took the message: %+v %v", reply, err)
	}
}

func testPhase(t *testing.T, phase, action string) {
	want := Temporary
	switch {
	case action == "554 never" && phase != "banner" && phase != "EHLO": // there it says nothing of this message
		want = Permanent
	case phase == "dot" && action != "451 later" && action != "530 sign in":
		want = Unknown
	}
	client := script(t, map[string]string{phase: action})
	if action == "hang" {
		client.Timeout, client.FinalTimeout = 2*time.Second, 2*time.Second // the phases before it must be over by then
	}
	var stages []Stage
	_, err := client.Send(context.Background(), Envelope{
		From: "a@example.com", To: []string{"b@example.com"}, Message: []byte("Subject: x\r\n\r\n.x\r\n"), Mark: func(s Stage) { stages = append(stages, s) },
	})
	failure, ok := err.(*SendError)
	if !ok || failure.Class != want || len(failure.Text) > 2*maxServerText {
		t.Errorf("%q at %s: %v, want class %d", action, phase, err, want)
		return
	}
	if action == "endless" && !strings.Contains(failure.Text, "does not end") {
		t.Errorf("an endless reply at %s: %v", phase, err)
	}
	// What is marked is what would be known if the program had ended.
	var known []Stage
	if phase == "dot" {
		known = map[Class][]Stage{Unknown: {FinalDot}, Temporary: {FinalDot, PutOff}, Permanent: {FinalDot, TurnedDown}}[want]
	}
	if !slices.Equal(stages, known) {
		t.Errorf("%s at %s: marked %v, want %v", action, phase, stages, known)
	}
}

// Of the reply to the message the first digit says whether it was taken: sent
// again it would arrive twice.
func TestTakenInOtherWords(t *testing.T) {
	for answer, want := range map[string]Reply{"251 ok": {Code: 251, Text: "ok"}, "200 ok": {Code: 200, Text: "ok"}, "250-2.0.0 a\r\n250 2.0.0 b": {Code: 250, Text: "2.0.0 a 2.0.0 b"}} {
		var stages []Stage
		reply, err := script(t, map[string]string{"dot": answer}).Send(context.Background(), Envelope{
			From: "a@example.com", To: []string{"b@example.com"}, Message: []byte("x\r\n"), Mark: func(s Stage) { stages = append(stages, s) },
		})
		if err != nil || reply.Code != want.Code || reply.Text != want.Text || !slices.Equal(stages, []Stage{FinalDot, Taken}) {
			t.Errorf("%q: %+v %v, marked %v", answer, reply, err, stages)
		}
	}
}

// A server that asks for a message and then does not read it holds nobody up.
func TestSendToTheDeaf(t *testing.T) {
	client := script(t, map[string]string{"DATA": "deaf"})
	client.Timeout = 150 * time.Millisecond
	message := []byte(strings.Repeat("more than lies on the way\r\n", 1<<20))
	_, err := client.Send(context.Background(), Envelope{From: "a@example.com", To: []string{"b@example.com"}, Message: message})
	if failure, ok := err.(*SendError); !ok || failure.Class != Temporary || !strings.Contains(failure.Text, "timeout") {
		t.Error(err)
	}
}

// What a server says in plain text after STARTTLS is not taken for its word.
func TestStartTLSBroken(t *testing.T) {
	for answer, want := range map[string]string{
		"454 not now": "454 not now", "220 go\r\n250-x\r\n250 AUTH PLAIN": "plain text", "220 go": "greeting", "close": "EOF", "hang": "timeout",
	} {
		client := script(t, map[string]string{"EHLO": "250-test\r\n250-size 1\r\n250 starttls", "STARTTLS": answer})
		client.TLS, client.Username, client.Password = StartTLS, "ada", "secret"
		if answer == "hang" {
			client.Timeout = 150 * time.Millisecond
		}
		_, err := client.Send(context.Background(), Envelope{From: "a@example.com", To: []string{"b@example.com"}, Message: []byte("x\r\n")})
		if failure, ok := err.(*SendError); !ok || failure.Class != Temporary || !strings.Contains(failure.Text, want) {
			t.Errorf("%q: %v", answer, err)
		}
	}
}

func TestConnectionsAreKept(t *testing.T) {
	server := &testServer{}
	client := server.serve(t, NoTLS)
	send := func(to string) error {
		_, err := client.Send(context.Background(), Envelope{From: "a@example.com", To: []string{to}, Message: []byte("Subject: x\r\n\r\nx\r\n")})
		return err
	}
	for range keepForMany + 5 {
		if err := send("b@example.com"); err != nil {
			t.Fatal(err)
		}
		if send("gone@example.com") == nil { // refused, and the connection is good for the next
			t.Fatal("taken")
		}
	}
	if n := server.sessions; n != 3 { // 100 messages each
		t.Errorf("%d connections for %d messages", n, 2*(keepForMany+5))
	}
	client.pool.mu.Lock()
	kept := client.pool.idle[0]
	client.pool.mu.Unlock()
	kept.conn.Close() // the server has hung up meanwhile
	if err := send("b@example.com"); err != nil {
		t.Errorf("after the kept connection was lost: %v", err)
	}
	if n := server.sessions; n != 4 {
		t.Errorf("%d connections", n)
	}
}

// A server that has envelope ids gets one, unless it is too long for it; others
// get mail all the same.
func TestEnvelopeID(t *testing.T) {
	for _, c := range []struct {
		dsn      bool
		id, want string
	}{{true, "a+b@example.com", "a+b@example.com"}, {true, strings.Repeat("x", 101), ""}, {true, "", ""}, {false, "a@example.com", ""}} {
		server := &testServer{dsn: c.dsn}
		_, err := server.serve(t, NoTLS).Send(context.Background(), Envelope{From: "a@example.com", To: []string{"b@example.com"}, Message: []byte("x\r\n"), ID: c.id})
		if err != nil || len(server.ids) != 1 || server.ids[0] != c.want {
			t.Errorf("%+v: %q, %v", c, server.ids, err)
		}
	}
}

// What a server says is told in its own words, codes included.
func TestServersOwnWords(t *testing.T) {
	for answer, want := range map[string]string{
		"550-5.1.1 nobody of\r\n550 5.1.1 that name": "RCPT TO: the mail server answered 550 5.1.1 nobody of that name", "450 later": "RCPT TO: the mail server answered 450 later",
	} {
		_, err := script(t, map[string]string{"RCPT": answer}).Send(context.Background(), Envelope{From: "a@example.com", To: []string{"b@example.com"}, Message: []byte("x\r\n")})
		if err == nil || err.Error() != want {
			t.Errorf("%q: %v", answer, err)
		}
	}
}

func TestNoSuchAddress(t *testing.T) {
	for _, c := range []struct {
		code     int
		enhanced smtp.EnhancedCode
		text     string
		want     bool
	}{
		{550, smtp.EnhancedCode{5, 1, 1}, "whatever", true}, {550, smtp.EnhancedCode{5, 1, 10}, "null MX", true}, {550, smtp.EnhancedCode{5, 7, 1}, "no such user, or relaying denied", false},
		{550, smtp.EnhancedCode{}, "No such user here", true}, {550, smtp.EnhancedCodeNotSet, "Mailbox unavailable", true}, {550, smtp.EnhancedCode{}, "relay not permitted, unknown host", false},
		{550, smtp.EnhancedCode{5, 0, 0}, "No such user", true}, {550, smtp.EnhancedCode{5, 0, 0}, "no", false},
		{550, smtp.EnhancedCode{}, "rejected for policy reasons", false}, {552, smtp.EnhancedCode{5, 2, 2}, "mailbox full", false}, {553, smtp.EnhancedCode{}, "sender not allowed", false},
		{550, smtp.EnhancedCode{}, "unknown sender domain", false}, {550, smtp.EnhancedCode{}, "Invalid HELO name", false}, {550, smtp.EnhancedCode{}, "Service unavailable", false},
	} {
		if got := NoSuchAddress(c.code, c.enhanced, c.text); got != c.want {
			t.Errorf("%d %v %s: %v", c.code, c.enhanced, c.text, got)
		}
	}
}

func TestSendStopsWithItsContext(t *testing.T) {
	client := script(t, map[string]string{"MAIL": "hang"})
	client.Timeout = time.Hour
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := client.Send(ctx, Envelope{From: "a@example.com", To: []string{"b@example.com"}, Message: []byte("x\r\n")}); err == nil {
		t.Error("it went on without its context")
	}
}
