package mail

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func lookupIn(values map[string]any) func(string) (any, bool) {
	return func(name string) (any, bool) { v, ok := values[name]; return v, ok }
}

func TestRender(t *testing.T) {
	values := map[string]any{
		"name": "Ada <b>&\"'", "n": json.Number("9007199254740993"), "yes": true, "list": []any{"a", json.Number("1")}, "null": nil, "empty": "",
		"trick": "{{name}}{{{name|x}}}", "lines": "a\r\nBcc: x\x00\u2028b", "html": "<b>bold</b>", "event.plan": "pro", "list.0": "a",
	}
	for _, c := range []struct {
		part       Part
		text, want string
	}{
		{HTML, "Hi {{name}}", "Hi Ada &lt;b&gt;&amp;&#34;&#39;"},
		{HTML, "Hi {{{name}}}", "Hi Ada &lt;b&gt;&amp;&#34;&#39;"},
		{HTML, "{{html}} {{ name }}", "<b>bold</b> Ada &lt;b&gt;&amp;&#34;&#39;"},
		{Text, "Hi {{name}}", "Hi Ada <b>&\"'"},
		{Subject, "Hi {{lines}}!", "Hi a  Bcc: x  b!"},
		{Text, "{{n}} {{yes}} {{list}} {{event.plan}} {{list.0}}", `9007199254740993 true ["a",1] pro a`},
		{Text, "{{{missing|there}}} {{ missing | a | b }} {{missing|}}.", "there a | b ."},
		{HTML, "{{missing|<i>}}", "&lt;i&gt;"},
		{Text, "{{null|none}} [{{empty}}]", "none []"},
		{Text, "{{trick}}", "{{name}}{{{name|x}}}"},
		{HTML, "<style>a{b:c} @media x{a{b:c}}</style> {x} }} {", "<style>a{b:c} @media x{a{b:c}}</style> {x} }} {"},
		{Text, "", ""},
	} {
		parsed, err := Parse(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		got, err := parsed.Render(c.part, lookupIn(values), RenderOptions{Raw: func(name string) bool { return name == "html" }})
		if err != nil || got != c.want {
			t.Errorf("%s: %q, %v; want %q", c.text, got, err, c.want)
		}
	}
}

func TestTemplateErrors(t *testing.T) {
	for text, at := range map[string]string{
		"{{": "line 1, column 1", "a\nb {{x": "line 2, column 3", "{{}}": "line 1, column 1", "{{ |x}}": "line 1, column 1", "x{{{a}}": "line 1, column 2", "{{#if x}}": "line 1",
		"{{a b}}": "line 1", "{{/each}}": "line 1", "{{a\x00}}": "line 1", "{{" + strings.Repeat("x", 300) + "}}": "line 1", strings.Repeat("x", MaxSource+1): "line 1",
	} {
		_, err := Parse(text)
		var syntax *SyntaxError
		if !errors.As(err, &syntax) || !strings.HasPrefix(err.Error(), at) {
			t.Errorf("%.40q: %v", text, err)
		}
	}
	parsed, err := Parse("a {{who.is}} b")
	if err != nil {
		t.Fatal(err)
	}
	_, err = parsed.Render(Text, lookupIn(nil), RenderOptions{})
	if missing, ok := errors.AsType[*MissingError](err); !ok || missing.Name != "who.is" {
		t.Error(err)
	}
	parsed, err = Parse(strings.Repeat("{{x}}", 3))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parsed.Render(Text, lookupIn(map[string]any{"x": strings.Repeat("y", MaxRendered/2)}), RenderOptions{}); err == nil {
		t.Error("a result of 1.5 MiB was made")
	}
	parsed, err = Parse("{{b}} {{a}} {{{b|x}}}")
	if names := parsed.Names(); err != nil || fmt.Sprint(names) != "[b a]" {
		t.Errorf("%v %v", names, err)
	}
}

func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"Hi {{name}}", "{{{a|b}}}", "{{a}}{{{b}}} {{", "{ {{x|{{y}}", "{{a.b.0|}}"} {
		f.Add(s, "<v> {{x}}\r\n")
	}
	f.Fuzz(func(t *testing.T, source, value string) {
		parsed, err := Parse(source)
		if err != nil {
			return
		}
		lookup := func(string) (any, bool) { return value, true }
		for _, part := range []Part{Text, HTML, Subject} {
			out, err := parsed.Render(part, lookup, RenderOptions{})
			if err != nil {
				continue
			}
			if part == HTML && strings.Count(out, "<") > strings.Count(source, "<") {
				t.Fatalf("a value became markup: %q", out)
			}
			if part == Subject && strings.ContainsAny(value, "\r\n\x00") && !strings.ContainsAny(source, "\r\n\x00") && strings.ContainsAny(out, "\r\n\x00") {
				t.Fatalf("a value broke a line: %q", out)
			}
			want := 0
			for _, p := range parsed.pieces {
				if p.name != "" {
					want++
				}
			}
			if part == Text && len(out) != len(source)-sourceOfPlaceholders(source, parsed)+want*len(value) {
				t.Fatalf("%q with %q became %q", source, value, out)
			}
		}
	})
}

// sourceOfPlaceholders is how many bytes of the source are not literal text.
func sourceOfPlaceholders(source string, parsed *Template) int {
	literal := 0
	for _, p := range parsed.pieces {
		literal += len(p.text)
	}
	return len(source) - literal
}

func TestTextFromHTML(t *testing.T) {
	for source, want := range map[string]string{
		"<h1>Hi</h1><p>One\n two <b>three</b>.</p><p>Four</p>": "Hi\n\nOne two three.\n\nFour",
		"a<br>b<br/>c":                           "a\nb\nc",
		"<ul><li>one</li><li>two</li></ul>after": "- one\n- two\n\nafter",
		`<a href="https://x.y/z">here</a> and <a href="https://x.y">https://x.y</a>`:            "here (https://x.y/z) and https://x.y",
		`<a href="mailto:a@b.cd">a@b.cd</a>`:                                                    "a@b.cd",
		`<img alt="Logo" src="x"><img src="y">`:                                                 "Logo",
		"<head><title>no</title><style>a{}</style></head><body>yes<script>no()</script></body>": "yes",
		"a &amp; b &lt;c&gt; &eacute;":                                                          "a & b <c> é",
		"<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>":                       "a b\nc",
		"plain":               "plain",
		"":                    "",
		"<p>  </p><p>x</p>  ": "x",
	} {
		if got := TextFromHTML(source); got != want {
			t.Errorf("%s\n got %q\nwant %q", source, got, want)
		}
	}
}

func FuzzTextFromHTML(f *testing.F) {
	for _, s := range []string{"<p>a</p>", "<a href=x>y", "<script><p>", strings.Repeat("<div>", 1000), "<a href='javascript:x'>y</a>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, source string) {
		if out := TextFromHTML(source); len(out) > 4*len(source)+16 {
			t.Fatalf("%d bytes became %d", len(source), len(out))
		}
	})
}

func BenchmarkRender(b *testing.B) {
	source := strings.Repeat("<p style=\"color:#333\">Some words of a mail that stays as it is, and more of them.</p>\n", 50)
	for i := range 10 {
		source += fmt.Sprintf("<p>{{event.value%d}}</p>", i)
	}
	parsed, err := Parse(source)
	if err != nil {
		b.Fatal(err)
	}
	lookup := func(string) (any, bool) { return "a <value>", true }
	b.SetBytes(int64(len(source)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parsed.Render(HTML, lookup, RenderOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}
