package inbound

import (
	"context"
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/opensend/opensend/automations"
)

var today = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

const (
	topic   = "arn:aws:sns:eu-west-1:123456789012:bounces"
	snsHost = "https://sns.eu-west-1.amazonaws.com"
	certURL = snsHost + "/SimpleNotificationService-0123abcd.pem"
)

// code is the code of the error that a user reads.
func code(err error) string {
	if refused, ok := errors.AsType[*automations.Error](err); ok {
		return refused.Code
	}
	return fmt.Sprint(err)
}

// amazon signs as SNS does, with a certificate of its own, and counts what it
// is asked for.
type amazon struct {
	t     testing.TB
	key   *rsa.PrivateKey
	cert  []byte
	asked []string
}

func newAmazon(t testing.TB) *amazon {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sns.amazonaws.com"}, NotBefore: today.AddDate(0, -1, 0), NotAfter: today.AddDate(0, 1, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &amazon{t: t, key: key, cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

func (a *amazon) fetch(_ context.Context, url string) ([]byte, error) {
	a.asked = append(a.asked, url)
	switch {
	case url == certURL:
		return a.cert, nil
	case strings.HasPrefix(url, snsHost+"/?Action=ConfirmSubscription"):
		return []byte("<ConfirmSubscriptionResponse/>"), nil
	case strings.HasSuffix(url, "/empty.pem"):
		return []byte("nothing"), nil
	}
	return nil, errors.New("the answer was 404")
}

// sign signs the fields of a notice, in the order that SNS's guide gives.
func (a *amazon) sign(n map[string]string) map[string]string {
	names := []string{"Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"}
	if n["Type"] != "Notification" {
		names = []string{"Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"}
	}
	text := ""
	for _, name := range names {
		if n[name] != "" {
			text += name + "\n" + n[name] + "\n"
		}
	}
	hash, sum := crypto.SHA256, sha256.Sum256([]byte(text))
	digest := sum[:]
	if n["SignatureVersion"] == "1" {
		old := sha1.Sum([]byte(text))
		hash, digest = crypto.SHA1, old[:]
	}
	signature, err := rsa.SignPKCS1v15(rand.Reader, a.key, hash, digest)
	if err != nil {
		a.t.Fatal(err)
	}
	signed := maps.Clone(n)
	signed["Signature"] = base64.StdEncoding.EncodeToString(signature)
	return signed
}

func noticeOf(message string) map[string]string {
	return map[string]string{
		"Type": "Notification", "MessageId": "5b2a", "TopicArn": topic, "Subject": "Amazon SES", "Message": message,
		"Timestamp": "2026-11-24T11:59:00.000Z", "SignatureVersion": "2", "SigningCertURL": certURL,
	}
}

func with(n map[string]string, changes ...string) map[string]string {
	n = maps.Clone(n)
	for i := 0; i < len(changes); i += 2 {
		n[changes[i]] = changes[i+1]
	}
	return n
}

// flipped is base64 with its first bit turned.
func flipped(t *testing.T, text string) string {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	raw[0] ^= 0x80
	return base64.StdEncoding.EncodeToString(raw)
}

func body(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return raw
}

const sesBounce = `{"notificationType":"Bounce","bounce":{"bounceType":"Permanent","bounceSubType":"General","bouncedRecipients":[
	{"emailAddress":"Ada <Ada@Example.org>","action":"failed","status":"5.1.1","diagnosticCode":"smtp; 550 5.1.1 user unknown"}]},
	"mail":{"messageId":"0102-ses","commonHeaders":{"messageId":"<` + theMail + `>"}}}`

func TestSES(t *testing.T) {
	a := newAmazon(t)
	p := NewProviders(Config{SESTopics: []string{"arn:aws:sns:us-east-1:123456789012:other", topic}, Fetch: a.fetch})
	for _, version := range []string{"1", "2"} {
		d, err := p.SES(t.Context(), body(a.sign(with(noticeOf(sesBounce), "SignatureVersion", version))), today)
		if err != nil || d.Key != "5b2a" || len(d.Hash) != 32 {
			t.Fatalf("version %s: %+v, %v", version, d, err)
		}
		if diff := cmp.Diff([]string{"bounced 5.1.1 ada@example.org no such address"}, saidAll(d.Reports)); diff != "" {
			t.Error(diff)
		}
		if r := d.Reports[0]; !r.Signed || r.ProviderID != "0102-ses" || r.MessageIDs[0] != theMail || r.Source != "ses" || r.Text != "550 5.1.1 user unknown" {
			t.Errorf("%+v", r)
		}
	}
	without := noticeOf(sesBounce)
	delete(without, "Subject")
	if d, err := p.SES(t.Context(), body(a.sign(without)), today); err != nil || len(d.Reports) != 1 {
		t.Errorf("without a subject: %+v, %v", d, err)
	}
	if len(a.asked) != 1 {
		t.Errorf("the certificate was asked for as %v", a.asked)
	}
	good := a.sign(noticeOf(sesBounce))
	for name, n := range map[string]map[string]string{
		"another message":           with(good, "Message", strings.Replace(sesBounce, "Ada@", "bob@", 1)),
		"another id":                with(good, "MessageId", "5b2b"),
		"another time":              with(good, "Timestamp", "2026-11-24T11:59:01.000Z"),
		"another subject":           with(good, "Subject", "x"),
		"a bit of the signature":    with(good, "Signature", flipped(t, good["Signature"])),
		"no signature":              with(good, "Signature", ""),
		"another version":           with(good, "SignatureVersion", "1"),
		"no version":                with(good, "SignatureVersion", "3"),
		"somebody else's topic":     a.sign(with(noticeOf(sesBounce), "TopicArn", "arn:aws:sns:eu-west-1:999999999999:bounces")),
		"a topic of ours elsewhere": a.sign(with(noticeOf(sesBounce), "TopicArn", "arn:aws:sns:us-east-1:123456789012:other")),
		"too old":                   a.sign(with(noticeOf(sesBounce), "Timestamp", "2026-11-23T23:00:00.000Z")),
		"ahead":                     a.sign(with(noticeOf(sesBounce), "Timestamp", "2026-11-24T12:06:00.000Z")),
		"no certificate there":      with(good, "SigningCertURL", snsHost+"/empty.pem"),
	} {
		if d, err := p.SES(t.Context(), body(n), today); code(err) != "invalid_signature" {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
	if _, err := p.SES(t.Context(), body(good), today.AddDate(0, 2, 0)); code(err) != "invalid_signature" {
		t.Errorf("with a certificate of the past: %v", err)
	}
	if _, err := p.SES(t.Context(), body(with(good, "Type", "Other")), today); code(err) != "" {
		t.Errorf("another type: %v", err)
	}
	if _, err := NewProviders(Config{}).SES(t.Context(), body(good), today); code(err) != "inbound_not_configured" {
		t.Errorf("not configured: %v", err)
	}
}

// Whatever a notice says, nobody is asked for a certificate but the host of a
// configured topic, and that host not often.
func TestCertificatesComeFromAmazonAlone(t *testing.T) {
	a := newAmazon(t)
	p := NewProviders(Config{SESTopics: []string{topic}, Fetch: a.fetch})
	good := a.sign(noticeOf(sesBounce))
	for _, url := range []string{
		"http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123abcd.pem", "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0123abcd.pem",
		"https://sns.eu-west-1.amazonaws.com.example.net/a.pem", "https://example.net/sns.eu-west-1.amazonaws.com/a.pem", "https://sns.eu-west-1.amazonaws.com@example.net/a.pem",
		"https://user@sns.eu-west-1.amazonaws.com/a.pem", "https://sns.eu-west-1.amazonaws.com:8443/a.pem", "https://sns.eu-west-1.amazonaws.com/a.pem?x=1",
		"https://sns.eu-west-1.amazonaws.com/a/../b.pem", "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription", "https://169.254.169.254/a.pem", "file:///etc/passwd", "", "%",
	} {
		if _, err := p.SES(t.Context(), body(with(good, "SigningCertURL", url)), today); code(err) != "invalid_signature" {
			t.Errorf("%s: %v", url, err)
		}
	}
	if _, err := p.SES(t.Context(), body(a.sign(with(noticeOf(sesBounce), "TopicArn", "x"))), today); code(err) != "invalid_signature" || len(a.asked) > 0 {
		t.Errorf("%v were asked for, %v", a.asked, err)
	}
	for i := range 50 {
		p.SES(t.Context(), body(with(good, "SigningCertURL", fmt.Sprintf("%s/%d.pem", snsHost, i))), today)
	}
	if len(a.asked) != 5 {
		t.Errorf("asked %d times", len(a.asked))
	}
	if _, err := p.SES(t.Context(), body(good), today); code(err) != "certificate_unavailable" {
		t.Error(err)
	}
	if _, err := p.SES(t.Context(), body(good), today.Add(5*time.Second)); err != nil {
		t.Error(err)
	}
}

func TestSESConfirmsSubscriptions(t *testing.T) {
	a := newAmazon(t)
	p := NewProviders(Config{SESTopics: []string{topic}, Fetch: a.fetch})
	ask := with(noticeOf("You have chosen to subscribe"), "Type", "SubscriptionConfirmation", "Token", "t0", "SubscribeURL", snsHost+"/?Action=ConfirmSubscription&Token=t0")
	delete(ask, "Subject")
	if d, err := p.SES(t.Context(), body(a.sign(ask)), today); err != nil || d.Reports != nil || len(a.asked) != 2 || a.asked[1] != ask["SubscribeURL"] {
		t.Errorf("%+v, %v, asked %v", d, err, a.asked)
	}
	for name, n := range map[string]map[string]string{
		"of somebody else's topic": a.sign(with(ask, "TopicArn", "arn:aws:sns:eu-west-1:999999999999:bounces")),
		"at another host":          a.sign(with(ask, "SubscribeURL", "https://example.net/?Action=ConfirmSubscription")),
		"to do something else":     a.sign(with(ask, "SubscribeURL", snsHost+"/?Action=DeleteTopic")),
		"not signed":               with(a.sign(ask), "Token", "t1"),
		"signed for another host":  with(a.sign(ask), "SubscribeURL", snsHost+"/?Action=ConfirmSubscription&Token=t1"),
	} {
		if _, err := p.SES(t.Context(), body(n), today); code(err) != "invalid_signature" || len(a.asked) != 2 {
			t.Errorf("%s: %v, asked %v", name, err, a.asked)
		}
	}
	end := with(ask, "Type", "UnsubscribeConfirmation")
	if d, err := p.SES(t.Context(), body(a.sign(end)), today); err != nil || d.Reports != nil || len(a.asked) != 2 {
		t.Errorf("%+v, %v, asked %v", d, err, a.asked)
	}
}

func TestSESReports(t *testing.T) {
	bounce := func(kind, sub, recipient string) string {
		return `{"eventType":"Bounce","bounce":{"bounceType":"` + kind + `","bounceSubType":"` + sub + `","bouncedRecipients":[` + recipient + `]},"mail":{"headers":[{"name":"Message-ID","value":"<` + theMail + `>"}]}}`
	}
	for text, want := range map[string][]string{
		bounce("Permanent", "NoEmail", `{"emailAddress":"a@b.de"}`):                                                                                  {"bounced  a@b.de no such address"},
		bounce("Permanent", "Suppressed", `{"emailAddress":"a@b.de","status":"5.1.1"}`):                                                              {"bounced 5.1.1 a@b.de no such address"},
		bounce("Permanent", "OnAccountSuppressionList", `{"emailAddress":"a@b.de","status":"5.7.1"}`):                                                {"bounced 5.7.1 a@b.de"},
		bounce("Permanent", "General", `{"emailAddress":"a@b.de"}`):                                                                                  {"bounced  a@b.de"},
		bounce("Transient", "MailboxFull", `{"emailAddress":"a@b.de","status":"5.2.2","diagnosticCode":"smtp; 552 5.2.2 full"}`):                     {"bounced 5.2.2 a@b.de"},
		bounce("Transient", "General", `{"emailAddress":"a@b.de","status":"5.1.1"}`):                                                                 {"bounced 5.1.1 a@b.de"},
		bounce("Permanent", "General", `{"emailAddress":"a@b.de","status":"5.1.1"},{"emailAddress":"no address"}`):                                   {"bounced 5.1.1 a@b.de no such address"},
		`{"notificationType":"Complaint","complaint":{"complainedRecipients":[{"emailAddress":"a@b.de"}],"complaintFeedbackType":"abuse"}}`:          {"complained  a@b.de"},
		`{"notificationType":"Complaint","complaint":{"complainedRecipients":[{"emailAddress":"a@b.de"}],"complaintFeedbackType":"not-spam"}}`:       nil,
		`{"eventType":"DeliveryDelay","deliveryDelay":{"delayType":"MailboxFull","delayedRecipients":[{"emailAddress":"a@b.de","status":"4.2.2"}]}}`: {"delayed 4.2.2 a@b.de"},
		`{"eventType":"Delivery"}`:              nil,
		`Successfully validated the SNS topic.`: nil,
	} {
		if diff := cmp.Diff(want, saidAll(sesReports([]byte(text)))); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
	if r := sesReports([]byte(bounce("Permanent", "NoEmail", `{"emailAddress":"a@b.de"}`))); len(r[0].MessageIDs) != 1 || r[0].MessageIDs[0] != theMail {
		t.Errorf("%+v", r)
	}
}

const postmarkSecret = "correct horse battery"

func TestPostmark(t *testing.T) {
	p := NewProviders(Config{PostmarkSecret: postmarkSecret})
	post := func(kind, more string) string {
		return `{"RecordType":"Bounce","Type":"` + kind + `","Email":"Ada@Example.org","MessageID":"883953f4","ID":42,"Details":"smtp;550 5.1.1 The account does not exist","Inactive":true` + more + `}`
	}
	for text, want := range map[string][]string{
		post("HardBounce", ""):                {"bounced 5.1.1 ada@example.org no such address"},
		post("BadEmailAddress", ""):           {"bounced 5.1.1 ada@example.org no such address"},
		post("SoftBounce", ""):                {"bounced 5.1.1 ada@example.org"},
		post("Transient", ""):                 {"delayed 5.1.1 ada@example.org"},
		post("AutoResponder", ""):             nil,
		post("HardBounce", `,"Email":"none"`): nil,
		`{"RecordType":"SpamComplaint","Type":"SpamComplaint","Email":"a@b.de"}`:          {"complained  a@b.de"},
		`{"RecordType":"SubscriptionChange","Recipient":"a@b.de","SuppressSending":true}`: nil,
	} {
		d, err := p.Postmark(postmarkSecret, []byte(text))
		if diff := cmp.Diff(want, saidAll(d.Reports)); diff != "" || err != nil || d.Key != "" {
			t.Errorf("%s: %v, %s", text, err, diff)
		}
		for _, r := range d.Reports {
			if !r.Signed || r.Source != "postmark" {
				t.Errorf("%+v", r)
			}
		}
	}
	for _, secret := range []string{"", "x", postmarkSecret + "x", postmarkSecret[1:]} {
		if _, err := p.Postmark(secret, []byte(post("HardBounce", ""))); code(err) != "invalid_signature" {
			t.Errorf("%q: %v", secret, err)
		}
	}
	if _, err := p.Postmark(postmarkSecret, []byte(`[]`)); err == nil {
		t.Error("a list was taken")
	}
	if _, err := NewProviders(Config{}).Postmark("", []byte(post("HardBounce", ""))); code(err) != "inbound_not_configured" {
		t.Error(err)
	}
}

const mailgunKey = "0123456789abcdef0123456789abcdef"

func mailgun(at time.Time, token, event string) []byte {
	timestamp := fmt.Sprint(at.Unix())
	mac := hmac.New(sha256.New, []byte(mailgunKey))
	mac.Write([]byte(timestamp + token))
	return []byte(`{"signature":{"timestamp":"` + timestamp + `","token":"` + token + `","signature":"` + hex.EncodeToString(mac.Sum(nil)) + `"},"event-data":` + event + `}`)
}

func TestMailgun(t *testing.T) {
	p := NewProviders(Config{MailgunSigningKey: mailgunKey})
	failed := func(severity, reason, status string) string {
		return `{"event":"failed","severity":"` + severity + `","reason":"` + reason + `","recipient":"Ada@example.org","message":{"headers":{"message-id":"` + theMail + `"}},"delivery-status":` + status + `}`
	}
	for event, want := range map[string][]string{
		failed("permanent", "bounce", `{"code":550,"message":"5.1.1 no mailbox here","enhanced-code":"5.1.1"}`): {"bounced 5.1.1 ada@example.org no such address"},
		failed("permanent", "bounce", `{"code":550,"message":"No such user"}`):                                  {"bounced 5.0.0 ada@example.org no such address"},
		failed("permanent", "suppress-bounce", `{"code":605,"message":"","description":"Not delivering"}`):      {"bounced  ada@example.org no such address"},
		failed("permanent", "bounce", `{"code":550,"message":"5.7.1 blocked for spam"}`):                        {"bounced 5.7.1 ada@example.org"},
		failed("temporary", "generic", `{"code":452,"message":"4.2.2 full"}`):                                   {"delayed 4.2.2 ada@example.org"},
		`{"event":"complained","recipient":"ada@example.org"}`:                                                  {"complained  ada@example.org"},
		`{"event":"delivered","recipient":"ada@example.org"}`:                                                   nil,
	} {
		d, err := p.Mailgun(mailgun(today, "tok", event), today)
		if diff := cmp.Diff(want, saidAll(d.Reports)); diff != "" || err != nil || d.Key == "" {
			t.Errorf("%s: %v, %s", event, err, diff)
		}
	}
	event := `{"event":"complained","recipient":"ada@example.org"}`
	good := string(mailgun(today, "tok", event))
	for name, raw := range map[string]string{
		"another token":     strings.Replace(good, `"tok"`, `"tol"`, 1),
		"another time":      strings.Replace(good, fmt.Sprint(today.Unix()), fmt.Sprint(today.Unix()+1), 1),
		"another signature": strings.Replace(good, `"signature":"`, `"signature":"0`, 1),
		"no signature":      `{"event-data":` + event + `}`,
		"no token":          string(mailgun(today, "", event)),
		"too old":           string(mailgun(today.Add(-Window-time.Second), "tok", event)),
		"ahead":             string(mailgun(today.Add(skew+time.Second), "tok", event)),
	} {
		if _, err := p.Mailgun([]byte(raw), today); code(err) != "invalid_signature" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := p.Mailgun([]byte("x"), today); err == nil {
		t.Error("it was taken")
	}
	if _, err := NewProviders(Config{}).Mailgun([]byte(good), today); code(err) != "inbound_not_configured" {
		t.Error(err)
	}
}

func TestConfigCheck(t *testing.T) {
	for name, c := range map[string]struct {
		cfg Config
		ok  bool
	}{
		"nothing":        {Config{}, true},
		"all":            {Config{SESTopics: []string{topic, "arn:aws-cn:sns:cn-north-1:123456789012:x"}, PostmarkSecret: postmarkSecret, MailgunSigningKey: mailgunKey}, true},
		"a short secret": {Config{PostmarkSecret: "fifteen letters"}, false},
		"a short key":    {Config{MailgunSigningKey: "x"}, false},
		"no ARN":         {Config{SESTopics: []string{"bounces"}}, false},
		"another host":   {Config{SESTopics: []string{"arn:aws:sns:eu.example.net/:123456789012:x"}}, false},
		"a queue":        {Config{SESTopics: []string{"arn:aws:sqs:eu-west-1:123456789012:x"}}, false},
	} {
		if err := c.cfg.Check(); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	if host, err := topicHost("arn:aws-cn:sns:cn-north-1:123456789012:x"); host != "sns.cn-north-1.amazonaws.com.cn" || err != nil {
		t.Error(host, err)
	}
}

// Whatever comes in, nothing is taken that is not signed.
func FuzzProviders(f *testing.F) {
	a := newAmazon(f)
	f.Add(body(with(a.sign(noticeOf(sesBounce)), "Message", "x")))
	f.Add([]byte(`{"RecordType":"Bounce","Type":"HardBounce","Email":"a@b.de"}`))
	f.Add([]byte(strings.Replace(string(mailgun(today, "t", `{"event":"failed","recipient":"a@b.de","delivery-status":{"code":550}}`)), `"t"`, `"u"`, 1)))
	f.Fuzz(func(t *testing.T, raw []byte) {
		p := NewProviders(Config{SESTopics: []string{topic}, PostmarkSecret: postmarkSecret, MailgunSigningKey: mailgunKey, Fetch: func(context.Context, string) ([]byte, error) { return a.cert, nil }})
		if d, err := p.SES(t.Context(), raw, today); err == nil {
			t.Errorf("SES: %+v", d)
		}
		if d, err := p.Mailgun(raw, today); err == nil {
			t.Errorf("Mailgun: %+v", d)
		}
		if d, err := p.Postmark(postmarkSecret, raw); len(d.Reports) > 1 || err != nil && len(d.Reports) > 0 {
			t.Errorf("Postmark: %+v, %v", d, err)
		}
		sesReports(raw)
	})
}
