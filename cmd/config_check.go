package cmd

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"strings"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/engine"
	"github.com/opensend/opensend/automations/mail"
	"github.com/opensend/opensend/storage"
)

// plan checks the keys and reads them.
func (a AlertsConfig) plan(from string) (engine.AlertPlan, error) {
	p := engine.AlertPlan{Email: a.Email, Webhook: a.Webhook}
	if a.Email != "" {
		if _, err := automations.NormalizeEmail(a.Email); err != nil {
			return p, fmt.Errorf("alerts.email must be an address such as ops@example.com; it is %q", a.Email)
		}
		if from == "" {
			return p, errors.New("alerts.email needs mail.from, the sender of what is mailed there")
		}
	}
	u, err := url.Parse(a.Webhook)
	if a.Webhook != "" && (err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "") {
		return p, errors.New("alerts.webhook must be an http or https URL, such as https://example.com/alerts")
	}
	if a.Secret == "" {
		return p, nil
	}
	text, ok := strings.CutPrefix(a.Secret, "whsec_")
	if p.Secret, err = base64.StdEncoding.DecodeString(text); err != nil || !ok || len(p.Secret) < 24 || len(p.Secret) > 64 {
		return p, errors.New("alerts.webhook_secret must be whsec_ and 24 to 64 bytes in base64, as openssl rand -base64 32 prints them")
	}
	if a.Webhook == "" {
		return p, errors.New("alerts.webhook_secret needs alerts.webhook")
	}
	return p, nil
}

func (c *Config) check() error {
	if err := c.checkDoors(); err != nil {
		return err
	}
	if c.Data == "" {
		return errors.New("data must be the path of a file, such as ./opensend.db")
	}
	if c.Mail.From != "" {
		if _, err := mail.ParseAddress(c.Mail.From); err != nil {
			return fmt.Errorf(`mail.from must be an address such as "Example <hello@example.com>"; it is %q`, c.Mail.From)
		}
	}
	if err := c.SMTP.check(); err != nil {
		return err
	}
	if strings.ContainsFunc(c.SMTP.Hello, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("smtp.hello must be the name of this machine, such as mail.example.com; it is %q", c.SMTP.Hello)
	}
	if _, err := networks("webhooks.allow_private", c.Webhooks.AllowPrivate); err != nil {
		return err
	}
	if _, err := c.Alerts.plan(c.Mail.From); err != nil {
		return err
	}
	return errors.Join(
		c.Storage.check(),
		c.inbound().Check(),
		within("limits.body_bytes", c.Limits.BodyBytes, 1<<10, 64<<20),
		within("limits.connections", c.Limits.Connections, 1, 100_000),
		within("limits.requests_per_second", c.Limits.RequestsPerSecond, 0, 1_000_000),
		within("limits.emails_per_day", c.Limits.EmailsPerDay, 0, 1_000_000_000),
		within("limits.emails_per_month", c.Limits.EmailsPerMonth, 0, 1_000_000_000),
		within("mail.workers", c.Mail.Workers, 1, 64),
		within("mail.per_minute", c.Mail.PerMinute, 0, 1_000_000),
		within("mail.per_minute_to_domain", c.Mail.PerMinuteToDomain, 0, 1_000_000),
		within("mail.retry_for", c.Mail.RetryFor, time.Minute, 30*24*time.Hour),
		within("backup.every", c.Backup.Every, time.Minute, 31*24*time.Hour),
		within("backup.keep", c.Backup.Keep, 1, 10_000),
		within("smtp.port", c.SMTP.Port, 1, 65535),
		within("smtp.timeout", c.SMTP.Timeout, time.Second, 10*time.Minute),
		among("mail.on_unconfirmed", c.Mail.OnUnconfirmed, "hold", "resend"),
		among("smtp.tls", c.SMTP.TLS, string(mail.StartTLS), string(mail.TLS), string(mail.NoTLS)),
		among("log.level", c.Log.Level, "debug", "info", "warn", "error"),
		among("log.format", c.Log.Format, "auto", "text", "json"),
	)
}

// checkDoors looks at where and how the server listens.
func (c *Config) checkDoors() error {
	path, unix := strings.CutPrefix(c.Listen, unixPrefix)
	_, port, err := net.SplitHostPort(c.Listen)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if !unix && err != nil || unix && path == "" {
		return fmt.Errorf("listen must be host:port, such as %s, or a socket, such as unix:/run/opensend/http.sock; it is %q", defaultListen, c.Listen)
	}
	if _, err := networks("trusted_proxies", c.TrustedProxies); err != nil {
		return err
	}
	if err := among("tls", c.TLS, tlsNone, tlsAuto, tlsFiles); err != nil {
		return err
	}
	base, err := url.Parse(c.BaseURL)
	if err != nil {
		return err
	}
	files := c.Certificate.CertFile != "" || c.Certificate.KeyFile != ""
	directory, dirErr := url.Parse(c.Certificate.ACMEDirectory)
	switch {
	case c.TLS != tlsNone && base.Scheme != "https":
		return fmt.Errorf("tls: %s needs a base_url that begins with https://; it is %q", c.TLS, c.BaseURL)
	case c.TLS != tlsNone && unix:
		return fmt.Errorf("tls: %s cannot be spoken on a unix socket, which is for a reverse proxy; set listen to a host:port, or tls to none", c.TLS)
	case c.TLS == tlsAuto && (net.ParseIP(base.Hostname()) != nil || !strings.Contains(base.Hostname(), ".")):
		return fmt.Errorf("tls: auto needs a public name in base_url, such as https://mail.example.com; it is %q", c.BaseURL)
	case c.TLS == tlsFiles && (c.Certificate.CertFile == "" || c.Certificate.KeyFile == ""):
		return errors.New("tls: files needs certificate.cert_file and certificate.key_file")
	case c.TLS != tlsFiles && files:
		return errors.New("certificate.cert_file and certificate.key_file need tls: files")
	case dirErr != nil || directory.Scheme != "https" || directory.Host == "":
		return fmt.Errorf("certificate.acme_directory must be a URL that begins with https://; it is %q", c.Certificate.ACMEDirectory)
	}
	return nil
}

func (c SMTPConfig) check() error {
	switch {
	case c.Host == "" && (c.Username != "" || c.Password != ""):
		return errors.New("smtp.username and smtp.password need smtp.host")
	case c.Username == "" && c.Password != "":
		return errors.New("smtp.password needs smtp.username")
	case strings.ContainsAny(c.Host, "/ @:") && net.ParseIP(c.Host) == nil:
		return fmt.Errorf("smtp.host must be a host alone, such as smtp.example.com, with its port as smtp.port; it is %q", c.Host)
	}
	return nil
}

func (c StorageConfig) check() error {
	if c.MaxSize != 0 && c.MaxSize < storage.MinSize {
		return fmt.Errorf("storage.max_size must be at least %d MiB, or 0 for no bound but the disk", storage.MinSize>>20)
	}
	return nil
}

func within[T int | int64 | time.Duration](key string, value, least, most T) error {
	if value < least || value > most {
		text := func(v T) string { return configText(reflect.ValueOf(v)) }
		return fmt.Errorf("%s must be %s to %s; it is %s", key, text(least), text(most), text(value))
	}
	return nil
}

func among(key, value string, words ...string) error {
	for _, word := range words {
		if value == word {
			return nil
		}
	}
	return fmt.Errorf("%s must be one of %s; it is %q", key, strings.Join(words, ", "), value)
}

// networks reads a list of networks.
func networks(key string, texts []string) (all []netip.Prefix, err error) {
	for i, text := range texts {
		network, err := netip.ParsePrefix(text)
		if err != nil || network.Masked() != network {
			return nil, fmt.Errorf("%s[%d] must be a network such as 10.0.0.0/8, or 192.0.2.1/32 for one address; it is %q", key, i, text)
		}
		all = append(all, network)
	}
	return all, nil
}
