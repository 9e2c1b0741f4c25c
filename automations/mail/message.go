package mail

import (
	"bytes"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"mime"
	netmail "net/mail"
	"net/textproto"
	"slices"
	"strings"
	"time"
)

// Message is a mail with its content. Addresses may have display names.
type Message struct {
	From        string
	To          []string
	CC          []string
	ReplyTo     []string
	Subject     string
	HTML        string // may be empty when there is Text
	Text        string // derived from HTML when empty
	MessageID   string // without angle brackets
	Date        time.Time
	Headers     []Header // further ones, in order
	Attachments []Attachment
}

// Header is a header field of the sender's own.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Attachment is a file that goes with a mail.
type Attachment struct {
	Filename    string `json:"filename"`
	ContentType string `json:"content_type,omitempty"` // by the filename when empty
	ContentID   string `json:"content_id,omitempty"`   // for cid: links in the HTML; shown in it instead of below
	Content     []byte `json:"content"`
}

// Bytes builds the message as RFC 5322 with CRLF line ends: multipart/
// alternative when there is HTML, else plain text, within multipart/mixed when
// there are attachments. The same Message makes the same bytes. It is an error
// when anything that goes into a header would break its line.
func (m *Message) Bytes() ([]byte, error) {
	var b bytes.Buffer
	if err := m.header(&b); err != nil {
		return nil, err
	}
	err := m.body().write(func(header textproto.MIMEHeader) (io.Writer, error) {
		for _, name := range slices.Sorted(maps.Keys(header)) {
			writeHeader(&b, name, header.Get(name))
		}
		b.WriteString("\r\n")
		return &b, nil
	})
	return b.Bytes(), err
}

// unsafeInHeader are the characters that end a header field or its line.
const unsafeInHeader = "\r\n\x00"

func (m *Message) header(b *bytes.Buffer) error {
	for _, text := range []string{m.Subject, m.MessageID} {
		if strings.ContainsAny(text, unsafeInHeader) {
			return fmt.Errorf("%.60q would break a header line", text)
		}
	}
	writeHeader(b, "Date", m.Date.Format("Mon, 02 Jan 2006 15:04:05 -0700"))
	for _, list := range []struct {
		name, what string
		addresses  []string
	}{
		{"From", "the sender", []string{m.From}}, {"To", "the recipient", m.To},
		{"Cc", "the recipient of a copy", m.CC}, {"Reply-To", "the reply address", m.ReplyTo},
	} {
		if err := writeAddresses(b, list.name, list.addresses); err != nil {
			return fmt.Errorf("%s: %w", list.what, err)
		}
	}
	writeHeader(b, "Subject", foldWords("Subject", mime.QEncoding.Encode("utf-8", m.Subject)))
	writeHeader(b, "Message-ID", "<"+m.MessageID+">")
	writeHeader(b, "MIME-Version", "1.0")
	for _, h := range m.Headers {
		if err := h.Check(); err != nil {
			return err
		}
		writeHeader(b, h.Name, foldWords(h.Name, mime.QEncoding.Encode("utf-8", h.Value)))
	}
	return nil
}

func writeAddresses(b *bytes.Buffer, name string, texts []string) error {
	var all []string
	for _, text := range texts {
		a, err := ParseAddress(text)
		if err != nil {
			return err
		}
		all = append(all, a.String())
	}
	if len(all) > 0 {
		writeHeader(b, name, strings.Join(all, ",\r\n "))
	}
	return nil
}

// ownHeaders are the fields that a Message writes itself, and those that only
// the servers on its way may write.
var ownHeaders = []string{
	"Bcc", "Cc", "Date", "Dkim-Signature", "From", "Message-Id", "Mime-Version", "Received", "Reply-To", "Return-Path", "Sender", "Subject", "To",
}

// Check reports whether the field may be added to a mail.
func (h Header) Check() error {
	name := textproto.CanonicalMIMEHeaderKey(h.Name)
	valid := h.Name != "" && len(h.Name) <= 76 && !strings.ContainsFunc(h.Name, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' })
	switch {
	case !valid:
		return fmt.Errorf("%.40q is not the name of a header: use letters, digits and hyphens", h.Name)
	case slices.Contains(ownHeaders, name), strings.HasPrefix(name, "Content-"):
		return fmt.Errorf("the header %s is written by the program; use the field of the request that stands for it", name)
	case strings.ContainsAny(h.Value, unsafeInHeader), len(h.Value) > maxHeaderValue:
		return fmt.Errorf("the header %s must be one line of at most %d bytes", name, maxHeaderValue)
	}
	return nil
}

const maxHeaderValue = 2000

func writeHeader(b *bytes.Buffer, name, value string) {
	b.WriteString(name)
	b.WriteString(": ")
	b.WriteString(value)
	b.WriteString("\r\n")
}

// foldWords breaks a long header value at spaces, as RFC 5322 advises. A word
// too long for a line stays whole: breaking it would change it.
func foldWords(name, value string) string {
	var b strings.Builder
	line := len(name) + len(": ")
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
	if err != nil || strings.ContainsAny(a.Name+a.Address, unsafeInHeader) || strings.ContainsAny(a.Address, " \"") {
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
