package inbound

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/opensend/opensend/automations"
)

// notice is a message of Amazon SNS as it comes over HTTP.
type notice struct {
	Type, MessageID, TopicARN, Subject, Message, Timestamp, Token, SubscribeURL string

	SignatureVersion, Signature, SigningCertURL string
}

// The types of notices.
const (
	notification   = "Notification"
	confirmation   = "SubscriptionConfirmation"
	unsubscription = "UnsubscribeConfirmation"
)

// SES reads a webhook of Amazon SES, which comes through an SNS topic. A
// subscription of a configured topic is confirmed.
func (p *Providers) SES(ctx context.Context, body []byte, now time.Time) (Delivery, error) {
	if len(p.cfg.SESTopics) == 0 {
		return Delivery{}, off("ses.topics")
	}
	var n notice
	if !decode(body, &n) {
		return Delivery{}, unreadable("Amazon SNS")
	}
	// Anybody can have a topic, and what is published to it is signed as well.
	if !slices.Contains(p.cfg.SESTopics, n.TopicARN) {
		return Delivery{}, forged("the topic %.256q is not one of mail.inbound.ses.topics", n.TopicARN)
	}
	host, err := topicHost(n.TopicARN)
	if err != nil {
		return Delivery{}, err
	}
	if err := p.certs.verify(ctx, &n, host, now); err != nil {
		return Delivery{}, err
	}
	if at, err := time.Parse(time.RFC3339, n.Timestamp); err != nil || !inWindow(at, now) {
		return Delivery{}, forged("the notice is older than 12 hours, or the clock of this machine is wrong")
	}
	d := Delivery{Key: n.MessageID, Hash: hashOf([]byte(n.signed()))}
	switch n.Type {
	case notification:
		d.Reports = sesReports([]byte(n.Message))
	case confirmation:
		return Delivery{}, p.confirm(ctx, &n, host)
	}
	return d, nil
}

// confirm tells SNS that the topic may write to us.
func (p *Providers) confirm(ctx context.Context, n *notice, host string) error {
	if u, ok := onHost(n.SubscribeURL, host); !ok || u.Query().Get("Action") != "ConfirmSubscription" {
		return forged("the subscription is not to be confirmed at %s", host)
	}
	if _, err := p.cfg.Fetch(ctx, n.SubscribeURL); err != nil {
		return automations.Errorf(automations.KindUnavailable, "subscription_not_confirmed", "the subscription could not be confirmed at %s: %s", host, err)
	}
	return nil
}

var topicARN = regexp.MustCompile(`^arn:(aws|aws-cn|aws-us-gov):sns:([a-z]{2}[a-z0-9-]{1,30}):\d{12}:[A-Za-z0-9_-]{1,256}$`)

// topicHost is the one host that signs what comes from a topic.
func topicHost(arn string) (string, error) {
	found := topicARN.FindStringSubmatch(arn)
	if found == nil {
		return "", fmt.Errorf("must be the ARN of an SNS topic such as arn:aws:sns:eu-west-1:123456789012:bounces; it is %q", arn)
	}
	host := "sns." + found[2] + ".amazonaws.com"
	if found[1] == "aws-cn" {
		host += ".cn"
	}
	return host, nil
}

// signed is the text that SNS signs.
func (n *notice) signed() string {
	fields := [][2]string{{"Message", n.Message}, {"MessageId", n.MessageID}}
	switch {
	case n.Type != notification:
		fields = append(fields, [2]string{"SubscribeURL", n.SubscribeURL}, [2]string{"Timestamp", n.Timestamp}, [2]string{"Token", n.Token})
	case n.Subject != "":
		fields = append(fields, [2]string{"Subject", n.Subject}, [2]string{"Timestamp", n.Timestamp})
	default:
		fields = append(fields, [2]string{"Timestamp", n.Timestamp})
	}
	fields = append(fields, [2]string{"TopicArn", n.TopicARN}, [2]string{"Type", n.Type})
	var b strings.Builder
	for _, f := range fields {
		b.WriteString(f[0] + "\n" + f[1] + "\n")
	}
	return b.String()
}

// check verifies the signature with the key of a certificate: version 1 is
// over SHA-1 and version 2 over SHA-256.
func (n *notice) check(cert *x509.Certificate) error {
	key, ok := cert.PublicKey.(*rsa.PublicKey)
	signature, err := base64.StdEncoding.DecodeString(n.Signature)
	if !ok || err != nil {
		return errors.New("it is not one")
	}
	switch n.SignatureVersion {
	case "1":
		sum := sha1.Sum([]byte(n.signed()))
		return rsa.VerifyPKCS1v15(key, crypto.SHA1, sum[:], signature)
	case "2":
		sum := sha256.Sum256([]byte(n.signed()))
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature)
	}
	return errors.New("its version is unknown")
}

// maxCertificates is how many are kept; SNS signs with one in each region at a
// time.
const maxCertificates = 16

// certificates are those that SNS signs with, by their address.
type certificates struct {
	fetch func(context.Context, string) ([]byte, error)
	pace  *rate.Limiter // who forges notices must not make us ask Amazon as often

	fetching sync.Mutex // one at a time
	mu       sync.Mutex
	known    map[string]*x509.Certificate
}

var certificatePath = regexp.MustCompile(`^/[A-Za-z0-9_-]{1,200}\.pem$`)

// verify says what is wrong with the signature of a notice from a host.
func (c *certificates) verify(ctx context.Context, n *notice, host string, now time.Time) error {
	if n.Type != notification && n.Type != confirmation && n.Type != unsubscription {
		return unreadable("Amazon SNS")
	}
	if u, ok := onHost(n.SigningCertURL, host); !ok || u.RawQuery != "" || !certificatePath.MatchString(u.EscapedPath()) {
		return forged("the certificate of the notice is not at %s, where the topic's are", host)
	}
	cert, err := c.get(ctx, n.SigningCertURL, now)
	if err != nil {
		return err
	}
	if now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
		return forged("the certificate of the notice has expired, or the clock of this machine is wrong")
	}
	if n.check(cert) != nil {
		return forged("the signature of the notice is not that of Amazon SNS")
	}
	return nil
}

func (c *certificates) had(url string) *x509.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known[url]
}

func (c *certificates) keep(url string, cert *x509.Certificate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil || len(c.known) >= maxCertificates {
		c.known = map[string]*x509.Certificate{}
	}
	c.known[url] = cert
}

// get fetches a certificate or has it already. It is trusted because it comes
// over TLS from Amazon's own host.
func (c *certificates) get(ctx context.Context, url string, now time.Time) (*x509.Certificate, error) {
	if cert := c.had(url); cert != nil {
		return cert, nil
	}
	c.fetching.Lock()
	defer c.fetching.Unlock()
	if cert := c.had(url); cert != nil {
		return cert, nil
	}
	if !c.pace.AllowN(now, 1) {
		return nil, automations.Errorf(automations.KindUnavailable, "certificate_unavailable", "too many certificates were asked for; try again in a moment")
	}
	raw, err := c.fetch(ctx, url)
	if err != nil {
		return nil, automations.Errorf(automations.KindUnavailable, "certificate_unavailable", "the certificate of the notice could not be fetched: %s", err)
	}
	block, _ := pem.Decode(raw)
	if block == nil {
		return nil, forged("there is no certificate where the notice says")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, forged("there is no certificate where the notice says")
	}
	c.keep(url, cert)
	return cert, nil
}
