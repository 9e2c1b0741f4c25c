package mail

import (
	"bytes"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
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
	writeText(b, "Subject", m.Subject)
	writeHeader(b, "Message-ID", "<"+m.MessageID+">")
	writeHeader(b, "MIME-Version", "1.0")
	for _, h := range m.Headers {
		if err := h.Check(); err != nil {
			return err
		}
		writeText(b, h.Name, h.Value)
	}
	return nil
}

// MessageID makes the Message-ID of the mail with an id, of the sender's domain.
// Reports that name it lead back to the mail without an index.
func MessageID(domain string, id [16]byte) string { return hex.EncodeToString(id[:]) + "@" + domain }

// ParseMessageID reads the id back, if there may be one in a Message-ID.
func ParseMessageID(messageID string) (id [16]byte, ok bool) {
	local, _, _ := strings.Cut(messageID, "@")
	if len(local) != hex.EncodedLen(len(id)) {
		return id, false
	}
	_, err := hex.Decode(id[:], []byte(local))
	return id, err == nil
}

// FeedbackID makes the value of a Feedback-ID header, by which mailbox providers
// group their reports: at most three parts that say which mail it is, and a
// word for the sender, which the providers want to be of 5 to 15 characters and
// the same in all mail of its domain.
func FeedbackID(domain string, parts ...string) string {
	words := append(slices.Clone(parts), digest(strings.ToLower(domain))[:15])
	for i := range words {
		words[i] = strings.ReplaceAll(words[i], ":", "-")
	}
	return strings.Join(words, ":")
}

// digest is a 160-bit hash of the parts, in 32 letters and digits.
func digest(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		io.WriteString(h, part)
	}
	return strings.ToLower(base32.StdEncoding.EncodeToString(h.Sum(nil)[:20]))
}
