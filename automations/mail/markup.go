package mail

import "strings"

// place is where in HTML a placeholder stands. Text with its special
// characters escaped is only text in each of them.
type place byte

const (
	betweenTags place = iota
	inAttribute       // within the quotes of an attribute's value
	inComment         // mail programs read some comments as HTML
	inRaw             // style, title and the like
)

// markup follows HTML text piece by piece, as far as it takes to know where a
// piece ends: it knows the states of a browser's tokenizer (WHATWG HTML,
// section 13.2.5) in which a value would be anything but text.
type markup struct {
	state   state
	quote   byte   // of the attribute's value
	tag     string // name of the tag being read, or of the raw element
	closing bool   // the tag is an end tag
	dashes  int    // in a row, within a comment
	bang    bool   // "--!" was read
}

type state byte

const (
	dataState        state = iota
	tagOpenState           // behind "<"
	endTagOpenState        // behind "</"
	declarationState       // behind "<!", or its first "-"
	bogusState             // a doctype or a broken comment: all to the next ">"
	commentState           // behind "<!--"
	tagNameState
	tagSpaceState // between attributes
	attrNameState
	attrSpaceState  // behind an attribute's name
	attrEqualsState // behind its "="
	attrQuotedState
	attrBareState
	rawState        // within an element whose content has no tags
	rawTagOpenState // behind "<" in it
	rawEndTagState  // behind "</" in it, or within the name
)

// rawElements have no tags in them but their own end.
const rawElements = " script style title textarea xmp iframe noembed noframes plaintext "

// pass reads literal text.
func (m *markup) pass(text string) {
	for i := 0; i < len(text); i++ {
		if m.state == dataState { // most of a text
			next := strings.IndexByte(text[i:], '<')
			if next < 0 {
				return
			}
			i += next
		}
		m.next(lower(text[i]))
	}
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' }

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' }

// next reads one character.
func (m *markup) next(c byte) {
	switch m.state {
	case dataState:
		if c == '<' {
			m.state = tagOpenState
		}
	case tagOpenState, endTagOpenState:
		m.open(c)
	case declarationState:
		m.declare(c)
	case bogusState:
		if c == '>' {
			m.state = dataState
		}
	case commentState:
		m.comment(c)
	case rawState, rawTagOpenState, rawEndTagState:
		m.raw(c)
	default:
		m.inTag(c)
	}
}

func (m *markup) open(c byte) {
	ending := m.state == endTagOpenState
	switch {
	case isLetter(c):
		m.state, m.tag, m.closing = tagNameState, string(rune(c)), ending
	case c == '/' && !ending:
		m.state = endTagOpenState
	case c == '!' && !ending:
		m.state, m.dashes = declarationState, 0
	case ending && c == '>':
		m.state = dataState
	case ending || c == '?':
		m.state = bogusState
	case c == '<':
		// the first one was text
	default:
		m.state = dataState
	}
}

func (m *markup) declare(c byte) {
	switch {
	case c == '-' && m.dashes == 1:
		m.state, m.dashes, m.bang = commentState, 2, false // "<!-->" is whole
	case c == '-':
		m.dashes = 1
	case c == '>':
		m.state = dataState
	default:
		m.state = bogusState
	}
}

func (m *markup) comment(c byte) {
	switch {
	case c == '>' && (m.dashes >= 2 || m.bang):
		m.state = dataState
	case c == '-':
		m.dashes, m.bang = m.dashes+1, false
	default:
		m.bang = c == '!' && m.dashes >= 2
		m.dashes = 0
	}
}

// inTag reads on in a tag.
func (m *markup) inTag(c byte) {
	switch {
	case m.state == attrQuotedState:
		if c == m.quote {
			m.state = tagSpaceState
		}
	case m.state == attrEqualsState && (c == '"' || c == '\''):
		m.state, m.quote = attrQuotedState, c
	case c == '>':
		m.endTag()
	case m.state == tagNameState && !isSpace(c) && c != '/':
		m.name(c)
	case m.state == attrBareState && !isSpace(c), m.state == attrEqualsState && isSpace(c):
	case m.state == attrEqualsState:
		m.state = attrBareState
	case (m.state == attrNameState || m.state == attrSpaceState) && c == '=':
		m.state = attrEqualsState
	case m.state == attrNameState && isSpace(c), m.state == attrSpaceState && isSpace(c):
		m.state = attrSpaceState
	case isSpace(c), c == '/':
		m.state = tagSpaceState
	default:
		m.state = attrNameState
	}
}

// name adds to the tag's name; no name that matters is as long as the limit.
func (m *markup) name(c byte) {
	if len(m.tag) < 32 {
		m.tag += string(rune(c))
	}
}

func (m *markup) endTag() {
	m.state = dataState
	if !m.closing && strings.Contains(rawElements, " "+m.tag+" ") {
		m.state = rawState
	}
}

// raw reads on in a raw element, up to its end tag.
func (m *markup) raw(c byte) {
	name := m.tag[strings.IndexByte(m.tag, '/')+1:] // once "/" is read, tag is the element and what its end tag has so far
	switch element, _, _ := strings.Cut(m.tag, "/"); {
	case c == '<':
		m.state, m.tag = rawTagOpenState, element
	case m.state == rawTagOpenState && c == '/':
		m.state, m.tag = rawEndTagState, element+"/"
	case m.state == rawEndTagState && isLetter(c):
		m.name(c)
	case m.state == rawEndTagState && name == element && (c == '>' || c == '/' || isSpace(c)):
		m.tag, m.closing, m.state = element, true, tagNameState
		m.inTag(c)
	default:
		m.state, m.tag = rawState, element
	}
}

// place is where a placeholder behind what was read stands. msg says why
// none may: its value could become more than text there.
func (m *markup) place() (at place, msg string) {
	switch m.state {
	case dataState:
		return betweenTags, ""
	case attrQuotedState:
		return inAttribute, ""
	case commentState, bogusState:
		return inComment, ""
	case rawState:
		if m.tag == "script" {
			return 0, "a placeholder cannot stand in a script; mail programs do not run it"
		}
		return inRaw, ""
	case tagOpenState, endTagOpenState, declarationState, rawTagOpenState, rawEndTagState:
		return 0, "a placeholder cannot stand right behind <; write &lt; for the sign itself"
	}
	return 0, `a placeholder in a tag stands within the quotes of an attribute's value, as in href="{{url}}"`
}
