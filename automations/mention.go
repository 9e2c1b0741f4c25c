package automations

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strings"

	"golang.org/x/net/idna"

	"github.com/opensend/opensend/automations/mail"
)

// Redacted stands where an address was erased from a text of somebody else.
const Redacted = "[erased]"

// Mention finds one address, given as its identity, wherever a text names it:
// in any case, its domain in ASCII or in its own letters, as it is or escaped
// as in links, and not as the end or beginning of a longer address.
type Mention struct {
	locals, domains []string // their spellings
}

// NewMention looks for the address.
func NewMention(identity string) Mention {
	local, domain, _ := strings.Cut(identity, "@")
	m := Mention{[]string{local}, []string{domain}}
	if escaped := url.QueryEscape(local); escaped != local {
		m.locals = append(m.locals, escaped)
	}
	if own, err := idna.Lookup.ToUnicode(domain); err == nil && own != domain {
		m.domains = append(m.domains, own)
	}
	return m
}

// Near reports, fast, whether the bytes may name the address: false is
// certain, for JSON too, where any character may be escaped.
func (m Mention) Near(text []byte) bool {
	start, _ := m.next(text, 0, func([]byte, int, int) bool { return true })
	return start >= 0 || bytes.Contains(text, []byte(`\u`))
}

// In reports whether the text names the address.
func (m Mention) In(text string) bool {
	start, _ := m.next([]byte(text), 0, wholeAddress)
	return start >= 0
}

// Redact is the text with Redacted for the address.
func (m Mention) Redact(text string) string {
	var out strings.Builder
	done := 0
	for {
		start, end := m.next([]byte(text), done, wholeAddress)
		if start < 0 {
			out.WriteString(text[done:])
			return out.String()
		}
		out.WriteString(text[done:start] + Redacted)
		done = end
	}
}

// RedactJSON redacts the strings of a JSON text, names of members included,
// and leaves everything else as it is.
func (m Mention) RedactJSON(raw json.RawMessage) json.RawMessage {
	var out bytes.Buffer
	for i := 0; i < len(raw); {
		if raw[i] != '"' {
			out.WriteByte(raw[i])
			i++
			continue
		}
		end := i + 1
		for end < len(raw) && raw[end] != '"' {
			if raw[end] == '\\' {
				end++
			}
			end++
		}
		end = min(end+1, len(raw))
		var text string
		if json.Unmarshal(raw[i:end], &text) == nil && m.In(text) {
			quoted, _ := json.Marshal(m.Redact(text))
			out.Write(quoted)
		} else {
			out.Write(raw[i:end])
		}
		i = end
	}
	return out.Bytes()
}

// InJSON reports whether a string of a JSON text names the address.
func (m Mention) InJSON(raw json.RawMessage) bool { return !bytes.Equal(m.RedactJSON(raw), raw) }

// InContent reports whether the content of a mail names the address: in its
// headers, its text or an attachment that is plain bytes.
func (m Mention) InContent(c *EmailContent) bool {
	in := func(text []byte) bool { return m.In(string(text)) }
	if c.Message != nil {
		says, err := mail.Says(c.Message, in)
		return says || err != nil && in(c.Message) // damaged: what can be seen
	}
	for _, h := range c.Headers {
		if m.In(h.Value) {
			return true
		}
	}
	for _, a := range c.Attachments {
		if in(a.Content) {
			return true
		}
	}
	return m.In(c.HTML) || m.In(c.Text)
}

// next finds where the address stands next, from an offset on; start is less
// than zero when it does not.
func (m Mention) next(text []byte, from int, whole func(text []byte, start, end int) bool) (start, end int) {
	for at := from; at < len(text); at++ {
		skip := bytes.IndexAny(text[at:], "@%")
		if skip < 0 {
			break
		}
		at += skip
		sep := 1
		if text[at] == '%' {
			if sep = 3; !bytes.HasPrefix(text[at:], []byte("%40")) {
				continue
			}
		}
		for _, local := range m.locals {
			for _, domain := range m.domains {
				start, end = at-len(local), at+sep+len(domain)
				if start >= from && end <= len(text) && bytes.EqualFold(text[start:at], []byte(local)) &&
					bytes.EqualFold(text[at+sep:end], []byte(domain)) && whole(text, start, end) {
					return start, end
				}
			}
		}
	}
	return -1, -1
}

// wholeAddress reports whether what stands before and after does not belong to
// the address.
func wholeAddress(text []byte, start, end int) bool {
	letter := func(i int) bool { return i >= 0 && i < len(text) && isAlnum(text[i]|0x20) }
	longer := start > 0 && (letter(start-1) || bytes.IndexByte([]byte("._+-"), text[start-1]) >= 0)
	further := letter(end) || end < len(text) && (text[end] == '-' || text[end] == '.' && letter(end+1))
	return !longer && !further
}
