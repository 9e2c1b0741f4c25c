package mail

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/emersion/go-message"
	gomail "github.com/emersion/go-message/mail"
)

// naughty is text that mail programs have stumbled over.
var naughty = []string{
	"plain", "ünïcödé ✓ 😀", "你好,世界", "שלום עולם", "e\u0301", "👩‍👩‍👧‍👦", "\u202egnp.exe", "\u2028\u2029", "\ufeffbom", "\u00a0nbsp\u00a0", "a\u00adb", "\U0010ffff", "\ufffd",
	strings.Repeat("long ", 60), strings.Repeat("x", 900), strings.Repeat("y", 3000), strings.Repeat("ü", 500), strings.Repeat("😀", 200), strings.Repeat("größe ", 60), strings.Repeat("word ", 15) + strings.Repeat("z", 120),
	" ", "  ", " lead", "trail ", "two  spaces", "many     spaces      here", "tab\there", "\ttab", strings.Repeat(" ", 200), "a" + strings.Repeat(" ", 100) + "b",
	"=?utf-8?q?x?=", "=?utf-8?b?eA==?= and more", "a =?utf-8?q?x?= b", "=?", "?=", "=?=", "=20", "=", "_", "a_b", "=?us-ascii?q?=0D=0ABcc:_x@y.zz?=",
	"\"", "\\", "\"quoted\"", "back\\slash\\", "'", "`", "(comment)", "a (b) c", "<x@y.zz>", "Ada <ada@example.com>", "a, b; c: d", "a@b", "[x]", "{x}", ".", "..", "a.b.c", "-", "--", "--b", "Re: Fwd: [list]",
	"\x01", "\x7f", "\x1b[31mred\x1b[0m", "\u0085nel", "null", "undefined", "true", "0", "-1", "1e400", "NaN", "${x}", "{{x}}", "%s%n", "../../etc/passwd", "'; DROP TABLE mails; --", "<script>alert(1)</script>", "<p>{{x}}</p>", "&lt;&amp;",
	"Bcc: x@y.zz", "Subject: x", "From here", ">From there", "QUIT", "MAIL FROM:<x@y.zz>", "AUX", "con.txt",
}

// manyLines is text that only bodies can hold.
var manyLines = []string{
	"", "\n", "\n\n\n", "\r", "\r\r\n", "\r\n.\r\n", "\n.\n", ".\n", "\n..\n", "\n.", "a\r\nb\rc\nd", "trailing \nspace\t\n", "=3D =\n", "=\r\n", "a\n=\nb", "\x00", "a\x00b", "\r\n.\r\nMAIL FROM:<x@y.zz>\r\n", "\nFrom x\n", "--\nsignature", "\n\nBcc: x@y.zz\n\n",
	strings.Repeat("line of text\n", 2000), strings.Repeat("中文文字\n", 500), strings.Repeat("x", 100_000), strings.Repeat("\x00\x01", 1000),
}

// parts are the bodies and files of a message.
type parts struct {
	text, html string
	files      map[string]string
}

// readNet reads a message's parts with the standard library alone.
func readNet(t *testing.T, raw []byte) (netmail.Header, parts) {
	t.Helper()
	m, err := netmail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	p := parts{files: map[string]string{}}
	var read func(kind, encoding, disposition string, body io.Reader)
	read = func(kind, encoding, disposition string, body io.Reader) {
		media, params, err := mime.ParseMediaType(kind)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(media, "multipart/") {
			parts := multipart.NewReader(body, params["boundary"])
			for {
				part, err := parts.NextRawPart()
				if err == io.EOF {
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				read(part.Header.Get("Content-Type"), part.Header.Get("Content-Transfer-Encoding"), part.Header.Get("Content-Disposition"), part)
			}
		}
		switch encoding {
		case "base64":
			body = base64.NewDecoder(base64.StdEncoding, body)
		case "quoted-printable":
			body = quotedprintable.NewReader(body)
		default:
			t.Errorf("%s in %q", kind, encoding)
		}
		content, err := io.ReadAll(body)
		if err != nil {
			t.Fatal(err)
		}
		_, params, _ = mime.ParseMediaType(disposition)
		switch {
		case disposition != "":
			p.files[params["filename"]] = string(content)
		case media == "text/plain":
			p.text = string(content)
		case media == "text/html":
			p.html = string(content)
		}
	}
	read(m.Header.Get("Content-Type"), m.Header.Get("Content-Transfer-Encoding"), "", m.Body)
	return m.Header, p
}

// readGoMessage reads the same with go-message.
func readGoMessage(t *testing.T, raw []byte) (gomail.Header, parts) {
	t.Helper()
	entity, err := message.Read(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	p := parts{files: map[string]string{}}
	err = entity.Walk(func(_ []int, part *message.Entity, err error) error {
		if err != nil {
			return err
		}
		kind, _, _ := part.Header.ContentType()
		// Its ContentDisposition decodes encoded words in what was decoded.
		disposition, params, _ := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
		if strings.HasPrefix(kind, "multipart/") {
			return nil
		}
		content, err := io.ReadAll(part.Body)
		switch {
		case disposition != "":
			p.files[params["filename"]] = string(content)
		case kind == "text/plain":
			p.text = string(content)
		case kind == "text/html":
			p.html = string(content)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return gomail.Header{Header: entity.Header}, p
}

// TestRoundTrip puts naughty text into every field at once. Two others read
// back what was put in.
func TestRoundTrip(t *testing.T) {
	for i, text := range append(slices.Clone(naughty), manyLines...) {
		name := naughty[i%len(naughty)] // of headers, which have one line
		m := sample()
		m.From = Address{name, "ada@example.com"}.String()
		m.To, m.CC, m.ReplyTo = []string{m.From, "x@example.com"}, []string{"y@example.com", m.From}, []string{m.From}
		m.Subject, m.Text, m.HTML = name, text, "<pre>"+text+"</pre>"
		if len(name) <= 900 {
			m.Headers = []Header{{"X-Text", name}, {strings.Repeat("X", maxHeaderName), name}}
		}
		filename := strings.ToValidUTF8(name[:min(len(name), 255)], "")
		m.Attachments = []Attachment{{Filename: filename, Content: []byte(text)}}
		raw, err := m.Bytes()
		if err != nil {
			t.Fatalf("%.80q: %v", name, err)
		}
		checkLines(t, raw)
		header, body := readNet(t, raw)
		other, otherBody := readGoMessage(t, raw)
		want := parts{crlf(text), "<pre>" + crlf(text) + "</pre>", map[string]string{filename: text}}
		for by, got := range map[string]parts{"net/mail": body, "go-message": otherBody} {
			if got.text != want.text || got.html != want.html || len(got.files) != 1 || got.files[filename] != text {
				t.Errorf("%s reads %.80q as %.200q", by, text, got)
			}
		}
		check := func(by, field, got string, err error) {
			t.Helper()
			if err != nil || got != name {
				t.Errorf("%s reads the %s %.80q as %.80q, %v", by, field, name, got, err)
			}
		}
		decode := func(field string) (string, error) { return new(mime.WordDecoder).DecodeHeader(header.Get(field)) }
		subject, err := decode("Subject")
		check("net/mail", "subject", subject, err)
		subject, err = other.Subject()
		check("go-message", "subject", subject, err)
		for _, h := range m.Headers {
			value, err := decode(h.Name)
			check("net/mail", h.Name, value, err)
			value, err = other.Text(h.Name)
			check("go-message", h.Name, value, err)
		}
		for field, at := range map[string][2]int{"From": {1, 0}, "To": {2, 0}, "Cc": {2, 1}, "Reply-To": {1, 0}} {
			list, err := header.AddressList(field)
			if err != nil || len(list) != at[0] || list[at[1]].Address != "ada@example.com" {
				t.Fatalf("net/mail reads %s with %.80q as %v, %v\n%s", field, name, list, err, header.Get(field))
			}
			check("net/mail", field, list[at[1]].Name, nil)
			others, err := other.AddressList(field)
			if err != nil || len(others) != at[0] {
				t.Fatalf("go-message reads %s with %.80q as %v, %v", field, name, others, err)
			}
			check("go-message", field, others[at[1]].Name, nil)
		}
	}
}

// The spelling of an address is one that is read as the same address.
func TestAddressString(t *testing.T) {
	for _, name := range append([]string{"", "Zoë", "用户", "a\"b\\c"}, naughty...) {
		want := Address{name, "zoë@example.com"}
		if got, err := ParseAddress(want.String()); err != nil || got != want {
			t.Errorf("%s is read as %v, %v", want, got, err)
		}
	}
	if got := (Address{"Zoë, \"Z\"", "z@example.com"}).String(); got != `"Zoë, \"Z\"" <z@example.com>` {
		t.Error(got)
	}
}

// TestHeaderLines holds headers to the lengths of the RFCs where the text lets
// them.
func TestHeaderLines(t *testing.T) {
	for _, text := range naughty {
		m := sample()
		m.From, m.Subject = Address{text, "ada@example.com"}.String(), text
		raw, err := m.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		header, _, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
		for line := range strings.SplitSeq(string(header), "\r\n") {
			encoded := strings.Contains(line, "=?utf-8?")
			if strings.TrimSpace(line) == "" || encoded && len(line) > 76 || !isASCII(line) {
				t.Errorf("%.80q makes the line %q of %d bytes", text, line, len(line))
			}
		}
	}
}

// Mail is written with the encoding that is shorter for it.
func TestBodyEncoding(t *testing.T) {
	for text, want := range map[string]string{
		"Hello": "quoted-printable", strings.Repeat("Die Größe steht auf der Packung. ", 50): "quoted-printable", strings.Repeat("你好", 50): "base64", "Привет, мир": "base64", "": "quoted-printable",
	} {
		m := sample()
		m.HTML, m.Text = "", text
		raw, err := m.Bytes()
		if err != nil || !bytes.Contains(raw, []byte("Content-Transfer-Encoding: "+want+"\r\n")) {
			t.Errorf("%.40q: %v\n%s", text, err, raw)
		}
	}
}

// Domains in any letters are written in ASCII; what is before the @ stays, and
// needs a server for it.
func TestInternationalAddresses(t *testing.T) {
	m := sample()
	m.From, m.To = "Ada <ada@Bücher.example>", []string{"bob@例え.jp", "c@x。de"}
	m.MessageID = MessageID(must(ParseAddress(m.From)).Domain(), [16]byte{1})
	raw, err := m.Bytes()
	if err != nil || !isASCII(raw) {
		t.Fatalf("%v\n%s", err, raw)
	}
	for _, want := range []string{`From: "Ada" <ada@xn--bcher-kva.example>`, "To: bob@xn--r8jz45g.jp,\r\n c@x.de\r\n", "@xn--bcher-kva.example>\r\n"} {
		if !bytes.Contains(raw, []byte(want)) {
			t.Errorf("%q is not in\n%s", want, raw)
		}
	}
	plain, able := (&testServer{}).serve(t, NoTLS), &testServer{utf8: true}
	client := able.serve(t, NoTLS)
	if _, err := plain.Send(context.Background(), Envelope{From: "ada@xn--bcher-kva.example", To: []string{"bob@xn--r8jz45g.jp"}, Message: raw}); err != nil {
		t.Error(err)
	}
	for name, foreign := range map[string]func(*Message){
		"from": func(m *Message) { m.From = "Jörg <jörg@example.com>" }, "to": func(m *Message) { m.To = []string{"用户@例子.example"} }, "reply": func(m *Message) { m.ReplyTo = []string{"zoë@example.com"} },
	} {
		m := sample()
		foreign(&m)
		raw, err := m.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		e := Envelope{From: must(ParseAddress(m.From)).Addr, To: []string{must(ParseAddress(m.To[0])).Addr}, Message: raw}
		_, err = plain.Send(context.Background(), e)
		if failure, ok := errors.AsType[*SendError](err); !ok || failure.Class != Permanent || failure.Bounced || !strings.Contains(failure.Text, "SMTPUTF8") {
			t.Errorf("%s: %v", name, err)
		}
		able.messages = nil
		if _, err := client.Send(context.Background(), e); err != nil || len(able.messages) != 1 || able.messages[0] != string(raw) {
			t.Errorf("%s: %v, %q", name, err, able.messages)
		}
		header, _ := readNet(t, raw)
		for field, want := range map[string][]string{"From": {m.From}, "To": m.To, "Reply-To": m.ReplyTo} {
			list, err := header.AddressList(field)
			if err != nil || len(list) != len(want) {
				t.Fatal(list, err)
			}
			for i := range list {
				if a := must(ParseAddress(want[i])); list[i].Address != a.Addr || list[i].Name != a.Name {
					t.Errorf("%s: %s is %v, want %v", name, field, list[i], a)
				}
			}
		}
	}
	// The refused mails have left the connection as it was.
	if _, err := plain.Send(context.Background(), Envelope{From: "ada@example.com", To: []string{"bob@example.com"}, Message: raw}); err != nil {
		t.Error(err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// symbols are what an end of a message is made of.
const symbols = "\r\n. a\x00"

// smuggled is the n-th text of so many symbols.
func smuggled(n, length int) string {
	text := make([]byte, length)
	for i := range text {
		text[i] = symbols[n%len(symbols)]
		n /= len(symbols)
	}
	return string(text)
}

// TestNothingIsSmuggled sends every text of six symbols as a body, and every
// one of four as HTML and as a subject, over real connections: each arrives as
// one message, and with what it had.
func TestNothingIsSmuggled(t *testing.T) {
	const bodies, others, senders = 46_656, 1_296, 8 // 6^6, 6^4
	server := &testServer{}
	client := server.serve(t, NoTLS)
	compose := func(i int) Message {
		m := Message{From: "ada@example.com", To: []string{"bob@example.com"}, Subject: strconv.Itoa(i), MessageID: "x@example.com"}
		switch {
		case i < bodies:
			m.Text = smuggled(i, 6)
		case i < bodies+others:
			m.Text, m.HTML = "x", smuggled(i-bodies, 4)
		default:
			m.Text, m.Subject = strconv.Itoa(i), smuggled(i-bodies-others, 4)
		}
		return m
	}
	var sent, refused, next atomic.Int64
	var wg sync.WaitGroup
	for range senders {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < bodies+2*others; i = int(next.Add(1)) - 1 {
				m := compose(i)
				raw, err := m.Bytes()
				if err != nil {
					refused.Add(1)
					if !strings.ContainsAny(m.Subject, unsafeInHeader) {
						t.Errorf("%q: %v", m.Subject, err)
					}
					continue
				}
				sent.Add(1)
				if _, err := client.Send(context.Background(), Envelope{From: "ada@example.com", To: []string{"bob@example.com"}, Message: raw}); err != nil {
					t.Errorf("%d: %v", i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if sent.Load() != bodies+others+81 || int64(len(server.messages)) != sent.Load() { // 3^4 subjects have no CR, LF and NUL
		t.Fatalf("%d sent, %d refused, %d arrived", sent.Load(), refused.Load(), len(server.messages))
	}
	seen := map[int]bool{}
	for _, raw := range server.messages {
		header, body := readNet(t, []byte(raw))
		subject, err := new(mime.WordDecoder).DecodeHeader(header.Get("Subject"))
		if err != nil {
			t.Fatal(err)
		}
		i, err := strconv.Atoi(subject)
		if err != nil {
			i, _ = strconv.Atoi(strings.TrimSpace(body.text))
		}
		want := compose(i)
		want.Text = crlf(want.Text)
		if body.text == want.Text+"\r\n" && want.HTML == "" {
			want.Text = body.text // a message ends with a line
		}
		if seen[i] || body.text != want.Text || body.html != crlf(want.HTML) || subject != want.Subject {
			t.Fatalf("%d arrived as %q with the subject %q", i, body, subject)
		}
		seen[i] = true
	}
	t.Log(fmt.Sprint(len(seen), " messages, ", refused.Load(), " subjects refused"))
}
