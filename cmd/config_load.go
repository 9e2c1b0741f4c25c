package cmd

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/viper"
)

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
