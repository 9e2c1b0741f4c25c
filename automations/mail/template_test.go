package mail

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// among finds placeholders in values, and else by their fallback.
func among(values map[string]any) func(Placeholder) (any, error) {
	return func(p Placeholder) (any, error) {
		if v := values[p.Name]; v != nil || !p.HasFallback {
			return v, nil
		}
		return p.Fallback, nil
	}
}

func TestRender(t *testing.T) {
	values := map[string]any{
		"name": "Ada <b>&\"'", "n": json.Number("9007199254740993"), "yes": true, "list": []any{"a", json.Number("1")}, "null": nil, "empty": "",
		"trick": "{{name}}{{{name|x}}}", "lines": "a\r\nBcc: x\x00\u2028b", "html": Markup("<b>bold</b> &amp; more"), "event.plan": "pro", "list.0": "a", "dashes": "-->",
	}
	for _, c := range []struct {
		part       Part
		text, want string
	}{
		{HTML, "Hi {{name}}", "Hi Ada &lt;b&gt;&amp;&#34;&#39;"},
		{HTML, "Hi {{{name}}}", "Hi Ada &lt;b&gt;&amp;&#34;&#39;"},
		{HTML, "{{html}} {{ name }}", "<b>bold</b> &amp; more Ada &lt;b&gt;&amp;&#34;&#39;"},
		{HTML, `<i title="{{html}}">`, `<i title="&lt;b&gt;bold&lt;/b&gt; &amp;amp; more">`},
		{HTML, "<title>{{html}}</title>", "<title>&lt;b&gt;bold&lt;/b&gt; &amp;amp; more</title>"},
		{HTML, "<!-- {{trick}}-{{dashes}} -->", "<!-- {{name}}{{{name|x}}}-&#45;&#45;&gt; -->"},
		{Text, "{{html}}", "bold & more"},
		{Subject, "{{html}}", "bold & more"},
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
		parsed, err := Parse(c.part, c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		got, err := parsed.Render(among(values))
		if err != nil || got != c.want {
			t.Errorf("%s: %q, %v; want %q", c.text, got, err, c.want)
		}
	}
}

func TestTemplateErrors(t *testing.T) {
	for text, want := range map[string]string{
		"{{": "1:1", "a\nb {{x": "2:3", "{{}}": "1:1", "{{ |x}}": "1:1", "x{{{a}}": "1:2", "{{#if x}}": "1:1", "é✓{{a b}}": "1:3", "{{/each}}": "1:1", "{{a\x00}}": "1:1", "{{a..b}}{{.a}}{{a.}}": "1:1 1:9 1:15", "{{a|{{b}}}}{{c}}": "1:1",
		"{{" + strings.Repeat("x", 300) + "}}": "1:1", strings.Repeat("x", MaxSource+1): "1:1", "{{a b}} {{ok}}\n\n {{c d}}{{": "1:1 3:2 3:9", "{{a\n|b}}\n {{c d}}": "3:2",
		strings.Repeat("{{}}", 1000): "1:1 1:5 1:9 1:13 1:17 1:21 1:25 1:29 1:33 1:37 1:41 1:45 1:49 1:53 1:57 1:61 1:65 1:69 1:73 1:77",
	} {
		_, err := Parse(Text, text)
		errs, _ := errors.AsType[SyntaxErrors](err)
		var places []string
		for _, e := range errs {
			places = append(places, fmt.Sprintf("%d:%d", e.Line, e.Col))
		}
		if got := strings.Join(places, " "); got != want {
			t.Errorf("%.40q: %s, want %s", text, got, want)
		}
	}
	parsed, err := Parse(Text, "a {{who.is}} b")
	if err != nil {
		t.Fatal(err)
	}
	_, err = parsed.Render(among(nil))
	if missing, ok := errors.AsType[*MissingError](err); !ok || missing.Name != "who.is" {
		t.Error(err)
	}
	refusal := errors.New("refused")
	if _, err := parsed.Render(func(Placeholder) (any, error) { return "x", refusal }); err != refusal {
		t.Error(err)
	}
	parsed, err = Parse(Text, strings.Repeat("{{x}}", 3))
	if err != nil {
		t.Fatal(err)
	}
	_, err = parsed.Render(among(map[string]any{"x": strings.Repeat("y", MaxRendered/2)}))
	if _, ok := errors.AsType[*TooLargeError](err); !ok {
		t.Errorf("a result of 1.5 MiB: %v", err)
	}
	parsed, err = Parse(Text, "{{b}}\n{{a}} {{{b|x}}}")
	want := []Placeholder{{Name: "b", Line: 1, Col: 1}, {Name: "a", Line: 2, Col: 1}, {Name: "b", Fallback: "x", HasFallback: true, Line: 2, Col: 7}}
	if got := parsed.Placeholders(); err != nil || !slices.Equal(got, want) {
		t.Errorf("%v %v", got, err)
	}
}

func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"Hi {{name}}", "{{{a|b}}}", "{{a}}{{{b}}} {{", "{ {{x|{{y}}", "{{a.b.0|}}"} {
		f.Add(s, "<v> {{x}}\r\n")
	}
	f.Fuzz(func(t *testing.T, source, value string) {
		find := func(Placeholder) (any, error) { return value, nil }
		for _, part := range []Part{Text, HTML, Subject} {
			parsed, err := Parse(part, source)
			if err != nil {
				continue
			}
			out, err := parsed.Render(find)
			if err != nil {
				continue
			}
			if part == HTML && strings.Count(out, "<") > strings.Count(source, "<") {
				t.Fatalf("a value became markup: %q", out)
			}
			if part == Subject && strings.ContainsAny(value, "\r\n\x00") && !strings.ContainsAny(source, "\r\n\x00") && strings.ContainsAny(out, "\r\n\x00") {
				t.Fatalf("a value broke a line: %q", out)
			}
			if want := len(parsed.Placeholders()); part == Text && len(out) != len(source)-sourceOfPlaceholders(source, parsed)+want*len(value) {
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
		"Hi Ann,<br><br>thanks.<br>\n<br/>Bye<br>":                                            "Hi Ann,\n\nthanks.\n\nBye",
		"<div>a</div><div><br></div><div>b<br></div>c":                                        "a\n\nb\nc",
		"Hello&nbsp;<b>Ann</b>":                                                               "Hello Ann",
		"<ul><li><p>one</p></li><li></li><li><p>two</p></li></ul>":                            "- one\n\n-\n- two",
		"<ol><li>one<ul><li>in</li></ul></li><li>two</ol><li>x":                               "1. one\n\n- in\n\n2. two\n\n- x",
		"<center>a</center>b<dl><dt>c<dd>d</dl>":                                              "a\nb\n\nc\nd",
		"<pre>a {\n  b\n}\n</pre>c":                                                           "a {\n  b\n}\n\nc",
		"<head><title>no</title><p>yes":                                                       "yes",
		"<style/>no{}</style>yes":                                                             "yes",
		`<a href="https://x.y"> a </a>b <a href="https://v.w">c<a href="https://z">d`:         "a (https://x.y) b c (https://v.w)d (https://z)",
		`<a href="https://x.y"><table><tr><td>Buy</td></tr></table></a>now`:                   "Buy (https://x.y)\n\nnow",
		"Sale!&zwnj;<div>&nbsp;&zwnj;&#847; &#847;</div>\u0645\u06cc\u200c\u062e\u0648\u0627": "Sale!\u200c\n\u0645\u06cc\u200c\u062e\u0648\u0627",
	} {
		if got := TextFromHTML(source); got != want {
			t.Errorf("%s\n got %q\nwant %q", source, got, want)
		}
	}
}

func FuzzTextFromHTML(f *testing.F) {
	for _, s := range []string{"<p>a</p>", "<a href=x>y", "<script><p>", strings.Repeat("<div>", 1000), "<a href='javascript:x'>y</a>", "<ol><li>a<pre> b\n<br><br></ol><li>"} {
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
	parsed, err := Parse(HTML, source)
	if err != nil {
		b.Fatal(err)
	}
	find := func(Placeholder) (any, error) { return "a <value>", nil }
	b.SetBytes(int64(len(source)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parsed.Render(find); err != nil {
			b.Fatal(err)
		}
	}
}
