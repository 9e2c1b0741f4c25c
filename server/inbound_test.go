package server

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opensend/opensend/automations/engine"
	"github.com/opensend/opensend/automations/inbound"
	"github.com/opensend/opensend/automations/mail"
)

// delivered is a mail server that takes everything, and gives each mail a name
// of its own as providers do.
type delivered struct{ n int }

func (d *delivered) Send(context.Context, mail.Envelope) (mail.Reply, error) {
	d.n++
	return mail.Reply{Code: 250, Text: fmt.Sprintf("Ok provider-id-%d", d.n)}, nil
}

var providers = inbound.Config{SESTopics: []string{"arn:aws:sns:eu-west-1:123456789012:bounces"}, PostmarkSecret: "correct horse battery", MailgunSigningKey: "0123456789abcdef0123456789abcdef"}

// withMail runs a test on a server that sends.
func withMail(t *testing.T, test func(*testing.T, *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		test(t, newRigWith(t, Config{Inbound: providers}, func(c *engine.Config) { c.Sender = &delivered{} }))
	})
}

// sent sends a mail and returns its id and Message-ID.
func (r *rig) sent(to string) (id, messageID string) {
	r.t.Helper()
	id = r.do(http.MethodPost, "/emails", `{"to":`+to+`,"subject":"Hi","text":"x"}`).want(200).text("id")
	synctest.Wait()
	return id, r.do(http.MethodGet, "/emails/"+id, "").want(200).has("status", "sent").has("last_event", "sent").has("reports.0", nil).text("message_id")
}

// dsn is a delivery report about one recipient.
func dsn(messageID, recipient, action, status, words string) string {
	return "From: MAILER-DAEMON@mx.example.org\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n" +
		"--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example.org\r\n\r\nFinal-Recipient: rfc822; " + recipient +
		"\r\nAction: " + action + "\r\nStatus: " + status + "\r\nDiagnostic-Code: smtp; " + words +
		"\r\n\r\n--b\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: <" + messageID + ">\r\n\r\n--b--\r\n"
}

func arf(messageID, recipient string) string {
	return "From: fbl@isp.example\r\nContent-Type: multipart/report; report-type=feedback-report; boundary=b\r\n\r\n" +
		"--b\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\n" + recipient +
		"\r\n--b\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: <" + messageID + ">\r\n\r\n--b--\r\n"
}

func (r *rig) report(message string) *reply {
	r.t.Helper()
	return r.do(http.MethodPost, "/mail/inbound", message, "Content-Type", "message/rfc822")
}

func (r *rig) suppressed(address string) bool {
	r.t.Helper()
	return r.do(http.MethodGet, "/suppressions/"+address, "").status == http.StatusOK
}

func TestBounce(t *testing.T) {
	withMail(t, func(t *testing.T, r *rig) {
		contact := r.do(http.MethodPost, "/contacts", `{"email":"ada@example.org"}`).want(201).has("suppression", nil)
		id, messageID := r.sent(`"ada@example.org"`)
		r.report(dsn(messageID, "Ada@Example.org", "delayed", "4.4.1", "no connection")).want(200).has("data.0.outcome", "recorded").has("data.0.email_id", id)
		r.do(http.MethodGet, "/emails/"+id, "").has("status", "sent").has("last_event", "delivery_delayed").has("reports.0.kind", "delayed").has("reports.0.address", "ada@example.org")
		if r.suppressed("ada@example.org") {
			t.Fatal("a delay suppressed the address")
		}
		for status, words := range map[string]string{"5.2.2": "552 mailbox full", "5.7.1": "550 not from you, unknown sender", "4.4.7": "expired"} {
			r.report(dsn(messageID, "ada@example.org", "failed", status, words)).want(200).has("data.0.outcome", "recorded").has("data.0.kind", "bounced")
		}
		if r.suppressed("ada@example.org") {
			t.Fatal("what may pass suppressed the address")
		}
		bounce := dsn(messageID, "ada@example.org", "failed", "5.1.1", "550 5.1.1 user unknown")
		r.report(bounce).want(200).has("data.0.object", "mail_report").has("data.0.outcome", "suppressed").has("data.0.no_such_address", true).has("data.0.text", "550 5.1.1 user unknown").has("data.0.source", "dsn")
		r.do(http.MethodGet, "/emails/"+id, "").has("status", "sent").has("last_event", "bounced").has("reports.4.status", "5.1.1").has("reports.4.no_such_address", true)
		r.do(http.MethodGet, "/suppressions/ada@example.org", "").want(200).has("origin", "bounce").has("source_id", id)
		for _, path := range []string{"/contacts/" + contact.text("id"), "/contacts/ada@example.org"} {
			r.do(http.MethodGet, path, "").want(200).has("suppression.origin", "bounce").has("suppression.source_id", id)
		}
		r.do(http.MethodGet, "/contacts", "").want(200).has("data.0.suppression.origin", "bounce")
		r.do(http.MethodPatch, "/contacts/ada@example.org", `{"first_name":"Ada"}`).want(200).has("suppression.origin", "bounce")
		again := r.do(http.MethodPost, "/emails", `{"to":"ada@example.org","subject":"Hi","text":"x"}`).want(200).text("id")
		synctest.Wait()
		r.do(http.MethodGet, "/emails/"+again, "").has("status", "suppressed")

		// Whoever lifts it is not overruled by the same report.
		r.do(http.MethodDelete, "/suppressions/ada@example.org", "").want(200)
		r.report(bounce).want(200).has("data.0.outcome", "known").has("data.0.email_id", id)
		if r.suppressed("ada@example.org") {
			t.Error("a report that was known suppressed again")
		}
		r.do(http.MethodGet, "/contacts/ada@example.org", "").has("suppression", nil)

		r.report(arf(messageID, "")).want(200).has("data.0.outcome", "suppressed").has("data.0.address", "ada@example.org").has("data.0.status", nil)
		r.do(http.MethodGet, "/emails/"+id, "").has("last_event", "complained")
		r.do(http.MethodGet, "/suppressions/ada@example.org", "").want(200).has("origin", "complaint").has("source_id", id)
		r.do(http.MethodPost, "/contacts/ada@example.org/erase", "").want(200)
		r.do(http.MethodGet, "/emails/"+id, "").want(200).has("to.0", nil).has("reports.0", nil)
	})
}

// Reports that prove nothing change nothing: anybody can write one.
func TestForgedReports(t *testing.T) {
	withMail(t, func(t *testing.T, r *rig) {
		one, oneID := r.sent(`"ada@example.org"`)
		two, twoID := r.sent(`["bob@example.org","cy@example.org"]`)
		captured := r.send(r.public, r.testKey("sending_access"), http.MethodPost, "/emails", `{"to":"eve@example.org","subject":"Hi","text":"x"}`).want(200).text("id")
		queued := r.do(http.MethodPost, "/emails", `{"to":"fay@example.org","subject":"Hi","text":"x","scheduled_at":"in 1 hour"}`).want(200).text("id")
		synctest.Wait()
		idOf := func(id string) string { return r.do(http.MethodGet, "/emails/"+id, "").text("message_id") }
		for name, message := range map[string]string{
			"no Message-ID of ours":           dsn("x@example.com", "ada@example.org", "failed", "5.1.1", "550 user unknown"),
			"no Message-ID":                   strings.Replace(dsn("", "ada@example.org", "failed", "5.1.1", "550 user unknown"), "Message-ID: <>\r\n", "To: ada@example.org\r\n", 1),
			"an id that nobody has":           dsn("0199f234d3277cd89dc54fd8e5e249df@example.com", "ada@example.org", "failed", "5.1.1", "550 user unknown"),
			"the id at another domain":        dsn(strings.Replace(oneID, "@", "@x.", 1), "ada@example.org", "failed", "5.1.1", "550 user unknown"),
			"somebody who did not get it":     dsn(oneID, "bob@example.org", "failed", "5.1.1", "550 user unknown"),
			"another who did not get it":      dsn(twoID, "ada@example.org", "failed", "5.1.1", "550 user unknown"),
			"a complaint of somebody else":    arf(oneID, "Original-Rcpt-To: bob@example.org\r\n"),
			"a complaint of one of several":   arf(twoID, ""),
			"mail that was captured":          dsn(idOf(captured), "eve@example.org", "failed", "5.1.1", "550 user unknown"),
			"mail that has not left":          dsn(idOf(queued), "fay@example.org", "failed", "5.1.1", "550 user unknown"),
			"a complaint about captured mail": arf(idOf(captured), ""),
		} {
			if got := r.report(message).want(200).has("data.0.email_id", nil).text("data.0.outcome"); got != "unmatched" {
				t.Errorf("%s: %s", name, got)
			}
		}
		r.do(http.MethodGet, "/suppressions", "").want(200).has("data.0", nil)
		for _, id := range []string{one, two, captured, queued} {
			r.do(http.MethodGet, "/emails/"+id, "").has("reports.0", nil)
		}
		// The same with the right words does.
		r.report(arf(twoID, "Original-Rcpt-To: <Cy@example.org>\r\n")).want(200).has("data.0.outcome", "suppressed")
		if !r.suppressed("cy@example.org") || r.suppressed("bob@example.org") {
			t.Error("the wrong one is suppressed")
		}
		// What is erased is not known by what it was.
		r.do(http.MethodPost, "/contacts/ada@example.org/erase", "").want(200)
		r.report(dsn(oneID, "ada@example.org", "failed", "5.1.1", "550 user unknown")).want(200).has("data.0.outcome", "unmatched")
	})
}

func TestReportsAreRead(t *testing.T) {
	withMail(t, func(t *testing.T, r *rig) {
		_, messageID := r.sent(`"ada@example.org"`)
		message := dsn(messageID, "ada@example.org", "failed", "5.1.1", "550 user unknown")
		r.report("Subject: Away\r\n\r\nI am away.").want(422).has("code", "not_a_report")
		r.report(dsn(messageID, "ada@example.org", "delivered", "2.0.0", "250 OK")).want(422).has("code", "nothing_failed")
		r.do(http.MethodPost, "/mail/inbound", "", "Content-Type", "message/rfc822").want(422).has("code", "not_a_report")
		r.do(http.MethodPost, "/mail/inbound", `{}`).want(415)
		r.report(strings.Repeat("x", 1<<20+1)).want(413)
		r.send(r.public, r.newKey("events_access"), http.MethodPost, "/mail/inbound", message, "Content-Type", "message/rfc822").want(403)
		r.send(r.public, r.newKey("sending_access"), http.MethodPost, "/api/mail/inbound", message, "Content-Type", "message/rfc822").want(200).has("data.0.outcome", "suppressed")
	})
}

// A mail keeps a bounded number of reports.
func TestManyReports(t *testing.T) {
	withMail(t, func(t *testing.T, r *rig) {
		id, messageID := r.sent(`"ada@example.org"`)
		for i := range 60 {
			want := map[bool]string{true: "recorded", false: "known"}[i < 50]
			r.report(dsn(messageID, "ada@example.org", "delayed", fmt.Sprintf("4.0.%d", i), "later")).want(200).has("data.0.outcome", want)
		}
		if reports := r.do(http.MethodGet, "/emails/"+id, "").at("reports").([]any); len(reports) != 50 {
			t.Errorf("%d reports", len(reports))
		}
	})
}

// The webhooks of providers: what proves that they are theirs, and that they
// find the mail.
func TestProviders(t *testing.T) {
	withMail(t, func(t *testing.T, r *rig) {
		first, firstID := r.sent(`"ada@example.org"`)
		second, _ := r.sent(`"ada@example.org"`)
		postmark := func(kind, email, messageID string) string {
			return `{"RecordType":"Bounce","Type":"` + kind + `","Email":"` + email + `","MessageID":"` + messageID + `","Details":"550 5.1.1"}`
		}
		post := func(path, body string, header ...string) *reply {
			return r.send(r.public, "", http.MethodPost, "/mail/inbound"+path, body, header...)
		}
		basic := []string{"Authorization", "Basic cG9zdG1hcms6Y29ycmVjdCBob3JzZSBiYXR0ZXJ5"} // postmark:correct horse battery
		hard := postmark("HardBounce", "ada@example.org", "provider-id-1")
		post("/postmark", hard).want(401).has("code", "invalid_signature")
		post("/postmark?secret=wrong", hard).want(401)
		post("/postmark?secret=correct+horse+battery", hard, "Authorization", "Basic eDp5").want(401) // what is sent as the password counts
		r.do(http.MethodPost, "/mail/inbound/postmark", hard).want(401)                               // an API key is none of theirs
		post("/postmark", "{", basic...).want(400)
		post("/postmark", postmark("AutoResponder", "ada@example.org", ""), basic...).want(200).has("data.0", nil)
		post("/postmark", postmark("SoftBounce", "ada@example.org", ""), basic...).want(200).has("data.0.email_id", second).has("data.0.outcome", "recorded")
		post("/postmark?secret=correct+horse+battery", postmark("Transient", "ada@example.org", "provider-id-1")).want(200).has("data.0.email_id", first)
		post("/postmark", postmark("HardBounce", "nobody@example.org", ""), basic...).want(200).has("data.0.outcome", "unmatched")
		if r.suppressed("ada@example.org") || r.suppressed("nobody@example.org") {
			t.Fatal("suppressed too early")
		}
		post("/postmark", hard, basic...).want(200).has("data.0.email_id", first).has("data.0.outcome", "suppressed").has("data.0.source", "postmark")
		r.do(http.MethodGet, "/suppressions/ada@example.org", "").want(200).has("source_id", first)
		r.do(http.MethodDelete, "/suppressions/ada@example.org", "").want(200)

		mailgun := func(at time.Time, token, kind, email, messageID string) string {
			mac := hmac.New(sha256.New, []byte(providers.MailgunSigningKey))
			fmt.Fprintf(mac, "%d%s", at.Unix(), token)
			return fmt.Sprintf(`{"signature":{"timestamp":"%d","token":"%s","signature":"%s"},"event-data":{"event":"%s","recipient":"%s","message":{"headers":{"message-id":"%s"}}}}`,
				at.Unix(), token, hex.EncodeToString(mac.Sum(nil)), kind, email, messageID)
		}
		// It names a mail, so the address alone does not do.
		post("/mailgun", mailgun(time.Now(), "t0", "complained", "ada@example.org", "other@example.com")).want(200).has("data.0.outcome", "unmatched")
		complaint := mailgun(time.Now(), "t1", "complained", "ada@example.org", firstID)
		a := post("/mailgun", complaint).want(200).has("data.0.outcome", "suppressed").has("data.0.email_id", first)
		if b := post("/mailgun", complaint).want(200); string(b.raw) != string(a.raw) || b.header.Get("Idempotent-Replayed") != "true" {
			t.Errorf("the same again was answered %v %s", b.header, b.raw)
		}
		bob, bobID := r.sent(`"bob@example.org"`)
		stolen := strings.NewReplacer("ada@", "bob@", firstID, bobID).Replace(complaint)
		post("/mailgun", stolen).want(409).has("code", "webhook_replayed")
		time.Sleep(inbound.Window - time.Second)
		post("/mailgun", stolen).want(409)
		time.Sleep(2 * time.Second)
		post("/mailgun", stolen).want(401)
		time.Sleep(24 * time.Hour)
		post("/mailgun", stolen).want(401)
		r.do(http.MethodGet, "/emails/"+bob, "").has("reports.0", nil)
		if r.suppressed("bob@example.org") {
			t.Error("a replay suppressed somebody")
		}

		post("/ses", `{"Type":"Notification","TopicArn":"arn:aws:sns:eu-west-1:999999999999:x"}`).want(401)
		post("/ses", `x`).want(400)
	})
}

// SES as a whole, signed by a certificate of the test's own.
func TestSESWebhook(t *testing.T) {
	amazon := newAmazon(t)
	synctest.Test(t, func(t *testing.T) {
		cfg := providers
		cfg.Fetch = amazon.fetch
		r := newRigWith(t, Config{Inbound: cfg}, func(c *engine.Config) { c.Sender = &delivered{} })
		first, _ := r.sent(`"ada@example.org"`)
		_, _ = r.sent(`"ada@example.org"`)
		bounce := `{"notificationType":"Bounce","bounce":{"bounceType":"Permanent","bounceSubType":"General","bouncedRecipients":[{"emailAddress":"ada@example.org","status":"5.1.1","diagnosticCode":"smtp; 550 5.1.1 no"}]},"mail":{"messageId":"provider-id-1"}}`
		post := func(body string) *reply {
			return r.send(r.public, "", http.MethodPost, "/mail/inbound/ses", body, "Content-Type", "text/plain; charset=UTF-8")
		}
		good := amazon.notice(bounce, time.Now())
		post(strings.Replace(good, "ada@", "bob@", 1)).want(401).has("code", "invalid_signature")
		if r.suppressed("ada@example.org") {
			t.Fatal("an unsigned notice suppressed")
		}
		post(good).want(200).has("data.0.email_id", first).has("data.0.outcome", "suppressed").has("data.0.source", "ses")
		r.do(http.MethodDelete, "/suppressions/ada@example.org", "").want(200)
		if a := post(good).want(200); a.header.Get("Idempotent-Replayed") != "true" || r.suppressed("ada@example.org") {
			t.Errorf("replayed: %v", a.header)
		}
	})
}
