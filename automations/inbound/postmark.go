package inbound

import (
	"strings"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/mail"
)

// Postmark reads a webhook of Postmark (record types Bounce and SpamComplaint).
// secret is what came with it.
func (p *Providers) Postmark(secret string, body []byte) (Delivery, error) {
	if p.cfg.PostmarkSecret == "" {
		return Delivery{}, off("postmark.secret")
	}
	if !sameSecret(secret, p.cfg.PostmarkSecret) {
		return Delivery{}, forged("the secret is missing or wrong; give Postmark the address of this webhook with a user name and the secret as the password")
	}
	var m struct {
		RecordType, Type, Email, MessageID, Description, Details string
	}
	if !decode(body, &m) || m.RecordType == "" {
		return Delivery{}, unreadable("Postmark")
	}
	r := Report{
		Report:     automations.Report{Source: "postmark", Text: mail.Printable(strings.TrimSpace(m.Description + " " + m.Details))},
		Recipients: identities(m.Email), Signed: true, ProviderID: m.MessageID,
	}
	if code, ok := enhancedCode(m.Details); ok {
		r.Status = statusText(code)
	}
	switch {
	case m.RecordType == "SpamComplaint":
		r.Kind = automations.ReportComplained
	case m.RecordType == "Bounce":
		r.Kind, r.NoSuchAddress = postmarkBounce(m.Type)
	}
	if r.Kind == "" || r.Recipients == nil {
		return Delivery{}, nil
	}
	return Delivery{Reports: []Report{r}}, nil
}

// postmarkBounce puts Postmark's types of bounces into ours. Those that say
// nothing of a failure have no kind.
func postmarkBounce(kind string) (of automations.ReportKind, noSuchAddress bool) {
	switch kind {
	case "HardBounce", "BadEmailAddress":
		return automations.ReportBounced, true
	case "Transient":
		return automations.ReportDelayed, false
	case "SpamComplaint":
		return automations.ReportComplained, false
	case "SoftBounce", "DnsError", "SpamNotification", "VirusNotification", "Blocked", "ManuallyDeactivated", "SMTPApiError", "DMARCPolicy", "Unknown", "Undeliverable":
		return automations.ReportBounced, false
	}
	return "", false
}
