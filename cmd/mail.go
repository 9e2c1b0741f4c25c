package cmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/opensend/opensend/automations/inbound"
)

func newMail(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "mail",
		Short:   "Take in what mail servers send back",
		Example: "  opensend mail bounce < message.eml",
	}
	cmd.AddCommand(newMailBounce(a))
	return cmd
}

// mailReport is what the API did with a report.
type mailReport struct {
	report
	Outcome string  `json:"outcome"`
	EmailID *string `json:"email_id"`
}

func newMailBounce(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bounce < MESSAGE",
		Short: "Take a delivery report or a complaint, as it came by mail",
		Long: `Take a delivery report (RFC 3464) or a complaint (RFC 5965) as it came by mail,
from standard input, and print what was done: an address that does not exist, and
one that complains, gets no more mail.

Made for mail servers to pipe messages into. It exits with 0 when the message was
dealt with, also when it is no report and nothing was to do; with 75 when it could
not be stored now and should be tried again later; and with 1 when it will never
be taken.`,
		Example: "  opensend mail bounce < message.eml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			reports, raw, err := a.bounce(cmd.InOrStdin())
			if refused, ok := errors.AsType[*refusedError](err); ok && (refused.code == inbound.NotAReport || refused.code == inbound.NothingFailed) {
				if a.json {
					return a.printJSON([]mailReport{})
				}
				_, err := fmt.Fprintf(a.stdout, "Nothing done: %s\n", refused.message)
				return err
			}
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(raw)
			}
			for _, r := range reports {
				if _, err := fmt.Fprintln(a.stdout, r.line()); err != nil {
					return err
				}
			}
			return nil
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

// bounce reads a message, as much of it as a report is looked for in, and hands
// it over.
func (a *app) bounce(in io.Reader) (reports []mailReport, raw json.RawMessage, err error) {
	if f, ok := in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return nil, nil, &exitError{exitUsage, errors.New("no message on standard input"), "opensend mail bounce < message.eml"}
	}
	cfg, err := a.config()
	if err != nil {
		return nil, nil, later(err)
	}
	most := min(cfg.Limits.BodyBytes, inbound.MaxMessage)
	message, err := io.ReadAll(io.LimitReader(in, most))
	if err != nil {
		return nil, nil, later(err)
	}
	io.Copy(io.Discard, in) // who pipes must not meet a closed pipe
	c, err := a.connect(http.MethodGet)
	if err != nil {
		return nil, nil, later(err)
	}
	defer c.close()
	var list struct{ Data json.RawMessage }
	err = c.send(http.MethodPost, "/mail/inbound", "message/rfc822", message, &list)
	if refused, ok := errors.AsType[*refusedError](err); err != nil && (!ok || refused.status >= http.StatusInternalServerError) {
		return nil, nil, later(err)
	}
	if err == nil {
		err = json.Unmarshal(list.Data, &reports)
	}
	return reports, list.Data, err
}

// later is an error that may pass, as mail servers read it.
func later(err error) error {
	hint := ""
	if e, ok := errors.AsType[*exitError](err); ok {
		hint = e.hint
	}
	return &exitError{exitTryLater, err, hint}
}

// line says what was done.
func (r mailReport) line() string {
	if r.EmailID == nil {
		of := "anybody"
		if r.Address != "" {
			of = oneLine(r.Address)
		}
		return fmt.Sprintf("nothing done: no mail that was sent to %s has the Message-ID that the report names", of)
	}
	done := map[string]string{
		"suppressed": "it gets no more mail", "recorded": "recorded, and it gets further mail", "known": "known already, nothing done",
	}[r.Outcome]
	return fmt.Sprintf("mail %s to %s %s: %s", *r.EmailID, oneLine(r.Address), r.what(), done)
}
