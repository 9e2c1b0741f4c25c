package automations

import (
	"strings"

	"golang.org/x/net/idna"
)

const (
	maxAddress = 254 // RFC 5321, section 4.5.3.1.3, less the angle brackets
	maxLocal   = 64  // RFC 5321, section 4.5.3.1.1
)

// NormalizeEmail returns the identity of an address: trimmed, in lower case,
// its domain in ASCII. It accepts one plain address and nothing cleverer: a
// dot-atom of at most 64 bytes, "@", and a domain name with at least one dot;
// no quotes, comments, literals or display names.
func NormalizeEmail(s string) (string, error) {
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
	local, domain := text[:at], text[at+1:]
	// What was sent is looked at: some foreign letters have an ASCII lower case.
	if !isASCII(sent[:strings.LastIndexByte(sent, '@')]) || !isDotAtom(local) {
		return refused("the part before the @ may have letters, digits, single dots and !#$%&'*+-/=?^_`{|}~, 64 at most")
	}
	if !isASCII(domain) {
		ascii, err := idna.Lookup.ToASCII(domain)
		if err != nil {
			return refused("its domain is not a valid name")
		}
		domain = strings.ToLower(ascii)
	}
	if !isDomain(domain) {
		return refused("its domain must be a name such as example.com")
	}
	if len(local)+1+len(domain) > maxAddress {
		return refused("it must have 3 to 254 characters")
	}
	return local + "@" + domain, nil
}

func isDotAtom(s string) bool {
	if len(s) == 0 || len(s) > maxLocal || strings.Contains(s, "..") || s[0] == '.' || s[len(s)-1] == '.' {
		return false
	}
	for _, c := range []byte(s) {
		if !isAlnum(c) && !strings.ContainsRune("!#$%&'*+-/=?^_`{|}~.", rune(c)) {
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

func isASCII(s string) bool {
	for _, c := range []byte(s) {
		if c >= 0x80 {
			return false
		}
	}
	return true
}
