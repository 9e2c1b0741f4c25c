package automations

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/opensend/opensend/automations/mail"
)

const (
	maxAddress = 254 // RFC 5321, section 4.5.3.1.3, less the angle brackets
	maxLocal   = 64  // RFC 5321, section 4.5.3.1.1
)

// NormalizeEmail returns the identity of an address: trimmed, in lower case,
// its domain in ASCII. It accepts one plain address and nothing cleverer: a
// dot-atom of at most 64 bytes, "@", and a domain name with at least one dot;
// no quotes, comments, literals or display names.
func NormalizeEmail(s string) (string, error) { return normalize(s, false) }

// NormalizeMailbox is NormalizeEmail for mail that has nothing to do with a
// contact: before the @ it also takes letters and digits of other scripts, in
// Unicode's composed form. A contact cannot have such an address: two that
// look alike would be two people.
func NormalizeMailbox(s string) (string, error) { return normalize(s, true) }

func normalize(s string, anyScript bool) (string, error) {
	sent := strings.TrimSpace(s)
	text := strings.ToLower(sent)
	refused := func(why string) (string, error) {
		return "", Errorf(KindInvalid, "email_invalid", "%q is not an e-mail address: %s", shorten(text, 80), why)
	}
	if len(text) < 3 || len(text) > 512 {
		return refused("it must have 3 to 254 characters")
	}
	at := strings.LastIndexByte(text, '@')
	if at < 0 {
		return refused("it has no @")
	}
	local, domain := norm.NFC.String(text[:at]), text[at+1:]
	// What was sent is looked at: some foreign letters have an ASCII lower case.
	foreign := strings.ContainsFunc(sent[:strings.LastIndexByte(sent, '@')], func(r rune) bool {
		return r >= utf8.RuneSelf && (!anyScript || unicode.ToLower(r) < utf8.RuneSelf || !unicode.In(r, unicode.L, unicode.M, unicode.N))
	})
	if foreign || !isDotAtom(local) {
		return refused("the part before the @ may have letters, digits, single dots and !#$%&'*+-/=?^_`{|}~, 64 at most")
	}
	domain, err := mail.ASCIIDomain(domain)
	if err != nil || !isDomain(domain) {
		return refused("its domain must be a name such as example.com")
	}
	if len(local)+1+len(domain) > maxAddress {
		return refused("it must have 3 to 254 characters")
	}
	return local + "@" + domain, nil
}

// isDotAtom looks at ASCII alone.
func isDotAtom(s string) bool {
	if len(s) == 0 || len(s) > maxLocal || strings.Contains(s, "..") || s[0] == '.' || s[len(s)-1] == '.' {
		return false
	}
	for _, c := range []byte(s) {
		if c < utf8.RuneSelf && !isAlnum(c) && !strings.ContainsRune("!#$%&'*+-/=?^_`{|}~.", rune(c)) {
			return false
		}
	}
	return true
}

// isDomain accepts letter-digit-hyphen labels, two at least.
func isDomain(s string) bool {
	labels := strings.Split(s, ".")
	if len(labels) < 2 || len(s) > 253 {
		return false
	}
	for _, label := range labels {
		if len(label) == 0 || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if !isAlnum(c) && c != '-' {
				return false
			}
		}
	}
	last := labels[len(labels)-1]
	return strings.Trim(last, "0123456789") != "" // an all-digit end is an IP address
}

func isAlnum(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }
