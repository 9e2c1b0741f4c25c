package mail

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// shapeOf is what HTML holds beside text: its tags with the names of their
// attributes, and its comments.
func shapeOf(t testing.TB, source string) (shape []string) {
	t.Helper()
	z := html.NewTokenizer(strings.NewReader(source))
	for {
		kind := z.Next()
		token := z.Token()
		switch kind {
		case html.ErrorToken:
			if z.Err() != io.EOF {
				t.Fatal(z.Err())
			}
			return shape
		case html.TextToken:
			continue
		case html.CommentToken, html.DoctypeToken:
			token.Data = ""
		}
		names := []string{kind.String(), token.Data}
		for _, a := range token.Attr {
			names = append(names, a.Key)
		}
		shape = append(shape, strings.Join(names, " "))
	}
}

// nodesOf is the same of the tree that a browser would make.
func nodesOf(t testing.TB, source string) (nodes []string) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(source))
	if err != nil {
		t.Fatal(err)
	}
	for n := range root.Descendants() {
		if n.Type == html.ElementNode {
			names := []string{n.Data}
			for _, a := range n.Attr {
				names = append(names, a.Key)
			}
			nodes = append(nodes, strings.Join(names, " "))
		}
	}
	return nodes
}

var hostile = []string{
	"<b>", "</p>", "<script>alert(1)</script>", "\" onclick=\"x", "' onclick='x", "` onclick=`x", " onclick=x", "/onclick=x", ">", "<", "<!--", "-->", "--", "-", "--!>", "!>", "]]>", "<![CDATA[",
	"</style><b>", "</title><img src=x onerror=y>", "</textarea >", "</", "</s", "style>", "/style>", "script", "&lt;b&gt;", "&#60;b&#62;", "&amp;lt;", "\x00<b\x00>", "\r\n<b>\r\n", "=", "=\"\"", "=''", "{{x}}", "{{{x}}}",
	"b", "a b=c", "\u00a0<i>", "\u2028<i>", "\ufeff<i>", "javascript:x", "\\\"><i>", "\"><i>", "'><i>", "/>", "?>", "%3Cb%3E", "<\u017fcript>", "＜b＞", strings.Repeat("<", 100), "\xff<b>", "x", "",
}

// Whatever stands for x, tags, attributes and comments are those of the
// template.
func TestValuesNeverBecomeMarkup(t *testing.T) {
	refused := 0
	for _, template := range []string{
		"{{x}}", "<p>{{x}}</p>", "a {{x}} b {{{x|y}}}", `<a href="{{x}}">{{x}}</a>`, `<a href='{{x}}' class="b">t</a>`, `<a href = "a{{x}}b{{x}}" id=q>`, `<img alt="{{x}}"/>`, "<!-- {{x}} -->", "<!--{{x}}-->", "<!--a{{x}}> <b> --><p>", "<!-- {{x}}-> <b> --><p>", "<!--{{x}}!> <b> --><p>",
		"<!--[if mso]><td width=\"{{x}}\">{{x}}</td><![endif]-->", "<!-{{x}}-->", "<title>{{x}}</title><p>", "<style>a{color:{{x}}}</style><p>", "<textarea>{{x}}</textarea>", "<TITLE>{{x}}</tItLe ><b>", "<xmp>{{x}}</xmp>",
		"a < {{x}} > b", "1 <2 {{x}}", "<p>&{{x}};</p>", "<p>&#{{x}}</p>", "<!doctype html><p>{{x}}", "<!DOCTYPE {{x}}><p>", "<?php {{x}} ?><b>", "</ {{x}}><b>", "<!-- a --!>{{x}}<b>", "<!-->{{x}}<b>", "<!--->{{x}}<b>",
		"<a b='>'>{{x}}", `<a b=">" c>{{x}}`, "<a b=c>{{x}}", "<a b = c d>{{x}}", "<a / b/>{{x}}", "<a =b>{{x}}", "<a b=>{{x}}", "<svg><title>{{x}}</title></svg>", "<noscript>{{x}}</noscript>", "<style></sty{{x}}", "<style>< {{x}}</style><b>", "<title></titles>{{x}}</title><b>",
		"<style/>{{x}}</style><b>", "<iframe>{{x}}</iframe><b>", "<p title=\"{{x}}\" title='{{x}}'>", "<a\tb\n=\f\"{{x}}\">",
		// Places where a value could not be told from markup are refused.
		"<{{x}}>", "</{{x}}>", "<!{{x}}>", "<!-{{x}}>", "<b {{x}}>", "<b{{x}}>", "<b a={{x}}>", "<b a= {{x}}>", "<b a=c{{x}}>", "<b a{{x}}=c>", "<b a {{x}}>", "<b a=\"c\"{{x}}>", "<b/{{x}}>", "<script>{{x}}</script>", "<style><{{x}}</style>", "<style></{{x}}</style>", "<style></style{{x}}>", "<style></style {{x}}>", "<<{{x}}", "<b a=c {{x}}>",
	} {
		parsed, err := Parse(HTML, template)
		if err != nil {
			refused++
			continue
		}
		with := func(value string) string {
			out, err := parsed.Render(func(Placeholder) (any, error) { return value, nil })
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		shape, nodes := shapeOf(t, with("x")), nodesOf(t, with("x"))
		for _, value := range hostile {
			if got := shapeOf(t, with(value)); !slices.Equal(got, shape) {
				t.Errorf("%s with %q: %q, without %q", template, value, got, shape)
			}
			if got := nodesOf(t, with(value)); !slices.Equal(got, nodes) {
				t.Errorf("%s with %q: tree %q, without %q", template, value, got, nodes)
			}
		}
	}
	if refused != 22 {
		t.Errorf("%d templates are refused", refused)
	}
}

// FuzzMarkup puts two values into a template made of pieces that are hard to
// tell apart.
func FuzzMarkup(f *testing.F) {
	f.Add("<p>", "</p>", "<b>")
	f.Add("<a href=\"", "\">", "\" x=\"")
	f.Add("<style>", "</style>", "</style><b>")
	f.Add("<!--", "-->", "-->")
	f.Add("<title></titl", "e>", "e><b>")
	f.Add("<script><!--<script></script>", "--></script>", "<b>")
	f.Fuzz(func(t *testing.T, before, after, value string) {
		parsed, err := Parse(HTML, before+"{{x}}"+after)
		if err != nil || len(parsed.Placeholders()) != 1 {
			return
		}
		with := func(value string) string {
			out, err := parsed.Render(func(Placeholder) (any, error) { return value, nil })
			if err != nil {
				t.Skip()
			}
			return out
		}
		if got, want := shapeOf(t, with(value)), shapeOf(t, with("x")); !slices.Equal(got, want) {
			t.Fatalf("%q: %q, without the value %q", with(value), got, want)
		}
	})
}

// BenchmarkParse reads text with a placeholder at its end, or many in it.
func BenchmarkParse(b *testing.B) {
	for _, piece := range []string{"<p class=\"a\">word {{x}}</p>\n", "<p class=\"a\">words</p>\n", "<", "<aaaaaaaaaaaaaaaa", "</", "<!--"} {
		source := strings.Repeat(piece, (100<<10)/len(piece)) + "{{x}}"
		b.Run(fmt.Sprintf("%.12q", piece), func(b *testing.B) {
			b.SetBytes(int64(len(source)))
			b.ReportAllocs()
			for b.Loop() {
				Parse(HTML, source) // some are refused
			}
		})
	}
}
