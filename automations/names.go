package automations

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// ReservedEventName reports whether the name begins with a prefix that is kept
// for events of the program itself.
func ReservedEventName(name string) bool {
	name = strings.ToLower(strings.TrimSpace(name))
	return strings.HasPrefix(name, "resend:") || strings.HasPrefix(name, "opensend:")
}

// CheckEventName checks a name that somebody gives to an event: 1..max
// characters, not blank, no control characters, not reserved.
func CheckEventName(name string, max int) error {
	switch {
	case strings.TrimSpace(name) == "":
		return Errorf(KindInvalid, "event_name_required", "the event name is empty; name what happened, such as user.signed_up")
	case utf8.RuneCountInString(name) > max:
		return Errorf(KindInvalid, "event_name_too_long", "the event name has %d characters; %d are allowed", utf8.RuneCountInString(name), max)
	case strings.ContainsFunc(name, unicode.IsControl):
		return Errorf(KindInvalid, "event_name_invalid", "the event name has control characters; leave them out")
	case ReservedEventName(name):
		return Errorf(KindInvalid, "event_name_reserved", "event names that begin with resend: or opensend: are reserved; choose another")
	}
	return nil
}

// CheckText notes when a text has more than max characters, or characters that
// could break the line of a mail header.
func CheckText(p *Problems, path, text string, max int) {
	if utf8.RuneCountInString(text) > max {
		p.Add("", path, "%s may have %d characters", path, max)
	}
	if strings.ContainsFunc(text, unicode.IsControl) {
		p.Add("", path, "%s has control characters; leave them out", path)
	}
}
