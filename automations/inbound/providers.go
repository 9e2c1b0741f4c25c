package inbound

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net/url"
	"time"

	"golang.org/x/time/rate"

	"github.com/opensend/opensend/automations"
)

// Config says which providers may report. Each is off until it is set.
type Config struct {
	// SESTopics are the ARNs of the Amazon SNS topics that SES publishes to.
	SESTopics []string
	// PostmarkSecret is what Postmark sends: Postmark signs nothing.
	PostmarkSecret string
	// MailgunSigningKey is the key that Mailgun signs webhooks with.
	MailgunSigningKey string
	// Fetch gets an https address of the public Internet. Only addresses of Amazon
	// SNS are asked for.
	Fetch func(ctx context.Context, url string) ([]byte, error)
}

// MinSecret is how short a secret may be.
const MinSecret = 16

// Check reports what is wrong with a Config, naming the keys of the
// configuration file.
func (c Config) Check() error {
	for i, arn := range c.SESTopics {
		if _, err := topicHost(arn); err != nil {
			return fmt.Errorf("mail.inbound.ses.topics[%d] %w", i, err)
		}
	}
	for name, secret := range map[string]string{"postmark.secret": c.PostmarkSecret, "mailgun.signing_key": c.MailgunSigningKey} {
		if secret != "" && len(secret) < MinSecret {
			return fmt.Errorf("mail.inbound.%s must have at least %d characters", name, MinSecret)
		}
	}
	return nil
}

// Providers reads the webhooks of providers. It is safe for concurrent use.
type Providers struct {
	cfg   Config
	certs certificates
}

// NewProviders makes Providers of a Config that has passed its Check.
func NewProviders(cfg Config) *Providers {
	p := &Providers{cfg: cfg}
	p.certs.fetch = cfg.Fetch
	p.certs.pace = rate.NewLimiter(rate.Every(5*time.Second), 5)
	return p
}

// Delivery is a webhook that is the provider's.
type Delivery struct {
	Reports []Report // none when it tells of something else
	// Key is what the delivery is known by, and Hash what it says. A key that
	// comes again within Window brings nothing new, or is forged. Without a key
	// nothing of the kind can be said.
	Key  string
	Hash []byte
}

// Window is how old a signed webhook may be. Whoever remembers keys for twice
// as long takes none twice.
const Window = 12 * time.Hour

// skew is how far ahead a provider's clock may be.
const skew = 5 * time.Minute

func inWindow(at, now time.Time) bool {
	return !at.Before(now.Add(-Window)) && !at.After(now.Add(skew))
}

func off(key string) error {
	return automations.Errorf(automations.KindNotFound, "inbound_not_configured", "webhooks of this provider are not taken; set mail.inbound.%s in config.yaml", key)
}

// forged is the error for what is not the provider's.
func forged(format string, args ...any) error {
	return automations.Errorf(automations.KindUnauthorized, "invalid_signature", format, args...)
}

func unreadable(provider string) error {
	return automations.Errorf(automations.KindMalformed, "", "the body is not JSON as %s sends it", provider)
}

// sameSecret compares without telling by its time how much is right.
func sameSecret(given, want string) bool {
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(want))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// decode reads JSON of a provider, which may have more in it than is read.
func decode(body []byte, into any) bool { return json.Unmarshal(body, into) == nil }

func hashOf(body []byte) []byte {
	sum := sha256.Sum256(body)
	return sum[:]
}

// onHost reports whether an address is https, on exactly the host, at no port
// of its own and with no user.
func onHost(address, host string) (*url.URL, bool) {
	u, err := url.Parse(address)
	return u, err == nil && u.Scheme == "https" && u.Host == host && u.User == nil && u.Fragment == ""
}
