package automations

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/opensend/opensend/automations/mail"
)

// Kind classes an Error by what the reader can do about it. Each dialect of
// the server maps kinds to status codes in one table.
type Kind uint8

// The kinds of Error.
const (
	KindInvalid        Kind = iota + 1 // the input breaks a rule; correct it
	KindMissing                        // a required field is absent
	KindMalformed                      // the body is not one strict JSON value
	KindNotFound                       // nothing has that id or name
	KindConflict                       // the present state forbids it
	KindTooLarge                       // the body is over the limit
	KindUnsupported                    // the body is of a media type nobody reads
	KindUnauthorized                   // no credentials, or none that are valid
	KindForbidden                      // valid credentials that do not reach this far
	KindKeyInvalid                     // the Idempotency-Key itself is malformed
	KindKeyConflict                    // the Idempotency-Key was used for something else
	KindRateLimited                    // too many requests; try again later
	KindUnavailable                    // full, overloaded or stopping; try again later
	KindMethodNotFound                 // the path exists, the method does not
)

// Error is the one kind of error whose text a user may read. Everything that
// is not an *Error is internal and never leaves the program.
type Error struct {
	Kind    Kind
	Code    string        // the exact case, such as "event_name_taken"; empty where the kind says it all
	Field   string        // path of the offending field, such as "payload.meta.source"; may be empty
	Msg     string        // one sentence that says what to do
	Details []Detail      // every problem found, the first of them repeated in Field and Msg
	Wait    time.Duration // of KindRateLimited and KindUnavailable: when to try again; zero is in a moment
}

// Detail is one problem of several found in the same input.
type Detail struct {
	Path    string `json:"path"`
	Message string `json:"message"`
	Line    int    `json:"line,omitempty"` // within a text of several lines, from 1
	Column  int    `json:"column,omitempty"`
}

func (e *Error) Error() string { return e.Msg }

// Errorf makes an Error without a field.
func Errorf(kind Kind, code, format string, args ...any) *Error {
	return &Error{Kind: kind, Code: code, Msg: fmt.Sprintf(format, args...)}
}

// IsKind reports whether err is, or wraps, an Error of the kind.
func IsKind(err error, kind Kind) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Kind == kind
}

// Problems collects everything wrong with one input, so that the caller can
// mend it in one go.
type Problems struct {
	first    Error
	all      []Detail
	mistyped []string // paths of members of the wrong type, of which no more can be said
}

// maxProblems bounds the details of one answer, whatever the input.
const maxProblems = 100

// Add records that the field at path breaks a rule. code may be empty.
func (p *Problems) Add(code, path, format string, args ...any) {
	p.add(KindInvalid, code, Detail{Path: path, Message: fmt.Sprintf(format, args...)})
}

// AddSyntax records that the text at path breaks a rule at a place in it.
func (p *Problems) AddSyntax(code, path string, e *mail.SyntaxError) {
	p.add(KindInvalid, code, Detail{Path: path, Message: e.Error(), Line: e.Line, Column: e.Col})
}

// mistype records that the member at path is not what it must be, such as "a
// string". Whatever is said of its value after that is left out.
func (p *Problems) mistype(path, what string) {
	p.Add("", path, "%s must be %s", path, what)
	p.mistyped = append(p.mistyped, path)
}

// Missing records that a required field is absent.
func (p *Problems) Missing(code, path string) {
	p.add(KindMissing, code, Detail{Path: path, Message: path + " is required"})
}

// Include records the problems of a nested value below prefix; err may be nil.
// An error that is not an *Error is recorded as one problem at prefix.
func (p *Problems) Include(prefix string, err error) {
	if err == nil {
		return
	}
	e, ok := errors.AsType[*Error](err)
	if !ok {
		p.add(KindInvalid, "", Detail{Path: prefix, Message: err.Error()})
		return
	}
	if len(e.Details) == 0 {
		p.add(e.Kind, e.Code, Detail{Path: JoinPath(prefix, e.Field), Message: e.Msg})
		return
	}
	first := len(p.all) == 0
	for _, d := range e.Details {
		d.Path = JoinPath(prefix, d.Path)
		p.add(e.Kind, e.Code, d)
	}
	if first {
		p.first.Msg = e.Msg // it may say more than its first detail
	}
}

func (p *Problems) add(kind Kind, code string, d Detail) {
	if slices.Contains(p.mistyped, d.Path) {
		return
	}
	if len(p.all) == 0 {
		p.first = Error{Kind: kind, Code: code, Field: d.Path, Msg: d.Message}
	}
	if len(p.all) < maxProblems {
		p.all = append(p.all, d)
	}
}

// Err is nil when nothing was recorded, else one *Error: the first problem,
// with all of them in its details.
func (p *Problems) Err() error {
	if len(p.all) == 0 {
		return nil
	}
	e := p.first
	e.Details = p.all
	return &e
}

// JoinPath joins two field paths with a dot, leaving out empty ones. An index
// such as "[3]" is joined without the dot.
func JoinPath(prefix, path string) string {
	switch {
	case prefix == "":
		return path
	case path == "":
		return prefix
	case strings.HasPrefix(path, "["):
		return prefix + path
	}
	return prefix + "." + path
}
