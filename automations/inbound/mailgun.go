package inbound

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"time"

	"github.com/opensend/opensend/automations"
)

// Mailgun reads a webhook of Mailgun (events failed and complained). Mailgun
// signs a timestamp and a token, HMAC-SHA256 in hexadecimal, and not what it
// says; so a token must be taken once only.
func (p *Providers) Mailgun(body []byte, now time.Time) (Delivery, error) {
	if p.cfg.MailgunSigningKey == "" {
		return Delivery{}, off("mailgun.signing_key")
	}
	var m struct {
		Signature struct{ Timestamp, Token, Signature string }
		Event     mailgunEvent `json:"event-data"`
	}
	if !decode(body, &m) {
		return Delivery{}, unreadable("Mailgun")
	}
	s := m.Signature
	mac := hmac.New(sha256.New, []byte(p.cfg.MailgunSigningKey))
	mac.Write([]byte(s.Timestamp + s.Token))
	if given, err := hex.DecodeString(s.Signature); err != nil || !hmac.Equal(given, mac.Sum(nil)) {
		return Delivery{}, forged("the signature is not Mailgun's; set mail.inbound.mailgun.signing_key to the webhook signing key of the account")
	}
	seconds, err := strconv.ParseInt(s.Timestamp, 10, 64)
	if err != nil || s.Token == "" || !inWindow(time.Unix(seconds, 0), now) {
		return Delivery{}, forged("the webhook is older than 12 hours, or the clock of this machine is wrong")
	}
	// What is signed has no separator: both parts are in the key.
	d := Delivery{Key: s.Timestamp + " " + s.Token, Hash: hashOf(body)}
	if r, ok := m.Event.report(); ok {
		d.Reports = []Report{r}
	}
	return d, nil
}

type mailgunEvent struct {
	Event, Severity, Reason, Recipient string
	Message                            struct {
		Headers struct {
			MessageID string `json:"message-id"`
		}
	}
	Status struct {
		Code                 int
		Message, Description string
		Enhanced             string `json:"enhanced-code"`
	} `json:"delivery-status"`
}

func (e mailgunEvent) report() (r Report, ok bool) {
	words := e.Status.Message
	if words == "" {
		words = e.Status.Description
	}
	o := outcome{status: e.Status.Enhanced, words: words, code: e.Status.Code}
	switch {
	case e.Event == "failed" && e.Severity == "temporary":
		r.Report = o.report(automations.ReportDelayed, "mailgun")
	case e.Event == "failed":
		r.Report = o.report(automations.ReportBounced, "mailgun")
		r.NoSuchAddress = r.NoSuchAddress || e.Reason == "suppress-bounce" // it bounced before, by its own list
	case e.Event == "complained":
		r.Report = automations.Report{Kind: automations.ReportComplained, Source: "mailgun"}
	default:
		return r, false
	}
	r.Recipients, r.Signed = identities(e.Recipient), true
	if id := e.Message.Headers.MessageID; id != "" {
		r.MessageIDs = []string{id}
	}
	return r, r.Recipients != nil
}
