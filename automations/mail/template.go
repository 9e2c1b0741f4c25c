package mail

import (
	"encoding/json"
	"fmt"
	"html"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Limits of templates.
const (
	MaxSource   = 512 << 10 // bytes of one part's source
	MaxRendered = 1 << 20   // bytes of one part's result
	maxName     = 256       // bytes of one placeholder's path
)

// Part says where rendered text goes, and so how values are made safe in it.
type Part int

// The parts of a mail.
const (
	Text    Part = iota // values stand as they are
	HTML                // values are escaped
	Subject             // control characters of values become spaces
)

// Template is a parsed text with placeholders: {{name}} or {{{name}}}, with
// dotted paths, and with a fallback behind a bar, as in {{{name|there}}}. It
// is immutable.
type Template struct {
	pieces []piece
	size   int
}

// piece is literal text, followed by a placeholder unless name is empty.
type piece struct {
	text        string
	name        string
	fallback    string
	hasFallback bool
}

// SyntaxError says where a template cannot be understood.
type SyntaxError struct {
	Line, Col int // from 1; columns count bytes
	Msg       string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Col, e.Msg)
}

// MissingError says that a placeholder has neither a value nor a fallback.
type MissingError struct{ Name string }

func (e *MissingError) Error() string {
	return fmt.Sprintf("the variable %q has no value and no fallback; send it, or write {{{%s|fallback}}}", e.Name, e.Name)
}

// Parse reads a template. Braces that are not doubled, and closing ones without
// opening, are plain text: style sheets pass unchanged.
func Parse(source string) (*Template, error) {
	if len(source) > MaxSource {
		return nil, &SyntaxError{1, 1, fmt.Sprintf("the text is larger than %d bytes", MaxSource)}
	}
	t := &Template{size: len(source)}
	for rest := source; ; {
		open := strings.Index(rest, "{{")
		if open < 0 {
			t.pieces = append(t.pieces, piece{text: rest})
			return t, nil
		}
		p, after, msg := placeholder(rest[open:])
		if msg != "" {
			before := source[:len(source)-len(rest)+open]
			line := strings.Count(before, "\n")
			return nil, &SyntaxError{line + 1, len(before) - strings.LastIndexByte(before, '\n'), msg}
		}
		p.text = rest[:open]
		t.pieces = append(t.pieces, p)
		rest = after
	}
}

// placeholder reads one that s begins with. msg says what is wrong with it.
func placeholder(s string) (p piece, after, msg string) {
	closing := "}}"
	s = s[2:]
	if strings.HasPrefix(s, "{") {
		s, closing = s[1:], "}}}"
	}
	end := strings.Index(s, closing)
	if end < 0 {
		return p, "", fmt.Sprintf("a placeholder is not closed: %s is missing", closing)
	}
	name, fallback, hasFallback := strings.Cut(s[:end], "|")
	p = piece{name: strings.TrimSpace(name), fallback: strings.TrimSpace(fallback), hasFallback: hasFallback}
	switch {
	case p.name == "":
		msg = "a placeholder has no name"
	case len(p.name) > maxName:
		msg = fmt.Sprintf("the name of a placeholder is longer than %d bytes", maxName)
	case strings.ContainsFunc(p.name, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune("{}<>\"'#/^&!", r)
	}):
		msg = fmt.Sprintf("%q is not the name of a variable; use a name or a path such as event.plan", p.name)
	}
	return p, s[end+len(closing):], msg
}

// Names lists the paths that the template mentions, each once, in order.
func (t *Template) Names() (names []string) {
	for _, p := range t.pieces {
		if p.name != "" && !slices.Contains(names, p.name) {
			names = append(names, p.name)
		}
	}
	return names
}

// RenderOptions changes how values are treated.
type RenderOptions struct {
	// Raw names the variables that hold HTML of their own and are not escaped;
	// nil escapes all.
	Raw func(name string) bool
}

// Render replaces the placeholders by what lookup finds for them: text, a
// number, true or false, or a list or an object, which become JSON. A name
// that lookup does not find, or finds null, becomes its fallback; without one
// the error is a *MissingError.
func (t *Template) Render(part Part, lookup func(name string) (any, bool), opts RenderOptions) (string, error) {
	var out strings.Builder
	out.Grow(t.size + t.size/8)
	for _, p := range t.pieces {
		out.WriteString(p.text)
		if p.name == "" {
			continue
		}
		value, found := lookup(p.name)
		text := p.fallback
		if found && value != nil {
			text = valueText(value)
		} else if !p.hasFallback {
			return "", &MissingError{p.name}
		}
		if part == Text || part == HTML && opts.Raw != nil && opts.Raw(p.name) {
			out.WriteString(text)
		} else {
			out.WriteString(part.safe(text))
		}
		if out.Len() > MaxRendered {
			return "", fmt.Errorf("the rendered text is larger than %d bytes", MaxRendered)
		}
	}
	return out.String(), nil
}

// safe makes a value harmless in HTML or in a header line.
func (part Part) safe(text string) string {
	if part == HTML {
		return html.EscapeString(text)
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, text)
}

func valueText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return string(v)
	case bool:
		return strconv.FormatBool(v)
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(raw)
}
