package mail

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/textproto"
	"slices"
	"strings"
	"unicode/utf8"
)

// Header is a header field of the sender's own.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// unsafeInHeader are the characters that end a header field or its line.
const unsafeInHeader = "\r\n\x00"

const (
	maxHeaderName  = 76
	maxHeaderValue = 2000 // bytes
	lineLength     = 76   // of header lines with encoded words (RFC 2047, section 2); RFC 5322 advises 78 for others
	maxHeaderWord  = 900  // no line may have more than 998 (RFC 5322, section 2.1.1)
)

// ownHeaders are the fields that a Message writes itself, and those that only
// the servers on its way may write.
var ownHeaders = []string{
	"Bcc", "Cc", "Date", "Dkim-Signature", "From", "Message-Id", "Mime-Version", "Received", "Reply-To", "Return-Path", "Sender", "Subject", "To",
}

// Check reports whether the field may be added to a mail.
func (h Header) Check() error {
	name := textproto.CanonicalMIMEHeaderKey(h.Name)
	valid := h.Name != "" && len(h.Name) <= maxHeaderName && !strings.ContainsFunc(h.Name, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' })
	tooLong := func(word string) bool { return len(word) > maxHeaderWord }
	switch {
	case !valid:
		return fmt.Errorf("%.40q is not the name of a header: use letters, digits and hyphens", h.Name)
	case slices.Contains(ownHeaders, name), strings.HasPrefix(name, "Content-"):
		return fmt.Errorf("the header %s is written by the program; use the field of the request that stands for it", name)
	case strings.ContainsAny(h.Value, unsafeInHeader), len(h.Value) > maxHeaderValue:
		return fmt.Errorf("the header %s must be one line of at most %d bytes", name, maxHeaderValue)
	case slices.ContainsFunc(strings.Fields(h.Value), tooLong): // an address, say: cut in two it would be none
		return fmt.Errorf("the header %s has a word of more than %d bytes", name, maxHeaderWord)
	}
	return nil
}

// writeHeader writes a field whose value is spelt already.
func writeHeader(b *bytes.Buffer, name, value string) {
	b.WriteString(name)
	b.WriteString(": ")
	b.WriteString(value)
	b.WriteString("\r\n")
}

// writeText writes a field of plain text, in any letters.
func writeText(b *bytes.Buffer, name, text string) {
	column := len(name) + len(": ")
	if isPlain(text) {
		writeHeader(b, name, fold(column, text))
		return
	}
	writeHeader(b, name, encodedWords(column, text))
}

func writeAddresses(b *bytes.Buffer, name string, texts []string) error {
	column := len(name) + len(": ")
	var all []string
	for _, text := range texts {
		a, err := ParseAddress(text)
		if err != nil {
			return err
		}
		all = append(all, a.field(column))
		column = 1
	}
	if len(all) > 0 {
		writeHeader(b, name, strings.Join(all, ",\r\n "))
	}
	return nil
}

// isPlain reports whether text means itself in a header, also when it is
// folded: printable ASCII with single spaces between its words, none of which
// looks like an encoded one.
func isPlain(text string) bool {
	word := 0
	for i := range len(text) {
		switch c := text[i]; {
		case c < ' ' || c > '~':
			return false
		case c == ' ' && word == 0:
			return false
		case c == ' ':
			word = 0
		default:
			word++
		}
		if word > maxHeaderWord {
			return false
		}
	}
	return (word > 0 || text == "") && !strings.Contains(text, "=?")
}

// fold breaks plain text into lines at its spaces.
func fold(column int, text string) string {
	var b strings.Builder
	for i, word := range strings.Split(text, " ") {
		switch {
		case i == 0:
		case column+1+len(word) > lineLength:
			b.WriteString("\r\n ")
			column = 1
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	return b.String()
}

// phrase spells a display name.
func phrase(column int, name string) string {
	if isPlain(name) && len(name)+2 < lineLength-column {
		return inQuotes(name)
	}
	return encodedWords(column, name)
}

// encodedWords spells any text as RFC 2047 says, in whichever of its encodings
// is shorter, with one word on a line and whole characters in a word.
func encodedWords(column int, text string) string {
	text = strings.ToValidUTF8(text, "\ufffd")
	opening, size := "=?utf-8?q?", func(s string) int { return len(quotedWord(s)) }
	encode := quotedWord
	if b64 := base64.StdEncoding; b64.EncodedLen(len(text)) < len(quotedWord(text)) {
		opening, encode, size = "=?utf-8?b?", func(s string) string { return b64.EncodeToString([]byte(s)) }, func(s string) int { return b64.EncodedLen(len(s)) }
	}
	var b strings.Builder
	for {
		n := fitting(text, lineLength-column-len(opening)-len("?="), size)
		if n > 0 {
			b.WriteString(opening + encode(text[:n]) + "?=")
			text = text[n:]
		}
		if text == "" {
			return b.String()
		}
		b.WriteString("\r\n ")
		column = 1
	}
}

// fitting is how many bytes of text, in whole characters, have at most the
// size.
func fitting(text string, most int, size func(string) int) (n int) {
	for n < len(text) {
		_, width := utf8.DecodeRuneInString(text[n:])
		if size(text[:n+width]) > most {
			break
		}
		n += width
	}
	return n
}

// quotedWord is the Q encoding, with no more as itself than a display name
// allows (RFC 2047, section 5).
func quotedWord(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '!', c == '*', c == '+', c == '-', c == '/':
			b.WriteByte(c)
		case c == ' ':
			b.WriteByte('_')
		default:
			b.Write([]byte{'=', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}
