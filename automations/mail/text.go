package mail

import (
	"io"
	"regexp"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// TextFromHTML derives a readable plain text from HTML: paragraphs, lists,
// links with their address, images by their description. It reads tokens, not
// a tree, so that no input makes it deep or slow.
func TextFromHTML(source string) string {
	w := &textWriter{}
	z := html.NewTokenizer(strings.NewReader(source))
	for {
		switch z.Next() {
		case html.ErrorToken:
			if z.Err() == io.EOF {
				return w.result()
			}
			return w.result()
		case html.TextToken:
			w.text(string(z.Text()))
		case html.StartTagToken, html.SelfClosingTagToken:
			token := z.Token()
			w.open(token)
		case html.EndTagToken:
			w.close(z.Token().DataAtom)
		}
	}
}

// textWriter gathers text; gap is the white space owed before the next word.
type textWriter struct {
	out    strings.Builder
	gap    string
	hidden int    // depth within script, style, head and title
	href   string // of the link being written
	linkAt int    // where its text began
}

// textBlocks maps elements to the gap around them.
var textBlocks = map[atom.Atom]string{
	atom.P: "\n\n", atom.H1: "\n\n", atom.H2: "\n\n", atom.H3: "\n\n", atom.H4: "\n\n", atom.H5: "\n\n", atom.H6: "\n\n",
	atom.Ul: "\n\n", atom.Ol: "\n\n", atom.Table: "\n\n", atom.Blockquote: "\n\n", atom.Pre: "\n\n", atom.Hr: "\n\n",
	atom.Div: "\n", atom.Section: "\n", atom.Article: "\n", atom.Header: "\n", atom.Footer: "\n", atom.Tr: "\n", atom.Br: "\n",
	atom.Li: "\n", atom.Td: " ", atom.Th: " ",
}

func isHidden(a atom.Atom) bool {
	return a == atom.Script || a == atom.Style || a == atom.Head || a == atom.Title || a == atom.Template
}

func (w *textWriter) open(t html.Token) {
	if isHidden(t.DataAtom) {
		if t.Type == html.StartTagToken {
			w.hidden++
		}
		return
	}
	if t.DataAtom == atom.Body {
		w.hidden = 0 // whatever the head left open
	}
	w.owe(textBlocks[t.DataAtom])
	switch t.DataAtom {
	case atom.Li:
		w.text("-")
		w.owe(" ")
	case atom.Br:
		w.owe("\n")
	case atom.Img:
		w.text(attribute(t, "alt"))
	case atom.A:
		w.href = attribute(t, "href")
		w.linkAt = w.out.Len()
	}
}

func (w *textWriter) close(a atom.Atom) {
	switch {
	case isHidden(a):
		w.hidden = max(0, w.hidden-1)
	case a == atom.A && w.href != "":
		label := strings.TrimSpace(w.out.String()[min(w.linkAt, w.out.Len()):])
		address := strings.TrimPrefix(w.href, "mailto:")
		if label != address && !strings.HasPrefix(w.href, "#") {
			w.owe(" ")
			if label == "" {
				w.text(address)
			} else {
				w.text("(" + address + ")")
			}
		}
		w.href = ""
	default:
		w.owe(textBlocks[a])
	}
}

// owe asks for a gap; of two at the same place the larger counts.
func (w *textWriter) owe(gap string) {
	if len(gap) > len(w.gap) || strings.HasPrefix(gap, "\n") && w.gap == " " {
		w.gap = gap
	}
}

func (w *textWriter) text(s string) {
	if w.hidden > 0 {
		return
	}
	words := strings.Fields(s)
	if len(words) == 0 {
		if s != "" {
			w.owe(" ")
		}
		return
	}
	if first := s[0]; first == ' ' || first == '\n' || first == '\t' || first == '\r' {
		w.owe(" ")
	}
	for i, word := range words {
		if i > 0 {
			w.gap = " "
		}
		if w.out.Len() > 0 {
			w.out.WriteString(w.gap)
		}
		w.gap = ""
		w.out.WriteString(word)
	}
	if last := s[len(s)-1]; last == ' ' || last == '\n' || last == '\t' || last == '\r' {
		w.owe(" ")
	}
}

func (w *textWriter) result() string { return blankLines.ReplaceAllString(w.out.String(), "\n\n") }

var blankLines = regexp.MustCompile(`\n{3,}`)

func attribute(t html.Token, name string) string {
	for _, a := range t.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}
