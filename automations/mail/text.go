package mail

import (
	"regexp"
	"strconv"
	"strings"
	"unicode"

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
			return w.result()
		case html.TextToken:
			w.text(string(z.Text()))
		case html.StartTagToken, html.SelfClosingTagToken: // HTML ignores the slash
			w.open(z.Token())
		case html.EndTagToken:
			w.close(z.Token().DataAtom)
		}
	}
}

// textWriter gathers text; gap is the white space owed before the next word.
type textWriter struct {
	out    strings.Builder
	gap    string
	hidden int    // depth within script, style, title and template
	asIs   int    // depth within pre
	href   string // of the link being written
	linkAt int    // where its text began
	lists  []int  // items so far of the ordered lists around here; below zero in an unordered one
	marked bool   // an item's mark is written, and its first word belongs beside it
}

// textBlocks maps elements to the gap around them.
var textBlocks = map[atom.Atom]string{
	atom.P: "\n\n", atom.H1: "\n\n", atom.H2: "\n\n", atom.H3: "\n\n", atom.H4: "\n\n", atom.H5: "\n\n", atom.H6: "\n\n",
	atom.Ul: "\n\n", atom.Ol: "\n\n", atom.Dl: "\n\n", atom.Table: "\n\n", atom.Blockquote: "\n\n", atom.Figure: "\n\n", atom.Pre: "\n\n", atom.Hr: "\n\n",
	atom.Div: "\n", atom.Center: "\n", atom.Section: "\n", atom.Article: "\n", atom.Aside: "\n", atom.Header: "\n", atom.Footer: "\n", atom.Main: "\n", atom.Nav: "\n",
	atom.Address: "\n", atom.Form: "\n", atom.Caption: "\n", atom.Figcaption: "\n", atom.Tr: "\n", atom.Li: "\n", atom.Dt: "\n", atom.Dd: "\n", atom.Td: " ", atom.Th: " ",
}

func isHidden(a atom.Atom) bool {
	return a == atom.Script || a == atom.Style || a == atom.Title || a == atom.Template
}

func (w *textWriter) open(t html.Token) {
	if isHidden(t.DataAtom) {
		w.hidden++
		return
	}
	w.begin(t.DataAtom)
	switch t.DataAtom {
	case atom.Pre:
		w.asIs++
	case atom.Br:
		w.breakLine()
	case atom.Img:
		w.text(attribute(t, "alt"))
	case atom.A:
		w.endLink()
		w.href, w.linkAt = attribute(t, "href"), w.out.Len()
	}
}

// begin owes the gap before an element, and marks the items of lists.
func (w *textWriter) begin(a atom.Atom) {
	if a == atom.Li {
		w.marked = false
	}
	w.owe(textBlocks[a])
	switch a {
	case atom.Ul:
		w.lists = append(w.lists, -1)
	case atom.Ol:
		w.lists = append(w.lists, 0)
	case atom.Li:
		mark := "-"
		if last := len(w.lists) - 1; last >= 0 && w.lists[last] >= 0 {
			w.lists[last]++
			mark = strconv.Itoa(w.lists[last]) + "."
		}
		w.text(mark)
		w.gap, w.marked = " ", true
	}
}

func (w *textWriter) close(a atom.Atom) {
	switch {
	case isHidden(a):
		w.hidden = max(0, w.hidden-1)
		return
	case a == atom.A:
		w.endLink()
	case a == atom.Pre:
		w.asIs = max(0, w.asIs-1)
	case a == atom.Li, a == atom.Ul, a == atom.Ol:
		w.marked = false
	}
	if (a == atom.Ul || a == atom.Ol) && len(w.lists) > 0 {
		w.lists = w.lists[:len(w.lists)-1]
	}
	w.owe(textBlocks[a])
}

// endLink writes the address of the link behind its text, unless it is its
// text.
func (w *textWriter) endLink() {
	if w.href == "" {
		return
	}
	label := strings.TrimSpace(w.out.String()[w.linkAt:])
	address := strings.TrimPrefix(w.href, "mailto:")
	owed := w.gap
	switch {
	case label == address, strings.HasPrefix(w.href, "#"):
	case label == "":
		w.text(address)
	default:
		w.gap = " "
		w.text("(" + address + ")")
		w.owe(owed)
	}
	w.href = ""
}

// owe asks for a gap; of two at the same place the larger counts.
func (w *textWriter) owe(gap string) {
	if !w.marked && (len(gap) > len(w.gap) || strings.HasPrefix(gap, "\n") && w.gap == " ") {
		w.gap = gap
	}
}

// breakLine ends a line, and of two in a row the second leaves an empty one.
func (w *textWriter) breakLine() {
	if strings.HasPrefix(w.gap, "\n") {
		w.owe("\n\n")
	} else {
		w.owe("\n")
	}
}

func (w *textWriter) text(s string) {
	if w.hidden > 0 || s == "" {
		return
	}
	if w.asIs > 0 {
		w.write(s)
		return
	}
	if strings.TrimLeftFunc(s, unicode.IsSpace) != s {
		w.owe(" ")
	}
	for i, word := range strings.Fields(s) {
		if i > 0 {
			w.owe(" ")
		}
		if strings.TrimFunc(word, isFiller) != "" {
			w.write(word)
		}
	}
	if strings.TrimRightFunc(s, unicode.IsSpace) != s {
		w.owe(" ")
	}
}

func (w *textWriter) write(s string) {
	if w.out.Len() > 0 {
		w.out.WriteString(w.gap)
	}
	w.gap, w.marked = "", false
	w.out.WriteString(s)
}

// isFiller tells the characters without a width that mails fill the line with
// that mail programs show beside their subject.
func isFiller(r rune) bool {
	return r == '\u00ad' || r == '\u034f' || r >= '\u200b' && r <= '\u200f' || r == '\u2060' || r == '\ufeff'
}

func (w *textWriter) result() string {
	w.endLink()
	return strings.Trim(blankLines.ReplaceAllString(w.out.String(), "\n\n"), "\n")
}

var blankLines = regexp.MustCompile(`\n{3,}`)

func attribute(t html.Token, name string) string {
	for _, a := range t.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}
