package cmd

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/opensend/opensend/automations/mail"
)

func newDKIM(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "dkim",
		Short:   "Make keys that sign mail, and print their DNS records",
		Example: "  opensend dkim generate --domain example.com --out dkim.pem\n  opensend dkim records",
	}
	cmd.AddCommand(newDKIMGenerate(a), newDKIMRecords(a))
	return cmd
}

// dkimRecord is a DNS record of type TXT.
type dkimRecord struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Text string `json:"text"`
}

func recordOf(k mail.DKIMKey) (dkimRecord, error) {
	name, text, err := k.Record()
	return dkimRecord{name, "TXT", text}, err
}

// dkimDomain is a domain that mail can be from, as the DNS has it.
func dkimDomain(text string) (string, error) {
	address, err := mail.ParseAddress("postmaster@" + strings.ToLower(text))
	if err != nil {
		return "", fmt.Errorf("must be what follows the @ of the sender's address, such as example.com; it is %.80q", text)
	}
	return address.Domain(), nil
}

var dkimSelector = regexp.MustCompile(`^[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*$`)

// checkSelector says what is wrong with the name of a key within its domain.
func checkSelector(text string) error {
	if !dkimSelector.MatchString(text) {
		return fmt.Errorf("must have letters, digits and hyphens, such as s1; it is %.80q", text)
	}
	return nil
}

func newDKIMGenerate(a *app) *cobra.Command {
	var domain, selector, kind, out string
	cmd := &cobra.Command{
		Use:   "generate --domain DOMAIN --out FILE",
		Short: "Make a DKIM key and print its DNS record",
		Long: `Make a DKIM key, write it to a file that you alone can read, and print the DNS
record to publish and the lines for config.yaml.

Every mailbox provider verifies rsa. ed25519 is shorter, and not verified
everywhere yet: use it beside an rsa key, not instead of it.`,
		Example: "  opensend dkim generate --domain example.com --out /etc/opensend/dkim.pem\n  opensend dkim generate --domain example.com --selector ed --type ed25519 --out dkim-ed.pem",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if domain == "" || out == "" {
				return usage(cmd, "name the domain and the file: --domain DOMAIN --out FILE")
			}
			domain, err := dkimDomain(domain)
			if err != nil {
				return usage(cmd, "--domain %w", err)
			}
			if err := checkSelector(selector); err != nil {
				return usage(cmd, "--selector %w", err)
			}
			out, err := filepath.Abs(out) // the server may run elsewhere
			if err != nil {
				return err
			}
			text, key, err := mail.NewDKIMKey(kind)
			if err != nil {
				return usage(cmd, "%w", err)
			}
			if err := writeNewFile(out, text); err != nil {
				return err
			}
			record, err := recordOf(mail.DKIMKey{Domain: domain, Selector: selector, Key: key})
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(record)
			}
			_, err = fmt.Fprintf(a.stdout, "The key is in %s.\n\nPublish this DNS record:\n\n%s. IN TXT %s\n\nand put this into config.yaml:\n\nmail:\n  dkim:\n    - {domain: %s, selector: %s, key_file: %s}\n",
				out, record.Name, zoneText(record.Text), domain, selector, out)
			return err
		},
	}
	cmd.Flags().StringVar(&domain, "domain", "", "the `domain` of the sender's address")
	cmd.Flags().StringVar(&selector, "selector", "opensend", "the `name` of the key within the domain")
	cmd.Flags().StringVar(&kind, "type", "rsa", "rsa or ed25519")
	cmd.Flags().StringVar(&out, "out", "", "the `file` to write; it must not exist")
	a.jsonFlag(cmd)
	return cmd
}

func newDKIMRecords(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "records",
		Short:   "Print the DNS records of the configured keys",
		Example: "  opensend dkim records",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			keys, err := cfg.dkimKeys()
			if err != nil {
				return err
			}
			records := []dkimRecord{}
			for _, k := range keys {
				record, err := recordOf(k)
				if err != nil {
					return err
				}
				records = append(records, record)
			}
			if a.json {
				return a.printJSON(records)
			}
			if len(records) == 0 {
				fmt.Fprintln(a.stdout, "No DKIM keys are configured. Make one with: opensend dkim generate --domain DOMAIN --out FILE")
			}
			for _, r := range records {
				fmt.Fprintf(a.stdout, "%s. IN TXT %s\n", r.Name, zoneText(r.Text))
			}
			return nil
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

// zoneText quotes a text for a zone file, in strings of at most 255 bytes.
func zoneText(text string) string {
	var parts []string
	for len(text) > 0 {
		n := min(len(text), 255)
		parts = append(parts, `"`+text[:n]+`"`)
		text = text[n:]
	}
	return strings.Join(parts, " ")
}

// writeNewFile writes a secret to a file that does not exist yet.
func writeNewFile(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if os.IsExist(err) {
		return fmt.Errorf("%s exists already; choose another name", path)
	}
	if err != nil {
		return fmt.Errorf("%s cannot be written: %w", path, err)
	}
	if _, err := f.Write(text); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
