package mail

import (
	"fmt"
	netmail "net/mail"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Address is a mailbox: an address and the name shown for it.
type Address struct {
	Name string // may be empty
	Addr string // its domain in ASCII
}

// ParseAddress reads "addr" or "Name <addr>". A domain in other letters becomes
// ASCII. Before the @ it takes letters and digits of any script: whether mail
// can go to such an address is for the mail server to say (RFC 6531).
func ParseAddress(s string) (Address, error) {
	a, err := netmail.ParseAddress(s)
	if err != nil || strings.ContainsAny(a.Name, unsafeInHeader) {
		return Address{}, notAnAddress(s)
	}
	at := strings.LastIndexByte(a.Address, '@')
	domain, err := ASCIIDomain(a.Address[at+1:])
	if err != nil || !utf8.ValidString(a.Address) || strings.ContainsFunc(a.Address[:at], unusualInLocal) {
		return Address{}, notAnAddress(s)
	}
	return Address{Name: a.Name, Addr: a.Address[:at+1] + domain}, nil
}

func notAnAddress(s string) error {
	return fmt.Errorf(`%.80q is not an address such as "Ada <ada@example.com>"`, s)
}

// unusualInLocal are the characters that stand before an @ in quotes only, or
// not at all.
func unusualInLocal(r rune) bool {
	if r < utf8.RuneSelf {
		return r <= ' ' || r == 0x7f || strings.ContainsRune(`"(),:;<>@[\]`, r)
	}
	return !unicode.In(r, unicode.L, unicode.M, unicode.N)
}

// ASCIIDomain is the spelling of a domain that every mail server and the DNS
// take (RFC 5891). A name in ASCII stays as it is.
func ASCIIDomain(domain string) (string, error) {
	if strings.HasPrefix(domain, "[") {
		return "", fmt.Errorf("%.80q is not the name of a domain", domain)
	}
	if isASCII(domain) {
		return domain, nil
	}
	ascii, err := idna.Lookup.ToASCII(domain)
	if err != nil {
		return "", fmt.Errorf("%.80q is not the name of a domain", domain)
	}
	return strings.ToLower(ascii), nil
}

func isASCII[T string | []byte](s T) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// Domain is what follows the @.
func (a Address) Domain() string { return a.Addr[strings.LastIndexByte(a.Addr, '@')+1:] }

// String spells the address for people and for ParseAddress, its name in the
// letters it has.
func (a Address) String() string {
	switch {
	case a.Name == "":
		return a.Addr
	case strings.ContainsFunc(a.Name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return (&netmail.Address{Name: a.Name, Address: a.Addr}).String()
	}
	return inQuotes(a.Name) + " <" + a.Addr + ">"
}

// inQuotes makes a quoted string (RFC 5322, section 3.2.4) of printable text.
func inQuotes(s string) string { return `"` + quotes.Replace(s) + `"` }

var quotes = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// field spells the address for a header, at the column of its line.
func (a Address) field(column int) string {
	if a.Name == "" {
		return a.Addr
	}
	name := phrase(column, a.Name)
	if end := strings.LastIndexByte(name, '\n'); end >= 0 {
		column = -end - 1
	}
	if column+len(name)+len(" <>")+len(a.Addr) > lineLength {
		return name + "\r\n <" + a.Addr + ">"
	}
	return name + " <" + a.Addr + ">"
}
