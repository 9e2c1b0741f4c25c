package automations

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
)

// MaxDepth is how deep JSON may nest.
const MaxDepth = 64

// CheckJSON reports whether data is exactly one JSON value that every reader
// understands alike: valid UTF-8, no key twice in an object, nothing behind
// it, at most MaxDepth deep. The error is of KindMalformed, or of KindInvalid
// when the value only nests too deep.
func CheckJSON(data []byte) error { return checkJSON(&scanner{data: data}) }

func checkJSON(s *scanner) error {
	if !utf8.Valid(s.data) {
		return malformed("the body is not valid UTF-8")
	}
	s.space()
	if s.at == len(s.data) {
		return malformed("the body is empty; send one JSON value")
	}
	if err := s.value(1); err != nil {
		return err
	}
	if s.space(); s.at < len(s.data) {
		return malformed("there is more than one JSON value: unexpected text at byte %d", s.at)
	}
	return nil
}

func malformed(format string, args ...any) *Error {
	return Errorf(KindMalformed, "invalid_json", format, args...)
}

// scanner walks over JSON text without decoding it.
type scanner struct {
	data []byte
	at   int
	// members, when not nil, gets those of the outermost object.
	members Fields
}

func (s *scanner) space() {
	for s.at < len(s.data) {
		switch s.data[s.at] {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return
		}
	}
}

func (s *scanner) peek() byte {
	if s.at < len(s.data) {
		return s.data[s.at]
	}
	return 0
}

func (s *scanner) unexpected() error {
	if s.at >= len(s.data) {
		return malformed("the JSON ends before it is complete")
	}
	return malformed("the JSON has an unexpected character at byte %d", s.at)
}

func (s *scanner) value(depth int) error {
	switch c := s.peek(); {
	case c == '{' || c == '[':
		if depth > MaxDepth {
			return Errorf(KindInvalid, "nesting_too_deep", "the JSON nests deeper than %d levels", MaxDepth)
		}
		if c == '{' {
			return s.object(depth)
		}
		return s.array(depth)
	case c == '"':
		_, err := s.text()
		return err
	case c == '-' || c >= '0' && c <= '9':
		return s.number()
	}
	for _, word := range [...]string{"true", "false", "null"} {
		if bytes.HasPrefix(s.data[s.at:], []byte(word)) {
			s.at += len(word)
			return nil
		}
	}
	return s.unexpected()
}

func (s *scanner) array(depth int) error {
	s.at++
	if s.space(); s.peek() == ']' {
		s.at++
		return nil
	}
	for {
		s.space()
		if err := s.value(depth + 1); err != nil {
			return err
		}
		s.space()
		switch s.peek() {
		case ',':
			s.at++
		case ']':
			s.at++
			return nil
		default:
			return s.unexpected()
		}
	}
}

// fewKeys is up to how many keys of an object are compared one by one.
const fewKeys = 16

func (s *scanner) object(depth int) error {
	var few [fewKeys]string
	var many map[string]bool
	s.at++
	if s.space(); s.peek() == '}' {
		s.at++
		return nil
	}
	for n := 0; ; n++ {
		s.space()
		key, err := s.text()
		if err != nil {
			return err
		}
		if many == nil && n == fewKeys {
			many = make(map[string]bool)
			for _, k := range few {
				many[k] = true
			}
		}
		twice := many[key]
		if many != nil {
			many[key] = true
		} else {
			for _, k := range few[:n] {
				twice = twice || k == key
			}
			few[n] = key
		}
		if twice {
			return malformed("the key %.60q stands twice in one object", key)
		}
		s.space()
		if s.peek() != ':' {
			return s.unexpected()
		}
		s.at++
		s.space()
		start := s.at
		if err := s.value(depth + 1); err != nil {
			return err
		}
		if depth == 1 && s.members != nil {
			s.members[key] = s.data[start:s.at:s.at]
		}
		s.space()
		switch s.peek() {
		case ',':
			s.at++
		case '}':
			s.at++
			return nil
		default:
			return s.unexpected()
		}
	}
}

// text passes a string and returns it, decoded where it has escapes.
func (s *scanner) text() (string, error) {
	if s.peek() != '"' {
		return "", s.unexpected()
	}
	start, escaped := s.at, false
	for s.at++; s.at < len(s.data); s.at++ {
		switch c := s.data[s.at]; {
		case c == '"':
			s.at++
			if !escaped {
				return string(s.data[start+1 : s.at-1]), nil
			}
			var decoded string
			if json.Unmarshal(s.data[start:s.at], &decoded) != nil {
				return "", malformed("the JSON has an invalid escape in the string at byte %d", start)
			}
			return decoded, nil
		case c == '\\':
			escaped = true
			s.at++
		case c < ' ':
			return "", s.unexpected()
		}
	}
	return "", s.unexpected()
}

func (s *scanner) number() error {
	if s.peek() == '-' {
		s.at++
	}
	if s.peek() == '0' {
		s.at++
	} else if !s.digits() {
		return s.unexpected()
	}
	if s.peek() == '.' {
		s.at++
		if !s.digits() {
			return s.unexpected()
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.at++
		if c := s.peek(); c == '+' || c == '-' {
			s.at++
		}
		if !s.digits() {
			return s.unexpected()
		}
	}
	return nil
}

func (s *scanner) digits() bool {
	start := s.at
	for c := s.peek(); c >= '0' && c <= '9'; c = s.peek() {
		s.at++
	}
	return s.at > start
}

// EncodeJSON writes JSON with the texts in it as they are: json.Marshal would
// rewrite <, > and &, also in what came from outside.
func EncodeJSON(v any) (json.RawMessage, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// CompactJSON removes the white space between tokens and nothing else. data
// must be valid.
func CompactJSON(data []byte) json.RawMessage {
	var buf bytes.Buffer
	buf.Grow(len(data))
	if json.Compact(&buf, data) != nil {
		return data
	}
	return buf.Bytes()
}
