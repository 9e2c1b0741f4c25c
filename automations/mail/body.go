package mail

import (
	"cmp"
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/textproto"
	"path/filepath"
	"strings"
)

// part is one MIME entity: content, or other parts.
type part struct {
	header   textproto.MIMEHeader
	content  func(io.Writer) error
	children []part
	boundary string
}

// body is the content of the message as a tree of parts.
func (m *Message) body() part {
	text := m.Text
	if text == "" {
		text = TextFromHTML(m.HTML)
	}
	root := textPart("text/plain", text)
	if m.HTML != "" {
		root = m.multipart("alternative", root, textPart("text/html", m.HTML))
	}
	var shown, below []part
	for _, a := range m.Attachments {
		if a.ContentID != "" {
			shown = append(shown, a.part())
		} else {
			below = append(below, a.part())
		}
	}
	if len(shown) > 0 {
		root = m.multipart("related", append([]part{root}, shown...)...)
	}
	if len(below) > 0 {
		root = m.multipart("mixed", append([]part{root}, below...)...)
	}
	return root
}

// multipart joins parts. Its boundary is derived from the message, so that it
// is always the same, and hashed, so that no content can hold it but by
// design.
func (m *Message) multipart(kind string, children ...part) part {
	boundary := "b" + digest(kind, m.MessageID, m.Text, m.HTML)
	parameters := map[string]string{"boundary": boundary}
	if kind == "related" { // RFC 2387, section 3.1
		parameters["type"], _, _ = mime.ParseMediaType(children[0].header.Get("Content-Type"))
	}
	return part{
		header:   textproto.MIMEHeader{"Content-Type": {mime.FormatMediaType("multipart/"+kind, parameters)}},
		children: children,
		boundary: boundary,
	}
}

// write writes the part to where create says, once it has the part's header.
func (p part) write(create func(textproto.MIMEHeader) (io.Writer, error)) error {
	w, err := create(p.header)
	if err != nil {
		return err
	}
	if p.children == nil {
		return p.content(w)
	}
	parts := multipart.NewWriter(w)
	if err := parts.SetBoundary(p.boundary); err != nil {
		return err
	}
	for _, child := range p.children {
		if err := child.write(parts.CreatePart); err != nil {
			return err
		}
	}
	return parts.Close()
}

var toCRLF = strings.NewReplacer("\r\n", "\r\n", "\r", "\r\n", "\n", "\r\n")

// textPart holds text with CRLF line ends, whatever line ends it had, in the
// encoding that is shorter for it.
func textPart(kind, text string) part {
	text = toCRLF.Replace(text)
	p := part{
		header:  textproto.MIMEHeader{"Content-Type": {kind + "; charset=utf-8"}, "Content-Transfer-Encoding": {"quoted-printable"}},
		content: func(w io.Writer) error { return quoted(w, text) },
	}
	if escaped(text)*6 > len(text) {
		p.header.Set("Content-Transfer-Encoding", "base64")
		p.content = func(w io.Writer) error { return inBase64(w, []byte(text)) }
	}
	return p
}

// escaped counts the bytes that take three as quoted-printable.
func escaped(text string) (n int) {
	for i := range len(text) {
		if c := text[i]; c > '~' || c == '=' || c < ' ' && c != '\t' && c != '\r' && c != '\n' {
			n++
		}
	}
	return n
}

// quoted writes text, which has CRLF line ends, as quoted-printable.
func quoted(w io.Writer, text string) error {
	q := quotedprintable.NewWriter(w)
	if _, err := io.WriteString(q, text); err != nil {
		return err
	}
	return q.Close()
}

// part makes a MIME entity of the attachment.
func (a Attachment) part() part {
	kind, parameters, err := mime.ParseMediaType(a.ContentType)
	if err != nil {
		kind, _, err = mime.ParseMediaType(mime.TypeByExtension(filepath.Ext(a.Filename)))
		parameters = nil // what it says of the charset is a guess
	}
	if err != nil || strings.HasPrefix(kind, "multipart/") || strings.HasPrefix(kind, "message/") {
		kind, parameters = "application/octet-stream", nil
	}
	disposition := "attachment"
	if a.ContentID != "" {
		disposition = "inline"
	}
	header := textproto.MIMEHeader{
		"Content-Type":              {cmp.Or(mime.FormatMediaType(kind, parameters), kind)},
		"Content-Transfer-Encoding": {"base64"},
		"Content-Disposition":       {disposition + "; " + filenameParameter(a.Filename)},
	}
	if a.ContentID != "" {
		header["Content-Id"] = []string{"<" + a.ContentID + ">"}
	}
	return part{header: header, content: func(w io.Writer) error { return inBase64(w, a.Content) }}
}

// filenameParameter spells the name of a file as RFC 2231 says where it does
// not mean itself in a header.
func filenameParameter(name string) string {
	if isPlain(name) {
		return "filename=" + inQuotes(name)
	}
	escaped := strings.NewReplacer("_", "%20", "=", "%", "*", "%2A", "/", "%2F").Replace(quotedWord(name))
	return "filename*=utf-8''" + escaped
}

const base64Line = 76

// inBase64 writes content as base64 in lines, as RFC 2045 wants them.
func inBase64(w io.Writer, content []byte) error {
	text := base64.StdEncoding.EncodeToString(content)
	for len(text) > 0 {
		n := min(len(text), base64Line)
		if _, err := io.WriteString(w, text[:n]+"\r\n"); err != nil {
			return err
		}
		text = text[n:]
	}
	return nil
}
