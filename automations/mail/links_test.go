package mail

import (
	"slices"
	"testing"
)

func TestLinks(t *testing.T) {
	for source, want := range map[string][]Link{
		`<a href="https://example.com/?a=1&amp;b=2">Read <b>more</b>` + "\n\t" + `now</a> please`: {{"Read more now", "https://example.com/?a=1&b=2"}},
		`<A HREF=' HTTPS://example.com '>x</A>`:                                                   {{"x", "HTTPS://example.com"}},
		`<a href=mailto:help@example.com><img alt=Help><img></a>`:                                 {{"Help", "mailto:help@example.com"}},
		`<a href="http://a.example">a<a href="http://b.example">b`:                                {{"a", "http://a.example"}, {"b", "http://b.example"}},
		`<map><area href="http://a.example" alt="Left"></map>`:                                    {{"Left", "http://a.example"}},
		`<a href="http://a.example/%zz">x</a>`:                                                    {{"x", "http://a.example/%zz"}},
		`<a href="//a.example">x</a><a href="#x">x</a><a>x</a>`:                                   nil,
		`<a href="javascript:alert(1)">x</a><a href="data:,x">x</a><a href="">x</a>`:              nil,
		`<!-- <a href="http://a.example">x</a> --><title><a href="http://a.example"></title>`:     nil,
	} {
		if got := (View{HTML: source, Text: "http://text.example"}).Links(); !slices.Equal(got, want) {
			t.Errorf("%s has %q, want %q", source, got, want)
		}
	}
	text := "See http://a.example/x?y=1. Or (HTTPS://b.example), <mailto:c@example.com>! ftp://d.example xhttp://e.example"
	want := []string{"http://a.example/x?y=1", "HTTPS://b.example", "mailto:c@example.com"}
	for i, got := range (View{Text: text}).Links() {
		if i >= len(want) || got.URL != want[i] || got.Text != want[i] {
			t.Errorf("link %d of the text is %q", i, got)
		}
	}
	if got := (View{Text: text}).Links(); len(got) != len(want) {
		t.Errorf("%d links", len(got))
	}
}
