package cmd

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"

	"github.com/opensend/opensend/automations/mail"
)

// dns looks at what the domains that mail is sent from say of it.
func (d *doctor) dns() {
	keys, err := d.cfg.dkimKeys()
	if err != nil {
		d.say("DKIM", failing, "make a key with opensend dkim generate", "%s", err)
	}
	var domains []string
	if from, err := mail.ParseAddress(d.cfg.Mail.From); d.cfg.Mail.From != "" && err == nil {
		domains = append(domains, strings.ToLower(from.Domain()))
	}
	for _, k := range keys {
		if !slices.Contains(domains, k.Domain) {
			domains = append(domains, k.Domain)
		}
	}
	if len(domains) == 0 {
		d.say("DNS", warning, "set mail.from in the configuration", "no domain is configured to send from")
	}
	for _, domain := range domains {
		d.spf(domain)
		d.dmarc(domain)
	}
	for _, k := range keys {
		d.dkim(k)
	}
	if len(keys) == 0 && len(domains) > 0 {
		d.say("DKIM", warning, "opensend dkim generate, unless your mail server signs", "mail is not signed here")
	}
}

// records reads the TXT records of a name; none is no error.
func (d *doctor) records(name string) ([]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), lookTimeout)
	defer cancel()
	found, err := d.resolver.LookupTXT(ctx, name+".")
	if failure, ok := errors.AsType[*net.DNSError](err); ok && failure.IsNotFound {
		return nil, nil
	}
	return found, err
}

// policy finds the records of a name that begin with a version, and says so when
// there is not exactly one.
func (d *doctor) policy(check, name, version, do string) (text string, ok bool) {
	found, err := d.records(name)
	if err != nil {
		d.say(check, warning, "check that this machine can ask the DNS", "%s could not be looked up: %s", name, err)
		return "", false
	}
	found = slices.DeleteFunc(found, func(text string) bool {
		return !strings.HasPrefix(strings.ToLower(text), strings.ToLower(version))
	})
	switch len(found) {
	case 0:
		d.say(check, warning, do, "%s has no record", name)
		return "", false
	case 1:
		return found[0], true
	}
	d.say(check, failing, "keep one of them", "%s has %d records, so that none counts", name, len(found))
	return "", false
}

func (d *doctor) spf(domain string) {
	text, ok := d.policy("SPF", domain, "v=spf1", "publish the record that your mail server's operator tells you")
	switch {
	case !ok:
	case strings.HasSuffix(strings.TrimSpace(text), "+all"):
		d.say("SPF", warning, "end it with ~all or -all", "%s lets everybody send: %s", domain, text)
	default:
		d.say("SPF", fine, "", "%s has %s", domain, text)
	}
}

// dmarc looks at the domain and, as receivers do, at those above it.
func (d *doctor) dmarc(domain string) {
	for name := domain; strings.Contains(name, "."); _, name, _ = strings.Cut(name, ".") {
		found, err := d.records("_dmarc." + name)
		if err == nil && slices.ContainsFunc(found, func(text string) bool { return strings.HasPrefix(text, "v=DMARC1") }) {
			if text, ok := d.policy("DMARC", "_dmarc."+name, "v=DMARC1", ""); ok {
				d.say("DMARC", fine, "", "_dmarc.%s has %s", name, text)
			}
			return
		}
	}
	d.policy("DMARC", "_dmarc."+domain, "v=DMARC1", `publish at least "v=DMARC1; p=none": large mailbox providers ask for it`)
}

// dkim compares a key with what is published of it.
func (d *doctor) dkim(k mail.DKIMKey) {
	name, want, err := k.Record()
	if err != nil {
		d.say("DKIM", failing, "make another key with opensend dkim generate", "%s: %s", k.Domain, err)
		return
	}
	found, err := d.records(name)
	switch {
	case err != nil:
		d.say("DKIM", warning, "check that this machine can ask the DNS", "%s could not be looked up: %s", name, err)
	case len(found) == 0:
		d.say("DKIM", failing, "publish what opensend dkim records prints", "%s has no record, so that signatures are worth nothing", name)
	case !slices.ContainsFunc(found, func(text string) bool { return dkimTag(text, "p") == dkimTag(want, "p") }):
		d.say("DKIM", failing, "publish what opensend dkim records prints", "%s has another key than the one that signs", name)
	default:
		d.say("DKIM", fine, "", "%s has the key that signs", name)
	}
}

// dkimTag is the value of a tag of a record, without the spaces in it.
func dkimTag(record, name string) string {
	for tag := range strings.SplitSeq(record, ";") {
		if key, value, ok := strings.Cut(tag, "="); ok && strings.TrimSpace(key) == name {
			return strings.Join(strings.Fields(value), "")
		}
	}
	return ""
}
