package cmd

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"reflect"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/viper"
	"golang.org/x/crypto/acme"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/engine"
	"github.com/opensend/opensend/automations/inbound"
	"github.com/opensend/opensend/automations/mail"
	"github.com/opensend/opensend/storage"
)

// Config is the effective configuration: defaults, the YAML file over them,
// and OPENSEND_BASE_URL over both. config.example.yaml explains every key.
type Config struct {
	BaseURL  string         `mapstructure:"base_url"` // where people and clients reach the server
	Listen   string         `mapstructure:"listen"`   // host:port or unix:PATH; derived from BaseURL when empty
	Data     string         `mapstructure:"data"`     // path of the data file
	Limits   LimitsConfig   `mapstructure:"limits"`
	Mail     MailConfig     `mapstructure:"mail"`
	SMTP     SMTPConfig     `mapstructure:"smtp"`
	Webhooks WebhooksConfig `mapstructure:"webhooks"`
	Log      LogConfig      `mapstructure:"log"`
	Backup   BackupConfig   `mapstructure:"backup"`
	// Retention says how long records are kept.
	Retention RetentionConfig `mapstructure:"retention"`
	Storage   StorageConfig   `mapstructure:"storage"`
	Alerts    AlertsConfig    `mapstructure:"alerts"`
	Pprof     bool            `mapstructure:"pprof"` // profiles on the control socket
	// TrustedProxies are the networks whose word on the client's address counts.
	TrustedProxies []string          `mapstructure:"trusted_proxies"`
	TLS            string            `mapstructure:"tls"` // none, auto or files
	Certificate    CertificateConfig `mapstructure:"certificate"`
}

// CertificateConfig says where the certificate comes from when we speak TLS
// ourselves.
type CertificateConfig struct {
	CertFile      string `mapstructure:"cert_file"` // PEM, the chain included; for tls: files
	KeyFile       string `mapstructure:"key_file"`  // PEM
	ACMEDirectory string `mapstructure:"acme_directory"`
}

// AlertsConfig says who is told when something is wrong with the program.
type AlertsConfig struct {
	Email   string `mapstructure:"email"`
	Webhook string `mapstructure:"webhook" secret:"true"`        // many such URLs are passwords
	Secret  string `mapstructure:"webhook_secret" secret:"true"` // whsec_ and base64
}

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

// StorageConfig bounds the data file.
type StorageConfig struct {
	MaxSize Size `mapstructure:"max_size"` // zero leaves it to the disk
}

// BackupConfig says where and how often the data file is backed up.
type BackupConfig struct {
	Dir   string        `mapstructure:"dir"` // no backups when empty
	Every time.Duration `mapstructure:"every"`
	Keep  int           `mapstructure:"keep"` // the newest so many
}

// RetentionConfig says how long records are kept that nothing needs any more;
// see storage.Retention.
type RetentionConfig struct {
	Events     Age `mapstructure:"events"`
	Runs       Age `mapstructure:"runs"`
	Mail       Age `mapstructure:"mail"`
	FailedMail Age `mapstructure:"failed_mail"`
	Webhooks   Age `mapstructure:"webhooks"`
	Revisions  Age `mapstructure:"revisions"`
	Changes    Age `mapstructure:"changes"`
}

func (r RetentionConfig) storage() storage.Retention {
	return storage.Retention{
		Events: time.Duration(r.Events), Runs: time.Duration(r.Runs), Mail: time.Duration(r.Mail),
		FailedMail: time.Duration(r.FailedMail), Webhooks: time.Duration(r.Webhooks), Revisions: time.Duration(r.Revisions), Changes: time.Duration(r.Changes),
	}
}

// LimitsConfig bounds what one request and all of them may take.
type LimitsConfig struct {
	BodyBytes   int64 `mapstructure:"body_bytes"`  // of one request
	Connections int   `mapstructure:"connections"` // open at once
	// RequestsPerSecond is what each API key may make; zero is no limit.
	RequestsPerSecond int `mapstructure:"requests_per_second"`
	EmailsPerDay      int `mapstructure:"emails_per_day"`   // in UTC; zero is no limit
	EmailsPerMonth    int `mapstructure:"emails_per_month"` // calendar month in UTC; zero is no limit
}

// MailConfig says how mail is sent, whatever the transport.
type MailConfig struct {
	From          string        `mapstructure:"from"`           // sender where template and step name none
	RetryFor      time.Duration `mapstructure:"retry_for"`      // until a mail is given up
	OnUnconfirmed string        `mapstructure:"on_unconfirmed"` // hold or resend
	Workers       int           `mapstructure:"workers"`        // mails sent at once
	// PerMinute and PerMinuteToDomain spread mail over time; zero is no limit.
	PerMinute         int          `mapstructure:"per_minute"`
	PerMinuteToDomain int          `mapstructure:"per_minute_to_domain"`
	DKIM              []DKIMConfig `mapstructure:"dkim"`
	// Inbound says which providers may report bounces and complaints.
	Inbound InboundConfig `mapstructure:"inbound"`
}

// InboundConfig says which providers' webhooks are taken; each is off until it
// is set.
type InboundConfig struct {
	SES      SESConfig      `mapstructure:"ses"`
	Postmark PostmarkConfig `mapstructure:"postmark"`
	Mailgun  MailgunConfig  `mapstructure:"mailgun"`
}

// SESConfig is for Amazon SES.
type SESConfig struct {
	Topics []string `mapstructure:"topics"` // ARNs of SNS topics
}

// PostmarkConfig is for Postmark.
type PostmarkConfig struct {
	Secret     string `mapstructure:"secret" secret:"true"` // that Postmark is given
	SecretFile string `mapstructure:"secret_file"`
}

// MailgunConfig is for Mailgun.
type MailgunConfig struct {
	SigningKey     string `mapstructure:"signing_key" secret:"true"`
	SigningKeyFile string `mapstructure:"signing_key_file"`
}

// DKIMConfig is a key that signs the mail of a domain.
type DKIMConfig struct {
	Domain   string `mapstructure:"domain"`
	Selector string `mapstructure:"selector"`
	KeyFile  string `mapstructure:"key_file"` // PEM
}

// SMTPConfig is the submission server. Without a host mail is captured.
type SMTPConfig struct {
	Host         string        `mapstructure:"host"`
	Port         int           `mapstructure:"port"`
	TLS          string        `mapstructure:"tls"` // starttls, tls or none
	Username     string        `mapstructure:"username"`
	Password     string        `mapstructure:"password" secret:"true"`
	PasswordFile string        `mapstructure:"password_file"`
	Hello        string        `mapstructure:"hello"` // name given in EHLO
	Timeout      time.Duration `mapstructure:"timeout"`
}

// WebhooksConfig says what webhooks may reach.
type WebhooksConfig struct {
	AllowPrivate []string `mapstructure:"allow_private"` // networks beside the public Internet, such as 10.0.0.0/8
}

// LogConfig says what the log tells, and how.
type LogConfig struct {
	Level  string `mapstructure:"level"`  // debug, info, warn or error
	Format string `mapstructure:"format"` // auto, text or json
}

// defaultListen is used when the base URL does not say where to listen.
const defaultListen = "127.0.0.1:8787"

func defaultConfig() Config {
	return Config{
		BaseURL: "http://" + defaultListen,
		Data:    "./opensend.db",
		TLS:     tlsNone, Certificate: CertificateConfig{ACMEDirectory: acme.LetsEncryptURL},
		Limits:    LimitsConfig{BodyBytes: 1 << 20, Connections: 1024},
		Mail:      MailConfig{RetryFor: 48 * time.Hour, OnUnconfirmed: "hold", Workers: 8},
		SMTP:      SMTPConfig{Port: 587, TLS: string(mail.StartTLS), Timeout: 30 * time.Second},
		Log:       LogConfig{Level: "info", Format: "auto"},
		Backup:    BackupConfig{Every: 24 * time.Hour, Keep: 7},
		Retention: RetentionConfig{Events: 90 * ageDay, Runs: 90 * ageDay, Mail: 30 * ageDay, FailedMail: 90 * ageDay, Webhooks: 30 * ageDay, Revisions: 365 * ageDay, Changes: 365 * ageDay},
	}
}

// configFile is read when it is there and no other file is named.
const configFile = "config.yaml"

// loadConfig reads the file at path, or ./config.yaml if there is one and path
// is empty, and checks everything. It tells where the values come from. Errors
// name the key and what to write.
func loadConfig(path string, getenv func(string) string) (Config, origins, error) {
	from := origins{}
	path, text, err := readConfig(path)
	if err != nil {
		return Config{}, from, err
	}
	if err := checkYAML(text); err != nil {
		return Config{}, from, fmt.Errorf("%s: %w", path, err)
	}
	from.read(path, text)
	base := getenv(baseURLVariable)
	if base != "" {
		from["base_url"] = baseURLVariable
	}
	cfg, err := decodeConfig(text, base)
	if err != nil {
		return Config{}, from, err
	}
	switch {
	case cfg.Listen == "":
		from["listen"] = "base_url"
	case from["base_url"] == "":
		if at := baseAt(cfg.Listen); at != "" {
			cfg.BaseURL, from["base_url"] = at, "listen"
		}
	}
	if err := cfg.resolve(); err != nil {
		return Config{}, from, err
	}
	return cfg, from, cfg.check()
}

// baseURLVariable is the one environment variable that is looked at.
const baseURLVariable = "OPENSEND_BASE_URL"

// readConfig reads the file; its text is empty when there is none and none is
// named.
func readConfig(path string) (name string, text []byte, err error) {
	named := path != ""
	if !named {
		path = configFile
	}
	text, err = os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !named:
		return path, nil, nil
	case errors.Is(err, fs.ErrNotExist):
		return path, nil, fmt.Errorf("the configuration file %s does not exist", path)
	case errors.Is(err, syscall.EISDIR):
		return path, nil, fmt.Errorf("%s is a folder; name the configuration file in it", path)
	case err != nil:
		return path, nil, fmt.Errorf("the configuration file %s cannot be read: give this user read permission", path)
	}
	return path, text, nil
}

func decodeConfig(text []byte, baseURL string) (Config, error) {
	cfg := defaultConfig()
	v := viper.New()
	v.SetConfigType("yaml")
	if err := v.ReadConfig(bytes.NewReader(text)); err != nil {
		return Config{}, err
	}
	if baseURL != "" {
		v.Set("base_url", baseURL)
	}
	return cfg, v.UnmarshalExact(&cfg, viper.DecodeHook(decodeText))
}

// resolve fills in what follows from other settings.
func (c *Config) resolve() error {
	base, err := url.Parse(c.BaseURL)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" || base.User != nil ||
		strings.Trim(base.Path, "/") != "" || base.RawQuery != "" || base.Fragment != "" {
		return fmt.Errorf("base_url must be http or https with a host and no path, such as https://mail.example.com; it is %q", c.BaseURL)
	}
	c.BaseURL = base.Scheme + "://" + base.Host
	if c.Listen == "" {
		c.Listen = listenAt(base, c.TLS != tlsNone)
	}
	in := &c.Mail.Inbound
	return errors.Join(
		readSecret("smtp.password", &c.SMTP.Password, c.SMTP.PasswordFile),
		readSecret("mail.inbound.postmark.secret", &in.Postmark.Secret, in.Postmark.SecretFile),
		readSecret("mail.inbound.mailgun.signing_key", &in.Mailgun.SigningKey, in.Mailgun.SigningKeyFile),
	)
}

// readSecret reads the secret of a key from a file, if one is named.
func readSecret(key string, into *string, file string) error {
	if file == "" {
		return nil
	}
	if *into != "" {
		return fmt.Errorf("%s and %s_file are both set; keep one of them", key, key)
	}
	secret, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("%s_file %s cannot be read: it must exist and be readable by this user", key, file)
	}
	*into = strings.TrimSuffix(strings.TrimSuffix(string(secret), "\n"), "\r")
	if *into == "" { // else the file would say nothing, silently
		return fmt.Errorf("%s_file %s is empty", key, file)
	}
	return nil
}

// listenAt is the base URL's own host and port when it names an address or
// this machine. Behind a public name it is the default, for a reverse proxy, or
// the base URL's port at all addresses when clients come to us directly.
func listenAt(base *url.URL, direct bool) string {
	host, port := base.Hostname(), base.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[base.Scheme]
	}
	switch {
	case host == "localhost" || net.ParseIP(host) != nil:
		return net.JoinHostPort(host, port)
	case direct:
		return ":" + port
	}
	return defaultListen
}

// baseAt is where this machine reaches a server that listens there; "" for a
// socket, and for what is no address.
func baseAt(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil || strings.HasPrefix(listen, unixPrefix) {
		return ""
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	base := "http://" + net.JoinHostPort(host, port)
	if _, err := url.Parse(base); err != nil {
		return ""
	}
	return base
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

// open opens the data file for a command, in the name of this program.
func (c *Config) open() (*storage.DB, error) {
	return storage.OpenWith(c.Data, storage.Options{Program: version})
}

// engine is what the configuration says to the engine.
func (c *Config) engine() (engine.Config, error) {
	config := engine.Config{
		BaseURL: c.BaseURL, From: c.Mail.From, RetryFor: c.Mail.RetryFor, Workers: c.Mail.Workers,
		EmailsPerDay: c.Limits.EmailsPerDay, EmailsPerMonth: c.Limits.EmailsPerMonth,
		Breather:  2 * time.Millisecond,
		PerMinute: c.Mail.PerMinute, PerMinuteToDomain: c.Mail.PerMinuteToDomain,
		Retention:         c.Retention.storage(),
		Backup:            engine.BackupPlan{Dir: c.Backup.Dir, Every: c.Backup.Every, Keep: c.Backup.Keep},
		ResendUnconfirmed: c.Mail.OnUnconfirmed == "resend",
	}
	var err error
	if config.DKIM, err = c.dkimKeys(); err != nil {
		return config, err
	}
	if config.AllowPrivate, err = networks("webhooks.allow_private", c.Webhooks.AllowPrivate); err != nil {
		return config, err
	}
	if config.Alerts, err = c.Alerts.plan(c.Mail.From); err != nil {
		return config, err
	}
	if smtp := c.sender(); smtp != nil {
		config.Sender = smtp
	}
	return config, nil
}

// inbound is what the configuration says of providers that report on mail.
func (c *Config) inbound() inbound.Config {
	in := c.Mail.Inbound
	return inbound.Config{SESTopics: in.SES.Topics, PostmarkSecret: in.Postmark.Secret, MailgunSigningKey: in.Mailgun.SigningKey}
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

// dkimKeys reads the keys that sign mail.
func (c *Config) dkimKeys() (keys []mail.DKIMKey, err error) {
	for i, k := range c.Mail.DKIM {
		at := fmt.Sprintf("mail.dkim[%d]", i)
		if k.Domain == "" || k.Selector == "" || k.KeyFile == "" {
			return nil, fmt.Errorf("%s needs domain, selector and key_file", at)
		}
		text, err := os.ReadFile(k.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("%s: key_file %s cannot be read: it must exist and be readable by this user", at, k.KeyFile)
		}
		key, err := mail.ParseDKIMKey(text)
		if err != nil {
			return nil, fmt.Errorf("%s: key_file %s: %w", at, k.KeyFile, err)
		}
		domain, err := dkimDomain(k.Domain)
		if err != nil {
			return nil, fmt.Errorf("%s: domain %w", at, err)
		}
		if err := checkSelector(k.Selector); err != nil {
			return nil, fmt.Errorf("%s: selector %w", at, err)
		}
		keys = append(keys, mail.DKIMKey{Domain: domain, Selector: k.Selector, Key: key})
	}
	return keys, nil
}

// sender is the transport that the configuration asks for; nil captures.
func (c *Config) sender() *mail.SMTP {
	if c.SMTP.Host == "" {
		return nil
	}
	return &mail.SMTP{
		Addr: net.JoinHostPort(c.SMTP.Host, fmt.Sprint(c.SMTP.Port)), TLS: mail.TLSPolicy(c.SMTP.TLS),
		Username: c.SMTP.Username, Password: c.SMTP.Password, Hello: c.SMTP.Hello, Timeout: c.SMTP.Timeout,
	}
}
