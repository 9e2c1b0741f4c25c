package automations

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Fields are the members of a JSON object, by their exact keys. They are parts of
// the text that they were read from, which must not change. The readers
// note a member of the wrong type in Problems; to them null is absent.
type Fields map[string]json.RawMessage

// DecodeObject checks the text as CheckJSON does and returns the members of
// the object that it must be.
func DecodeObject(data []byte) (Fields, error) {
	s := scanner{data: data, members: Fields{}}
	if err := checkJSON(&s); err != nil {
		return nil, err
	}
	if !isKind(data, '{') {
		return nil, errNoObject()
	}
	return s.members, nil
}

// ObjectFields returns the members of an object that is part of checked JSON.
func ObjectFields(data []byte) (Fields, error) {
	if !isKind(data, '{') {
		return nil, errNoObject()
	}
	return DecodeObject(data)
}

func errNoObject() error { return Errorf(KindInvalid, "", "a JSON object was expected") }

// DecodeArray checks the text as CheckJSON does and returns the items of the
// array that it must be.
func DecodeArray(data []byte) (items []json.RawMessage, err error) {
	if err := CheckJSON(data); err != nil {
		return nil, err
	}
	if !isKind(data, '[') {
		return nil, Errorf(KindInvalid, "", "a JSON array was expected")
	}
	err = json.Unmarshal(data, &items)
	return items, err
}

func isKind(data []byte, open byte) bool {
	data = bytes.TrimLeft(data, " \t\r\n")
	return len(data) > 0 && data[0] == open
}

// Sent reports whether the member is there at all, null included.
func (f Fields) Sent(name string) bool { _, ok := f[name]; return ok }

// Has reports whether the member is there and not null.
func (f Fields) Has(name string) bool {
	raw, ok := f[name]
	return ok && string(raw) != "null"
}

// Raw is the first of the named members that is there and not null; nil when
// none is. The names are the spellings of one field.
func (f Fields) Raw(names ...string) json.RawMessage {
	for _, name := range names {
		if f.Has(name) {
			return f[name]
		}
	}
	return nil
}

// read decodes the field into v, noting in p when it is not a what.
func (f Fields) read(p *Problems, v any, what string, names []string) bool {
	raw := f.Raw(names...)
	if raw == nil {
		return false
	}
	if json.Unmarshal(raw, v) != nil {
		p.mistype(names[0], what)
		return false
	}
	return true
}

// String reads a text; the names are spellings of one field.
func (f Fields) String(p *Problems, names ...string) (s string) {
	if raw := f.Raw(names...); isKind(raw, '"') && bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1])
	}
	f.read(p, &s, "a string", names)
	return s
}

// Bool reads true or false; nil when it is absent.
func (f Fields) Bool(p *Problems, names ...string) *bool {
	var b bool
	if !f.read(p, &b, "true or false", names) {
		return nil
	}
	return &b
}

// Int reads a whole number; nil when it is absent.
func (f Fields) Int(p *Problems, names ...string) *int64 {
	var n int64
	if !f.read(p, &n, "a whole number", names) {
		return nil
	}
	return &n
}

// Object reads a JSON object as compact text; nil when it is absent.
func (f Fields) Object(p *Problems, names ...string) json.RawMessage {
	return f.compact(p, '{', "an object", names)
}

// Array reads a JSON array as compact text; nil when it is absent.
func (f Fields) Array(p *Problems, names ...string) json.RawMessage {
	return f.compact(p, '[', "an array", names)
}

func (f Fields) compact(p *Problems, open byte, what string, names []string) json.RawMessage {
	raw := f.Raw(names...)
	if raw == nil {
		return nil
	}
	if !isKind(raw, open) {
		p.mistype(names[0], what)
		return nil
	}
	return CompactJSON(raw)
}

// Strings reads a list of texts, or a single text as a list of one.
func (f Fields) Strings(p *Problems, names ...string) (list []string) {
	raw := f.Raw(names...)
	if isKind(raw, '"') {
		return []string{f.String(p, names...)}
	}
	f.read(p, &list, "a string or a list of strings", names)
	return list
}

// Unknown notes every member that is not one of the known names, with the
// known name it may have been meant to be. A member that is null says nothing
// and is passed over: typed clients send their absent fields so.
func (f Fields) Unknown(p *Problems, known ...string) {
	var unknown []string
	for name := range f {
		if !slices.Contains(known, name) && f.Has(name) {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	for _, name := range unknown {
		hint := ""
		if near := Nearest(name, known); near != "" {
			hint = fmt.Sprintf("; did you mean %s?", near)
		}
		p.Add("", shorten(name, 60), "%q is not a field here%s", shorten(name, 60), hint)
	}
}

// shorten cuts hostile text to a size that can be shown.
func shorten(s string, max int) string {
	if len(s) <= max {
		return s
	}
	return strings.ToValidUTF8(s[:max], "") + "…"
}

// Nearest is the known word that the given one was probably meant to be: at
// most two edits away without case. It is empty when there is none.
func Nearest(word string, known []string) string {
	best, least := "", 3
	for _, k := range known {
		if d := editDistance([]rune(strings.ToLower(word)), []rune(strings.ToLower(k)), least); d < least {
			best, least = k, d
		}
	}
	return best
}

// EditDistanceAtMostOne reports whether one insertion, deletion or replacement
// of a character, or none, makes a of b.
func EditDistanceAtMostOne(a, b string) bool { return editDistance([]rune(a), []rune(b), 2) < 2 }

// editDistance counts the edits between a and b; anything of limit and above
// is limit.
func editDistance(a, b []rune, limit int) int {
	if len(a) < len(b) {
		a, b = b, a
	}
	if len(a)-len(b) >= limit {
		return limit
	}
	for len(b) > 0 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	if len(b) == 0 {
		return min(len(a), limit)
	}
	if limit == 1 {
		return 1
	}
	best := 1 + editDistance(a[1:], b, limit-1)
	best = min(best, 1+editDistance(a, b[1:], limit-1))
	return min(best, 1+editDistance(a[1:], b[1:], limit-1))
}
