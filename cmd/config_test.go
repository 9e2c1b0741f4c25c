package cmd

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v3"
)

func loadText(t *testing.T, text, baseURL string) (Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, _, err := loadConfig(path, func(string) string { return baseURL })
	return cfg, err
}

// config.example.yaml has every key, each with its default.
func TestExampleConfig(t *testing.T) {
	text, err := os.ReadFile("../config.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := loadText(t, string(text), "")
	if err != nil {
		t.Fatal(err)
	}
	want := defaultConfig()
	if err := want.resolve(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, cfg, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("the example differs from the defaults:\n%s", diff)
	}
	var tree map[string]any
	if err := yaml.Unmarshal(text, &tree); err != nil {
		t.Fatal(err)
	}
	everyKey(t, reflect.TypeFor[Config](), tree, "")
}

func everyKey(t *testing.T, section reflect.Type, tree map[string]any, prefix string) {
	for field := range section.Fields() {
		name := field.Tag.Get("mapstructure")
		value, ok := tree[name]
		if !ok {
			t.Errorf("%s is not in the example", prefix+name)
		}
		if field.Type.Kind() == reflect.Struct {
			below, _ := value.(map[string]any)
			everyKey(t, field.Type, below, prefix+name+".")
		}
	}
}

func TestConfig(t *testing.T) {
	cfg, err := loadText(t, "base_url: https://mail.example.com/\nsmtp:\n  host: smtp.example.com\n  timeout: 1m\nmail:\n  from: Ada <ada@example.com>\n", "")
	if err != nil || cfg.BaseURL != "https://mail.example.com" || cfg.Listen != defaultListen || cfg.SMTP.Timeout != time.Minute || cfg.sender().Addr != "smtp.example.com:587" {
		t.Errorf("%+v %v", cfg, err)
	}
	if cfg, err := loadText(t, "tls: auto", "https://mail.example.com"); err != nil || cfg.Listen != ":443" {
		t.Errorf("%+v %v", cfg, err)
	}
	for base, listen := range map[string]string{
		"http://127.0.0.1:9000": "127.0.0.1:9000", "http://localhost": "localhost:80", "https://203.0.113.5": "203.0.113.5:443", "http://[::1]:1234": "[::1]:1234", "https://mail.example.com:8443": defaultListen,
	} {
		if cfg, err := loadText(t, "base_url: http://127.0.0.1:1\n", base); err != nil || cfg.Listen != listen || cfg.BaseURL != base {
			t.Errorf("%s: %+v %v", base, cfg, err)
		}
	}
	for listen, base := range map[string]string{
		"127.0.0.1:9000": "http://127.0.0.1:9000", ":9000": "http://127.0.0.1:9000", "[::]:9000": "http://127.0.0.1:9000",
		"[::1]:9000": "http://[::1]:9000", "unix:/run/x.sock": "http://" + defaultListen,
	} {
		if cfg, err := loadText(t, "listen: '"+listen+"'\n", ""); err != nil || cfg.Listen != listen || cfg.BaseURL != base {
			t.Errorf("%s: %+v %v", listen, cfg, err)
		}
	}
	if cfg, err := loadText(t, "", ""); err != nil || cfg.sender() != nil || cfg.Listen != defaultListen {
		t.Errorf("%+v %v", cfg, err)
	}
	kept, err := loadText(t, "retention: {events: 800d, runs: 12h, mail: 0, failed_mail: forever}", "")
	if want := (RetentionConfig{Events: 800 * ageDay, Runs: Age(12 * time.Hour), Webhooks: 30 * ageDay, Revisions: 365 * ageDay, Changes: 365 * ageDay}); err != nil || kept.Retention != want {
		t.Errorf("%+v %v", kept.Retention, err)
	}
	empty, err := loadText(t, "limits:\n  # connections: 5\nsmtp: {port: , timeout: }\ntrusted_proxies:\nmail: {dkim: , retry_for: 2 days}\nbackup: {every: 7d}\n", "")
	if want := defaultConfig(); err != nil || empty.Limits != want.Limits || empty.SMTP != want.SMTP || empty.Mail.RetryFor != 48*time.Hour || empty.Backup.Every != 7*24*time.Hour {
		t.Errorf("%+v %v", empty, err)
	}
	for text, want := range map[string]Size{"20GB": 20e9, "512 MiB": 512 << 20, "0": 0, "50000000": 50e6} {
		if cfg, err := loadText(t, "storage: {max_size: "+text+"}", ""); err != nil || cfg.Storage.MaxSize != want {
			t.Errorf("%s: %d %v", text, cfg.Storage.MaxSize, err)
		}
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("pass\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if cfg, err := loadText(t, "smtp: {host: x.example.com, username: u, password_file: "+secret+"}", ""); err != nil || cfg.SMTP.Password != "pass" {
		t.Errorf("%+v %v", cfg, err)
	}
	if err := os.WriteFile(secret, []byte("sixteen letters!\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	providers, err := loadText(t, "mail:\n  inbound:\n    ses: {topics: ['arn:aws:sns:eu-west-1:123456789012:bounces']}\n    postmark: {secret_file: "+secret+"}\n    mailgun: {signing_key: 0123456789abcdef-x}\n", "")
	if in := providers.inbound(); err != nil || len(in.SESTopics) != 1 || in.PostmarkSecret != "sixteen letters!" || in.MailgunSigningKey != "0123456789abcdef-x" {
		t.Errorf("%+v %v", in, err)
	}
}

func TestConfigErrors(t *testing.T) {
	for text, words := range map[string]string{
		"mial:\n  from: x":                             "line 1: mial is not a key; did you mean mail?",
		"limits:\n  body_byte: 1":                      "line 2: limits.body_byte is not a key; did you mean limits.body_bytes?",
		"limits: 7":                                    "limits must have keys below it",
		"limits: []":                                   "limits must have keys below it",
		"data: [a]":                                    "data must be a single value",
		"data: 7":                                      "data must be text",
		"smtp:\n  port: 25.9":                          "smtp.port must be a whole number",
		"smtp:\n  port: 99999":                         "smtp.port must be 1 to 65535",
		"smtp:\n  timeout: 30":                         "smtp.timeout must be a duration with its unit",
		"smtp:\n  tls: ssl":                            `smtp.tls must be one of starttls, tls, none; it is "ssl"`,
		"smtp:\n  timeout: 1d":                         "smtp.timeout must be 1s to 10m; it is 24h",
		"smtp:\n  password: x":                         "need smtp.host",
		"smtp:\n  hello: my host":                      `smtp.hello must be the name of this machine, such as mail.example.com; it is "my host"`,
		"smtp: {host: h, password: x}":                 "smtp.password needs smtp.username",
		"smtp: {host: 'a.example.com:465'}":            "smtp.host must be a host alone, such as smtp.example.com, with its port as smtp.port",
		"listen: 127.0.0.1:99999":                      "listen must be host:port",
		"mail: {inbound: {ses: {topics: [bounces]}}}":  "mail.inbound.ses.topics[0] must be the ARN of an SNS topic such as",
		"mail: {inbound: {postmark: {secret: short}}}": "mail.inbound.postmark.secret must have at least 16 characters",
		"mail: {inbound: {mailgun: {signing_key_file: nowhere}}}":                 "mail.inbound.mailgun.signing_key_file nowhere cannot be read",
		"mail: {inbound: {mailgun: {signing_key: x, signing_key_file: nowhere}}}": "mail.inbound.mailgun.signing_key and mail.inbound.mailgun.signing_key_file are both set",
		"smtp:\n  host: h\n  password: x\n  password_file: y":                     "both set",
		"smtp:\n  host: h\n  password_file: nowhere":                              "cannot be read",
		"data: a\ndata: b":                       "already defined|stands twice",
		"a: 1\n---\nb: 2":                        "more than one YAML document",
		"data: \"":                               "not valid YAML",
		"base_url: example.com":                  "base_url must be http or https",
		"base_url: http://example.com/path":      "base_url must be http or https",
		"base_url: http://u:p@example.com":       "base_url must be http or https",
		"listen: nowhere":                        "listen must be host:port",
		"listen: 'unix:'":                        "listen must be host:port, such as 127.0.0.1:8787, or a socket",
		"trusted_proxies: [127.0.0.1]":           "trusted_proxies[0] must be a network",
		"tls: yes please":                        "tls must be one of none, auto, files",
		"tls: auto":                              "tls: auto needs a base_url that begins with https://",
		"base_url: https://192.0.2.1\ntls: auto": "tls: auto needs a public name",
		"base_url: https://a.example.com\ntls: auto\nlisten: unix:/x":                  "cannot be spoken on a unix socket",
		"base_url: https://a.example.com\ntls: files\ncertificate:\n  cert_file: a":    "needs certificate.cert_file and certificate.key_file",
		"certificate:\n  key_file: a":                                                  "need tls: files",
		"certificate:\n  acme_directory: http://ca.example.com":                        "certificate.acme_directory must be a URL",
		"mail:\n  from: nobody":                                                        "mail.from must be an address",
		"storage:\n  max_size: 10MB":                                                   "storage.max_size must be at least 32 MiB",
		"storage:\n  max_size: big":                                                    "line 2: storage.max_size must be a size such as 20GB or 512MiB",
		"storage:\n  max_size: 99999999TB":                                             "line 2: storage.max_size must be a size that a file can have",
		"retention:\n  events: soon":                                                   "line 2: retention.events must be a time such as 90d or 12h, or forever",
		"retention:\n  mail: -1d":                                                      "line 2: retention.mail must be a time",
		"retention:\n  runs: 30":                                                       "line 2: retention.runs must be a time",
		"webhooks:\n  allow_private: [10.0.0.1]":                                       "webhooks.allow_private[0] must be a network",
		"webhooks:\n  allow_private: 10.0.0.0/8":                                       "must be a list",
		"mail:\n  workers: 0":                                                          "mail.workers must be 1 to 64",
		"mail:\n  on_unconfirmed: guess":                                               "mail.on_unconfirmed must be one of hold, resend",
		"pprof: sometimes":                                                             "line 1: pprof must be true or false",
		"alerts:\n  email: ops":                                                        "alerts.email must be an address such as ops@example.com",
		"alerts:\n  email: ops@example.com":                                            "alerts.email needs mail.from",
		"alerts:\n  webhook: ftp://example.com":                                        "alerts.webhook must be an http or https URL",
		"alerts: {webhook: 'https://example.com', webhook_secret: whsec_c2hvcnQ=}":     "alerts.webhook_secret must be whsec_ and 24 to 64 bytes in base64",
		"alerts: {webhook_secret: whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=}": "alerts.webhook_secret needs alerts.webhook",
	} {
		_, err := loadText(t, text, "")
		matched := false
		for word := range strings.SplitSeq(words, "|") {
			matched = matched || err != nil && strings.Contains(err.Error(), word)
		}
		if !matched {
			t.Errorf("%q: %v, want %s", text, err, words)
		}
	}
}

// What a key's name says is secret is never shown, wherever it comes from.
func TestConfigRowsHideSecrets(t *testing.T) {
	var named func(section reflect.Type, prefix string)
	named = func(section reflect.Type, prefix string) {
		for field := range section.Fields() {
			key := prefix + field.Tag.Get("mapstructure")
			switch kind := field.Type; {
			case kind.Kind() == reflect.Struct:
				named(kind, key+".")
			case kind.Kind() == reflect.Slice && kind.Elem().Kind() == reflect.Struct:
				named(kind.Elem(), key+"[0].")
			}
			if secret := regexp.MustCompile(`(secret|password|token|key|^alerts\.webhook)$`).MatchString(key); secret != (field.Tag.Get("secret") != "") {
				t.Errorf("%s: its tag says secret: %v", key, !secret)
			}
		}
	}
	named(reflect.TypeFor[Config](), "")
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte("smtp: {host: h.example.com, username: u, password_file: "+file+"}"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, from, err := loadConfig(path, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range configRows(cfg, from) {
		if row.Key == "smtp.password" && row != (configRow{"smtp.password", "(hidden)", "smtp.password_file"}) || strings.Contains(row.Value, "hunter2") {
			t.Errorf("%+v", row)
		}
	}
}
