package mail

import (
	"net/url"
	"regexp"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// Link is a link in a mail and the text it is shown with.
type Link struct {
	Text string `json:"text"` // of an image its description; white space as one space
	URL  string `json:"url"`
}

// Links lists the http, https and mailto links of a mail in order: those of
// its HTML, or of its plain text when it has none.
func (v View) Links() []Link {
	if v.HTML == "" {
		return linksInText(v.Text)
	}
	return linksInHTML(v.HTML)
}

// linksInHTML reads tokens, not a tree, as TextFromHTML does: a link ends where
// the next one begins.
func linksInHTML(source string) (links []Link) {
	var text strings.Builder
	open := false
	finish := func() {
		if open {
			links[len(links)-1].Text = strings.Join(strings.Fields(text.String()), " ")
		}
		open = false
		text.Reset()
	}
	z := html.NewTokenizer(strings.NewReader(source))
	for {
		kind := z.Next()
		if kind == html.ErrorToken {
			finish()
			return links
		}
		switch t := z.Token(); {
		case kind == html.TextToken && open:
			text.WriteString(t.Data)
		case kind == html.EndTagToken && t.DataAtom == atom.A:
			finish()
		case kind != html.StartTagToken && kind != html.SelfClosingTagToken:
		case t.DataAtom == atom.Img && open:
			text.WriteString(" " + attribute(t, "alt") + " ")
		case t.DataAtom == atom.A, t.DataAtom == atom.Area:
			finish()
			if address := strings.TrimSpace(attribute(t, "href")); leadsOut(address) {
				links = append(links, Link{URL: address, Text: attribute(t, "alt")})
				open = t.DataAtom == atom.A
			}
		}
	}
}

// leadsOut reports whether an address is one that people follow.
func leadsOut(address string) bool {
	u, err := url.Parse(address)
	if err != nil { // clients follow what net/url finds fault with
		scheme, _, _ := strings.Cut(address, ":")
		u = &url.URL{Scheme: strings.ToLower(scheme)}
	}
	return u.Scheme == "http" || u.Scheme == "https" || u.Scheme == "mailto"
}

var textLink = regexp.MustCompile(`(?i)\b(?:https?://|mailto:)[^\s<>"]+`)

func linksInText(text string) (links []Link) {
	for _, found := range textLink.FindAllString(text, -1) {
		address := strings.TrimRight(found, ".,;:!?'")
		if strings.HasSuffix(address, ")") && !strings.Contains(address, "(") {
			address = strings.TrimRight(address, ")")
		}
		links = append(links, Link{Text: address, URL: address})
	}
	return links
}
