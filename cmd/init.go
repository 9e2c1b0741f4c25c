package cmd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
	"golang.org/x/term"

	"github.com/opensend/opensend/automations/mail"
	"github.com/opensend/opensend/storage"
)

// setup is what init asks for.
type setup struct {
	baseURL, from, server, tls, username, password, passwordFile string
	yes, force, noProbe                                          bool // the flags
}

// question is one line of the conversation. Its answer is kept when the
// configuration takes it.
type question struct {
	flag, ask string
	hint      string // what an empty answer means
	answer    *string
	secret    bool
}

func newInit(a *app) *cobra.Command {
	s := &setup{}
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Write a configuration, from a few questions",
		Long: `Ask where people reach the server, who mail is from and which mail server takes
it, try that mail server, and write a configuration with comments: config.yaml,
or the file that --config names, readable by you alone.

What is given as a flag is not asked. With --yes nothing is asked, and nothing is
written when an answer is refused or the mail server cannot be reached; --no-probe
does not try it.`,
		Example: `  opensend init
  opensend init --config /etc/opensend/config.yaml
  opensend init --yes --base-url https://mail.example.com --from "Example <hello@example.com>" --smtp-host smtp.example.com --smtp-username example --smtp-password-file /etc/opensend/smtp-password`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&s.baseURL, "base-url", "", "where people and clients reach the server, as a `URL`")
	f.StringVar(&s.from, "from", "", "the `sender` of mail that names none")
	f.StringVar(&s.server, "smtp-host", "", "the mail server, as `HOST or HOST:PORT`; without one mail is captured")
	f.StringVar(&s.tls, "smtp-tls", "", "starttls, tls or none (default by the port)")
	f.StringVar(&s.username, "smtp-username", "", "the `name` to sign in with there")
	f.StringVar(&s.passwordFile, "smtp-password-file", "", "the `file` that holds the password; it is read at each start")
	f.BoolVar(&s.yes, "yes", false, "ask nothing: flags and defaults are the answers")
	f.BoolVar(&s.force, "force", false, "replace a configuration that is there")
	f.BoolVar(&s.noProbe, "no-probe", false, "do not try the mail server")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		path := a.configPath
		if path == "" {
			path = configFile
		}
		switch info, err := os.Stat(path); {
		case err == nil && info.IsDir():
			return usage(cmd, "%s is a folder; name a file in it, such as --config %s", path, filepath.Join(path, configFile))
		case !errors.Is(err, fs.ErrNotExist) && !s.force:
			return &exitError{exitFailed, fmt.Errorf("%s exists already; name another file with --config, or replace it with --force", path), ""}
		}
		probe, err := os.CreateTemp(filepath.Dir(path), ".opensend.config-*") // before any question
		if err != nil {
			return storage.NoFile(filepath.Dir(path), err)
		}
		if err := errors.Join(probe.Close(), os.Remove(probe.Name())); err != nil {
			return err
		}
		if !s.yes {
			if err := a.interview(cmd, s); err != nil {
				return err
			}
		}
		return a.initialize(cmd, path, s)
	}
	return cmd
}

// interview asks what no flag has given. A refused answer is asked again.
func (a *app) interview(cmd *cobra.Command, s *setup) error {
	if _, err := s.config(); err != nil {
		return configError(err) // of the flags: no answer would mend it
	}
	in := bufio.NewReader(a.stdin)
	for _, q := range []question{
		{"base-url", "Where people reach the server", defaultConfig().BaseURL, &s.baseURL, false},
		{"from", "Sender of mail, such as Example <hello@example.com>", "each template names its own", &s.from, false},
		{"smtp-host", "Mail server, as host or host:port", "mail is captured, none leaves", &s.server, false},
		{"smtp-username", "Name to sign in with there", "none", &s.username, false},
		{"smtp-password-file", "Password", "none", &s.password, true},
	} {
		if cmd.Flags().Changed(q.flag) || s.server == "" && q.answer == &s.username || s.username == "" && q.secret {
			continue
		}
		for {
			answer, err := a.ask(in, q)
			if err != nil {
				return &exitError{exitUsage, errors.New("the questions were not answered; answer them on a terminal, or give --yes"), cmd.CommandPath() + " --help"}
			}
			*q.answer = answer
			if _, err = s.config(); err == nil {
				break
			}
			fmt.Fprintln(a.stderr, err)
		}
	}
	return nil
}

// ask reads one answer. On a terminal secrets are not shown.
func (a *app) ask(in *bufio.Reader, q question) (string, error) {
	fmt.Fprintf(a.stderr, "%s [%s]: ", q.ask, q.hint)
	if f, ok := a.stdin.(*os.File); ok && q.secret && term.IsTerminal(int(f.Fd())) {
		secret, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(a.stderr)
		return string(secret), err
	}
	line, err := in.ReadString('\n')
	if errors.Is(err, io.EOF) && line != "" {
		err = nil
	}
	return strings.TrimSpace(line), err
}

// config is the configuration that the answers make.
func (s *setup) config() (Config, error) {
	cfg := defaultConfig()
	if s.baseURL != "" {
		cfg.BaseURL = s.baseURL
	}
	cfg.Mail.From = s.from
	if err := s.smtp(&cfg.SMTP); err != nil {
		return cfg, err
	}
	if err := cfg.resolve(); err != nil {
		return cfg, err
	}
	return cfg, cfg.check()
}

// smtp fills in the mail server: its port is 587 unless it is said, and the port
// tells how the connection is secured unless that is said.
func (s *setup) smtp(c *SMTPConfig) error {
	c.Host = s.server
	if host, port, err := net.SplitHostPort(s.server); err == nil {
		n, err := strconv.Atoi(port)
		if err != nil {
			return fmt.Errorf("the mail server must be a host, or host:port with a number; it is %q", s.server)
		}
		c.Host, c.Port = host, n
	}
	switch ip := net.ParseIP(c.Host); {
	case s.tls != "":
		c.TLS = s.tls
	case c.Port == 465:
		c.TLS = string(mail.TLS)
	case c.Host == "localhost" || ip.IsLoopback():
		c.TLS = string(mail.NoTLS)
	}
	c.Username, c.Password, c.PasswordFile = s.username, s.password, s.passwordFile
	return nil
}

// initialize tries the mail server and writes the file.
func (a *app) initialize(cmd *cobra.Command, path string, s *setup) error {
	if s.passwordFile != "" { // the server may run elsewhere
		full, err := filepath.Abs(s.passwordFile)
		if err != nil {
			return err
		}
		s.passwordFile = full
	}
	cfg, err := s.config()
	if err != nil {
		return configError(err)
	}
	if sender := cfg.sender(); sender != nil && !s.noProbe {
		ctx, cancel := context.WithTimeout(context.Background(), lookTimeout)
		defer cancel()
		fmt.Fprintf(a.stderr, "trying %s ...\n", sender.Addr)
		err := sender.Probe(ctx)
		switch {
		case err == nil:
			fmt.Fprintf(a.stderr, "%s answers\n", sender.Addr)
		case s.yes:
			return fmt.Errorf("nothing is written, the mail server cannot be used: %w; correct it, or give --no-probe", err)
		default: // the answers are not lost for it
			fmt.Fprintf(a.stderr, "the mail server cannot be used: %s\n", err)
			if a.confirm(cmd, "Write the configuration all the same?", false) != nil {
				return errors.New("nothing is written; correct it, or give --no-probe")
			}
		}
	}
	if err := writePrivately(path, s.text(cfg), s.force); err != nil {
		return err
	}
	with := ""
	if a.configPath != "" {
		with = " --config " + path
	}
	_, err = fmt.Fprintf(a.stdout, `wrote %s, readable by you alone. Next:
  opensend serve%[2]s
  opensend apikeys create --name app --permission events_access%[2]s
  opensend doctor%[2]s
`, path, with)
	return err
}

// writePrivately writes a file that its owner alone may read, whole or not at
// all.
func writePrivately(path, text string, replace bool) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".opensend.config-*")
	if err != nil {
		return storage.NoFile(filepath.Dir(path), err)
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if !replace {
		err = os.Link(f.Name(), path)
		if err == nil || errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return os.Rename(f.Name(), path)
}

// text is the file. The configuration is read back from it word by word, so
// what a person typed is quoted where YAML needs it.
func (s *setup) text(cfg Config) string {
	secret := "  # The file that holds the password.\n  password_file: " + scalar(s.passwordFile)
	if s.passwordFile == "" {
		secret = "  # The password; password_file names a file that holds it instead.\n  password: " + scalar(s.password)
	}
	return fmt.Sprintf(`# Configuration of opensend. These are the keys that most need; "opensend config"
# lists all of them with the values in force.

# Where people and clients reach the server. With a public name it listens on
# %s, for a reverse proxy on the same machine; listen says otherwise.
base_url: %s

# The one file that holds everything. Never copy it while the server runs:
# "opensend backup FILE" does.
data: %s

mail:
  # The sender of mail whose template and step name none.
  from: %s

# The mail server. Without a host nothing leaves the machine: mail is captured
# in the data file, to be looked at.
smtp:
  host: %s
  port: %d
  # starttls (refused when the server cannot), tls (from the first byte), or
  # none (for a server on this machine).
  tls: %s
  username: %s
%s

# Backups at regular times, once you name a folder for them.
backup:
  dir: ""
`, defaultListen, scalar(cfg.BaseURL), scalar(cfg.Data), scalar(cfg.Mail.From), scalar(cfg.SMTP.Host), cfg.SMTP.Port, cfg.SMTP.TLS, scalar(cfg.SMTP.Username), secret)
}

// scalar is a text as YAML has it.
func scalar(text string) string {
	raw, err := yaml.Marshal(text)
	if err != nil {
		panic(err) // every text can be written
	}
	return strings.TrimSuffix(string(raw), "\n")
}
