package cmd

import (
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/crypto/acme"

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
