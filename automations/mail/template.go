package mail

import (
	"encoding/json"
	"fmt"
	"html"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of templates.
const (
	MaxSource   = 512 << 10 // bytes of one part's source
	MaxRendered = 1 << 20   // bytes of one part's result
	maxName     = 256       // bytes of one placeholder's path
	maxErrors   = 20        // that are told of one part
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
	part   Part
	pieces []piece
	size   int
}

// piece is literal text, followed by a placeholder unless its name is empty.
type piece struct {
	text  string
	value Placeholder
	place place
}

// Placeholder is one place in a template that a value goes to.
type Placeholder struct {
	Name        string // a name or a dotted path
	Fallback    string // what stands here without a value
	HasFallback bool
	Line, Col   int // from 1; columns count characters
}

// Markup is a value that is HTML of its own. It stands as it is between tags,
// is escaped like any other within them, and becomes plain text in the other
// parts.
type Markup string

// SyntaxError says where a template cannot be understood.
type SyntaxError struct {
	Line, Col int // from 1; columns count characters
	Msg       string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Col, e.Msg)
}

// SyntaxErrors is what is wrong with a template, in its order; never empty.
type SyntaxErrors []*SyntaxError

func (e SyntaxErrors) Error() string { return e[0].Error() }

// MissingError says that a placeholder has neither a value nor a fallback.
type MissingError struct{ Name string }

func (e *MissingError) Error() string {
	return fmt.Sprintf("the variable %q has no value and no fallback; send it, or write {{{%s|fallback}}}", e.Name, e.Name)
}

// TooLargeError says that a part would be larger than MaxRendered.
type TooLargeError struct{}

func (*TooLargeError) Error() string {
	return fmt.Sprintf("the rendered text is larger than %d bytes", MaxRendered)
}

// Parse reads the template of a part. Braces that are not doubled, and closing
// ones without opening, are plain text: style sheets pass unchanged. In HTML a
// placeholder stands in text or in a quoted attribute, where no value can
// become a tag or another attribute. The error is of type SyntaxErrors.
func Parse(part Part, source string) (*Template, error) {
	if len(source) > MaxSource {
		return nil, SyntaxErrors{{1, 1, fmt.Sprintf("the text is larger than %d bytes", MaxSource)}}
	}
	var errs SyntaxErrors
	var where markup
	t := &Template{part: part, size: len(source)}
	at := position{line: 1, col: 1}
	for rest := source; ; {
		open := strings.Index(rest, "{{")
		if open < 0 {
			t.pieces = append(t.pieces, piece{text: rest})
			break
		}
		p := piece{text: rest[:open]}
		at.pass(p.text)
		where.pass(p.text)
		value, n, msg := placeholder(rest[open:])
		value.Line, value.Col = at.line, at.col
		if part == HTML && msg == "" {
			p.place, msg = where.place()
		}
		if msg != "" && len(errs) < maxErrors {
			errs = append(errs, &SyntaxError{at.line, at.col, msg})
		}
		p.value = value
		t.pieces = append(t.pieces, p)
		at.pass(rest[open : open+n])
		rest = rest[open+n:]
	}
	if errs != nil {
		return nil, errs
	}
	return t, nil
}

// position is a place in a text.
type position struct{ line, col int }

func (p *position) pass(text string) {
	if n := strings.Count(text, "\n"); n > 0 {
		p.line += n
		p.col = 1
		text = text[strings.LastIndexByte(text, '\n')+1:]
	}
	p.col += utf8.RuneCountInString(text)
}

// placeholder reads the one that s begins with, n bytes of it. msg says what
// is wrong with it.
func placeholder(s string) (p Placeholder, n int, msg string) {
	opening, closing := "{{", "}}"
	if strings.HasPrefix(s, "{{{") {
		opening, closing = "{{{", "}}}"
	}
	inner, _, closed := strings.Cut(s[len(opening):], closing)
	if !closed {
		return p, len(s), fmt.Sprintf("a placeholder is not closed: %s is missing", closing)
	}
	p.Name, p.Fallback, p.HasFallback = strings.Cut(inner, "|")
	p.Name, p.Fallback = strings.TrimSpace(p.Name), strings.TrimSpace(p.Fallback)
	switch {
	case p.Name == "":
		msg = "a placeholder has no name"
	case len(p.Name) > maxName:
		msg = fmt.Sprintf("the name of a placeholder is longer than %d bytes", maxName)
	case strings.ContainsFunc(p.Name, unusualInName), slices.Contains(strings.Split(p.Name, "."), ""):
		msg = fmt.Sprintf("%q is not the name of a variable; use a name or a path such as event.plan", p.Name)
	case strings.Contains(p.Fallback, "{{"):
		msg = "a fallback is text as it stands; it cannot hold another placeholder"
	}
	return p, len(opening) + len(inner) + len(closing), msg
}

func unusualInName(r rune) bool {
	return unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune("{}<>\"'#/^&!", r)
}

// Placeholders lists the placeholders in order; a name may occur more than
// once.
func (t *Template) Placeholders() (list []Placeholder) {
	for _, p := range t.pieces {
		if p.value.Name != "" {
			list = append(list, p.value)
		}
	}
	return list
}

// Render replaces the placeholders by what find says they stand for: text, a
// number, true or false, Markup, or a list or an object, which become JSON.
// Where it finds nil the error is a *MissingError; its own errors end the
// rendering. Fallbacks are for find to use. A result over MaxRendered is a
// *TooLargeError.
func (t *Template) Render(find func(Placeholder) (any, error)) (string, error) {
	var out strings.Builder
	out.Grow(t.size + t.size/8)
	for i := range t.pieces {
		p := &t.pieces[i]
		out.WriteString(p.text)
		if p.value.Name == "" {
			continue
		}
		value, err := find(p.value)
		if err != nil {
			return "", err
		}
		if value == nil {
			return "", &MissingError{p.value.Name}
		}
		out.WriteString(t.part.safe(value, p.place))
		if out.Len() > MaxRendered {
			return "", &TooLargeError{}
		}
	}
	return out.String(), nil
}

// safe spells a value so that it is harmless where it goes.
func (part Part) safe(value any, at place) string {
	html, isMarkup := value.(Markup)
	switch {
	case part == HTML && isMarkup && at == betweenTags:
		return string(html)
	case part != HTML && isMarkup:
		value = TextFromHTML(string(html))
	}
	text := valueText(value)
	switch part {
	case HTML:
		return at.escape(text)
	case Subject:
		return strings.Map(oneLine, text)
	}
	return text
}

// oneLine makes spaces of what could end a line.
func oneLine(r rune) rune {
	if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
		return ' '
	}
	return r
}

// escape makes text of whatever is in s, wherever a placeholder may stand.
func (c place) escape(s string) string {
	s = html.EscapeString(s)
	if c == inComment {
		s = strings.ReplaceAll(s, "-", "&#45;") // two could end the comment
	}
	return s
}

func valueText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case Markup:
		return string(v)
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
