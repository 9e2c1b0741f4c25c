package cmd

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// supplier is where things come from: another server, or a file.
type supplier interface {
	// rows are the objects of a kind; errNotOffered when there is no such kind.
	rows(k kind, tell func(n int)) ([]row, error)
	// complete adds to an object what its list did not have.
	complete(k kind, r row) (row, error)
}

var errNotOffered = errors.New("not offered")

const importRules = `

First everything is read and compared with what is here, and the counts are
shown: --dry-run ends there, --yes goes on without asking. What is here, told by
its address, alias, key or name, stays as it is. Of contacts that are here, names,
properties and segments that are missing are filled in, and who has unsubscribed
there, or opted out of a topic, is so here. So it can be run again, and goes on
where it stopped.

Automations come as drafts: enable them when the other side is switched off.
Events, runs, mail, API keys and webhooks do not come along.`

func newImport(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "import",
		Short:   "Bring in contacts, templates and automations from elsewhere",
		Long:    "Bring in contacts, segments, topics, templates, automations and suppressed\naddresses from another server or from a file." + importRules,
		Example: "  opensend import resend --key-file resend-key --dry-run\n  opensend import csv contacts.csv --segment Newsletter",
	}
	cmd.AddCommand(
		newImportAPI(a, "resend", "https://api.resend.com", "Bring in everything from Resend",
			"  opensend import resend --key-file resend-key --dry-run\n  opensend import resend --key-file resend-key --yes"),
		newImportAPI(a, "opensend", "", "Bring in everything from another opensend, or an OpenSend server",
			"  opensend import opensend --url https://mail.example.com --key-file key --dry-run"),
		newImportCSV(a),
		newImportLines(a),
	)
	return cmd
}

// importing is what all of these commands share.
type importing struct {
	app         *app
	dryRun, yes bool
}

func (a *app) importFlags(cmd *cobra.Command) *importing {
	im := &importing{app: a}
	cmd.Flags().BoolVar(&im.dryRun, "dry-run", false, "show what would be brought in, and change nothing")
	cmd.Flags().BoolVar(&im.yes, "yes", false, "do not ask")
	a.jsonFlag(cmd)
	return im
}

func newImportAPI(a *app, use, address, short, example string) *cobra.Command {
	var keyFile string
	cmd := &cobra.Command{
		Use: use, Short: short, Example: example, Args: cobra.NoArgs,
		Long: short + ".\n\nIt is read over the API, with a key that may read everything there: the one in the\n--key-file, - being standard input, or one that is asked for." + importRules,
	}
	im := a.importFlags(cmd)
	cmd.Flags().StringVar(&address, "url", address, "base `URL` of the other side")
	cmd.Flags().StringVar(&keyFile, "key-file", "", "`file` with the API key of the other side")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		base, err := url.Parse(address)
		if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" {
			return usage(cmd, "--url must be a URL such as https://mail.example.com; it is %q", address)
		}
		key, err := a.foreignKey(cmd, keyFile)
		if err != nil {
			return err
		}
		return im.run(cmd, newRemote(strings.TrimSuffix(address, "/"), key))
	}
	return cmd
}

// foreignKey reads the key of the other side.
func (a *app) foreignKey(cmd *cobra.Command, file string) (key string, err error) {
	var raw []byte
	in, isFile := a.stdin.(*os.File)
	switch {
	case file == "-":
		raw, err = io.ReadAll(io.LimitReader(a.stdin, 1<<16))
	case file != "":
		if raw, err = os.ReadFile(file); err != nil {
			return "", fmt.Errorf("the key file %s cannot be read: it must exist and be readable by this user", file)
		}
	case isFile && term.IsTerminal(int(in.Fd())):
		fmt.Fprint(a.stderr, "API key of the other side: ")
		raw, err = term.ReadPassword(int(in.Fd()))
		fmt.Fprintln(a.stderr)
	default:
		return "", usage(cmd, "the other side wants an API key: give a file with it as --key-file")
	}
	if err != nil {
		return "", err
	}
	if key = strings.TrimSpace(string(raw)); key == "" || strings.ContainsAny(key, " \r\n\t") {
		return "", usage(cmd, "there must be one API key in %s, and nothing else", file)
	}
	return key, nil
}

func newImportCSV(a *app) *cobra.Command {
	var segment string
	cmd := &cobra.Command{
		Use:   "csv FILE|-",
		Short: "Bring in contacts from a CSV file",
		Long: `Bring in contacts from a CSV file whose first line names its columns: email, and
first_name, last_name and unsubscribed where there are such. Other columns are
properties of that name, with underscores for spaces, but for id, created_at and
updated_at, which are left out. The file is in UTF-8, its columns kept apart by
commas, semicolons or tabs.` + importRules,
		Example: "  opensend import csv contacts.csv --dry-run\n  opensend import csv contacts.csv --segment Newsletter --yes",
		Args:    cobra.ExactArgs(1),
	}
	im := a.importFlags(cmd)
	cmd.Flags().StringVar(&segment, "segment", "", "put them into the segment of this `name`, which is made if there is none")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return im.file(cmd, args[0], func(r io.Reader) (supplier, error) {
			texts, err := a.declaredTexts()
			if err != nil {
				return nil, err
			}
			return readCSV(r, segment, texts)
		})
	}
	return cmd
}

// declaredTexts are the contact properties that are declared to be texts.
func (a *app) declaredTexts() (map[string]bool, error) {
	texts := map[string]bool{}
	c, err := a.connect(http.MethodPost)
	if err != nil {
		return nil, err
	}
	defer c.close()
	return texts, c.each("/contact-properties", nil, func(raw json.RawMessage) error {
		var p struct{ Key, Type string }
		err := json.Unmarshal(raw, &p)
		texts[p.Key] = p.Type == "string"
		return err
	})
}

func newImportLines(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "opensend-export FILE|-",
		Short:   "Bring in what opensend export has written",
		Long:    "Bring in what opensend export has written." + importRules,
		Example: "  opensend import opensend-export everything.jsonl --dry-run\n  opensend import opensend-export everything.jsonl --yes",
		Args:    cobra.ExactArgs(1),
	}
	im := a.importFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return im.file(cmd, args[0], readLines) }
	return cmd
}

func (im *importing) file(cmd *cobra.Command, path string, read func(io.Reader) (supplier, error)) error {
	in := io.NopCloser(im.app.stdin)
	if path != "-" {
		f, err := os.Open(path)
		if errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("there is no file %s", path)
		}
		if err != nil {
			return err
		}
		in = f
	}
	src, err := read(bufio.NewReaderSize(in, 1<<16))
	in.Close()
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return im.run(cmd, src)
}

// run reads both sides, shows what would be done, and does it.
func (im *importing) run(cmd *cobra.Command, src supplier) error {
	c, err := im.app.connect(http.MethodPost)
	if err != nil {
		return err
	}
	defer c.close()
	tell, done := im.app.progress()
	m := &move{src: src, to: c, ids: map[string]string{}, tell: tell}
	err = m.plan()
	done()
	if err != nil {
		return err
	}
	if !im.app.json {
		if err := m.print(im.app.stdout); err != nil {
			return err
		}
	}
	if m.todo() > 0 && !im.dryRun {
		if err := im.app.confirm(cmd, "Bring these in?", im.yes); err != nil {
			return err
		}
		tell, done = im.app.progress()
		m.tell = tell
		err = m.carry()
		done()
	}
	if im.app.json {
		err = errors.Join(err, im.app.printJSON(m.parts))
	}
	if err != nil {
		return fmt.Errorf("%w; run it again to go on from here", err)
	}
	return m.outcome(im.app, im.dryRun)
}
