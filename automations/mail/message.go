package mail

import (
	"bytes"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"net/textproto"
	"strings"
	"time"

	"github.com/emersion/go-message"
)

// Message is a mail with its content. Addresses may have display names.
type Message struct {
	From      string
	To        string
	ReplyTo   []string
	Subject   string
	HTML      string // may be empty when there is Text
	Text      string // derived from HTML when empty
	MessageID string // without angle brackets
	Date      time.Time
}

// Bytes builds the message as RFC 5322 with CRLF line ends: multipart/
// alternative when there is HTML, else plain text. The same Message makes the
// same bytes. It is an error when anything that goes into a header would break
// its line.
func (m *Message) Bytes() ([]byte, error) {
	var b bytes.Buffer
	if err := m.header(&b); err != nil {
		return nil, err
	}
	text := m.Text
	if text == "" {
		text = TextFromHTML(m.HTML)
	}
	if m.HTML == "" {
		writeHeader(&b, "Content-Type", "text/plain; charset=utf-8")
		writeHeader(&b, "Content-Transfer-Encoding", "quoted-printable")
		b.WriteString("\r\n")
		err := quoted(&b, text)
		return b.Bytes(), err
	}
	parts := multipart.NewWriter(&b)
	if err := parts.SetBoundary(m.boundary(text)); err != nil {
		return nil, err
	}
	writeHeader(&b, "Content-Type", mime.FormatMediaType("multipart/alternative", map[string]string{"boundary": parts.Boundary()}))
	b.WriteString("\r\n")
	for _, part := range []struct{ kind, body string }{{"text/plain", text}, {"text/html", m.HTML}} {
		w, err := parts.CreatePart(textproto.MIMEHeader{
			"Content-Type":              {part.kind + "; charset=utf-8"},
			"Content-Transfer-Encoding": {"quoted-printable"},
		})
		if err != nil {
			return nil, err
		}
		if err := quoted(w, part.body); err != nil {
			return nil, err
		}
	}
	err := parts.Close()
	return b.Bytes(), err
}

func (m *Message) header(b *bytes.Buffer) error {
	for _, text := range append([]string{m.From, m.To, m.Subject, m.MessageID}, m.ReplyTo...) {
		if strings.ContainsAny(text, "\r\n\x00") {
			return fmt.Errorf("%.60q would break a header line", text)
		}
	}
	from, err := ParseAddress(m.From)
	if err != nil {
		return fmt.Errorf("the sender: %w", err)
	}
	to, err := ParseAddress(m.To)
	if err != nil {
		return fmt.Errorf("the recipient: %w", err)
	}
	writeHeader(b, "Date", m.Date.Format("Mon, 02 Jan 2006 15:04:05 -0700"))
	writeHeader(b, "From", from.String())
	writeHeader(b, "To", to.String())
	if len(m.ReplyTo) > 0 {
		var all []string
		for _, text := range m.ReplyTo {
			a, err := ParseAddress(text)
			if err != nil {
				return fmt.Errorf("the reply address: %w", err)
			}
			all = append(all, a.String())
		}
		writeHeader(b, "Reply-To", strings.Join(all, ",\r\n "))
	}
	writeHeader(b, "Subject", foldWords(mime.QEncoding.Encode("utf-8", m.Subject)))
	writeHeader(b, "Message-ID", "<"+m.MessageID+">")
	writeHeader(b, "MIME-Version", "1.0")
	return nil
}

func writeHeader(b *bytes.Buffer, name, value string) {
	b.WriteString(name)
	b.WriteString(": ")
	b.WriteString(value)
	b.WriteString("\r\n")
}

// foldWords breaks a long header value at spaces, as RFC 5322 advises. A word
// too long for a line stays whole: breaking it would change it.
func foldWords(value string) string {
	var b strings.Builder
	line := len("Subject: ")
	for i, word := range strings.SplitAfter(value, " ") {
		if i > 0 && line+len(word) > 78 && strings.TrimSpace(word) != "" {
			folded := strings.TrimSuffix(b.String(), " ")
			b.Reset()
			b.WriteString(folded + "\r\n ")
			line = 1
		}
		b.WriteString(word)
		line += len(word)
	}
	return b.String()
}

// quoted writes text as quoted-printable with CRLF line ends, whatever line
// ends it has.
func quoted(w io.Writer, text string) error {
	q := quotedprintable.NewWriter(w)
	text = strings.NewReplacer("\r\n", "\r\n", "\r", "\r\n", "\n", "\r\n").Replace(text)
	if _, err := io.WriteString(q, text); err != nil {
		return err
	}
	return q.Close()
}

// boundary is derived from the content, so that it is always the same and
// cannot be met within it except by design.
func (m *Message) boundary(text string) string { return "b" + digest(m.MessageID, text, m.HTML) }

// MessageID makes a Message-ID of the domain that is the same for the same
// parts.
func MessageID(domain string, parts ...string) string { return digest(parts...) + "@" + domain }

// digest is a 160-bit hash of the parts, in 32 letters and digits.
func digest(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		io.WriteString(h, part)
	}
	return strings.ToLower(base32.StdEncoding.EncodeToString(h.Sum(nil)[:20]))
}

// Address is a mailbox: an address and the name shown for it.
type Address struct {
	Name string // may be empty
	Addr string
}

// ParseAddress reads "addr" or "Name <addr>".
func ParseAddress(s string) (Address, error) {
	a, err := netmail.ParseAddress(s)
	if err != nil || strings.ContainsAny(a.Name+a.Address, "\r\n\x00") || strings.ContainsAny(a.Address, " \"") {
		return Address{}, fmt.Errorf(`%.80q is not an address such as "Ada <ada@example.com>"`, s)
	}
	return Address{Name: a.Name, Addr: a.Address}, nil
}

// Domain is what follows the @.
func (a Address) Domain() string { return a.Addr[strings.LastIndexByte(a.Addr, '@')+1:] }

// String spells the address for a header.
func (a Address) String() string {
	if a.Name == "" {
		return a.Addr
	}
	return (&netmail.Address{Name: a.Name, Address: a.Addr}).String()
}

// View is a message taken apart for people to read.
type View struct {
	Header []string // lines as they stand, unfolded
	Text   string
	HTML   string
}

// ViewOf takes apart a message, or what is to become one when there is none
// yet.
func ViewOf(html, text string, message []byte) (View, error) {
	if message == nil {
		return View{HTML: html, Text: text}, nil
	}
	return ParseView(message)
}

// ParseView takes a message apart.
func ParseView(raw []byte) (View, error) {
	entity, err := message.Read(bytes.NewReader(raw))
	if err != nil && !message.IsUnknownCharset(err) {
		return View{}, err
	}
	var v View
	for fields := entity.Header.Fields(); fields.Next(); {
		v.Header = append(v.Header, fields.Key()+": "+fields.Value())
	}
	err = entity.Walk(func(_ []int, part *message.Entity, err error) error {
		if err != nil && !message.IsUnknownCharset(err) {
			return err
		}
		kind, _, _ := part.Header.ContentType()
		into := map[string]*string{"text/plain": &v.Text, "text/html": &v.HTML}[kind]
		if into == nil {
			return nil
		}
		body, err := io.ReadAll(part.Body)
		*into = string(body)
		return err
	})
	return v, err
}
