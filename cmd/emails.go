package cmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// email is a mail as the API gives it, in a list or by itself.
type email struct {
	ID           string     `json:"id"`
	Status       string     `json:"status"`
	Test         bool       `json:"test"`
	From         string     `json:"from"`
	To           []string   `json:"to"`
	CC           []string   `json:"cc"`
	BCC          []string   `json:"bcc"`
	Subject      string     `json:"subject"`
	MessageID    string     `json:"message_id"`
	AutomationID *string    `json:"automation_id"`
	RunID        *string    `json:"run_id"`
	StepKey      *string    `json:"step_key"`
	Attempts     int        `json:"attempts"`
	Recipients   []fate     `json:"recipients"` // those whose fate differs from the mail's
	Reports      []report   `json:"reports"`
	LastError    *string    `json:"last_error"`
	ScheduledAt  *time.Time `json:"scheduled_at"`
	SentAt       *time.Time `json:"sent_at"`
	CreatedAt    time.Time  `json:"created_at"`

	// by itself
	HTML    *string                      `json:"html"`
	Text    *string                      `json:"text"`
	Headers []string                     `json:"headers"`
	Links   []struct{ Text, URL string } `json:"links"`
}

// fate is what became of one recipient of several.
type fate struct {
	Address string `json:"address"`
	Status  string `json:"status"`
	Reason  string `json:"reason"`
}

func (f fate) String() string {
	if f.Reason == "" {
		return oneLine(f.Address) + ": " + f.Status
	}
	return oneLine(f.Address) + ": " + f.Status + " (" + strings.Map(printable, f.Reason) + ")"
}

// report is what was told of a mail after it had left.
type report struct {
	Kind    string    `json:"kind"`
	Address string    `json:"address"`
	Status  *string   `json:"status"`
	Text    *string   `json:"text"`
	At      time.Time `json:"at"`
}

// what says what happened, and why.
func (r report) what() string {
	what := map[string]string{"bounced": "bounced", "delayed": "is delayed", "complained": "was complained of"}[r.Kind]
	var why []string
	for _, text := range []*string{r.Status, r.Text} {
		if text != nil {
			why = append(why, strings.Map(printable, *text))
		}
	}
	if why != nil {
		what += " (" + strings.Join(why, ": ") + ")"
	}
	return what
}

func (m email) state() string {
	if m.Test {
		return m.Status + ", test"
	}
	return m.Status
}

func newEmails(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "emails",
		Short: "Read mail, and decide about mail that waits for you",
		Long: `Read the mail that was sent or captured, and decide about mail that the program
leaves to you: unconfirmed mail, which the mail server may have taken without
saying so, failed mail, and captured mail that is to be sent after all. Works
while the server runs and when it does not.`,
		Example: "  opensend emails list --status unconfirmed\n  opensend emails show 0199f234-d327-7cd8-9dc5-4fd8e5e249df --html > mail.html",
	}
	cmd.AddCommand(newEmailsList(a), newEmailsShow(a), newEmailsResend(a), newEmailsConfirm(a), newEmailsRelease(a))
	return cmd
}

func newEmailsList(a *app) *cobra.Command {
	return newList(a, listing[email]{
		short: "List mail, the newest first", example: "  opensend emails list --status captured --to ada@example.com\n  opensend emails list --subject welcome --limit 5 --json", path: "/emails",
		filters: []filter{
			{"status", "status", "only of this `status`: queued, sending, sent, failed, suppressed, unconfirmed, captured or cancelled"},
			{"to", "to", "only to this `address`"},
			{"subject", "q", "only with this `text` in the subject"},
			{"run", "run_id", "only of the run of this `id`"},
			{"automation", "automation_id", "only of the automation of this `id`"},
		},
		empty: "No mail yet. Post an event that an automation answers with mail: opensend events send NAME ADDRESS",
		columns: []column[email]{
			{"ID", func(m email) string { return m.ID }},
			{"STATUS", email.state},
			{"TO", func(m email) string { return strings.Join(m.To, ", ") }},
			{"SUBJECT", func(m email) string { return m.Subject }},
			{"CREATED", func(m email) string { return m.CreatedAt.Format(time.DateTime) }},
		},
	})
}

func newEmailsShow(a *app) *cobra.Command {
	var html, text, headers, source, links bool
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show a mail, or one view of it",
		Long: `Show a mail: where it stands and its text. The flags print one view instead, as
it stands in the stored message: --source is the message itself, byte for byte.`,
		Example: "  opensend emails show 0199f234-d327-7cd8-9dc5-4fd8e5e249df --links\n  opensend emails show 0199f234-d327-7cd8-9dc5-4fd8e5e249df --source > mail.eml",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			chosen := 0
			for _, flag := range []bool{html, text, headers, source, links, a.json} {
				if flag {
					chosen++
				}
			}
			if chosen > 1 {
				return usage(cmd, "choose one of --html, --text, --headers, --source, --links and --json")
			}
			c, err := a.connect(http.MethodGet)
			if err != nil {
				return err
			}
			defer c.close()
			path := "/emails/" + url.PathEscape(args[0])
			if source {
				return orList(cmd, c.stream(path+"/source", a.stdout))
			}
			var raw json.RawMessage
			if err := c.call(http.MethodGet, path, nil, &raw); err != nil {
				return orList(cmd, err)
			}
			var m email
			if err := json.Unmarshal(raw, &m); err != nil {
				return err
			}
			switch {
			case a.json:
				return a.printJSON(raw)
			case html:
				return printView(a.stdout, m.HTML, "HTML")
			case text:
				return printView(a.stdout, m.Text, "plain text")
			case headers:
				return m.printHeaders(a.stdout)
			case links:
				return m.printLinks(a.stdout)
			}
			return m.print(a.stdout)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&html, "html", false, "print the HTML")
	f.BoolVar(&text, "text", false, "print the plain text")
	f.BoolVar(&headers, "headers", false, "print the headers")
	f.BoolVar(&source, "source", false, "print the message as it is stored")
	f.BoolVar(&links, "links", false, "print each link and its text")
	a.jsonFlag(cmd)
	return cmd
}

func printView(w io.Writer, text *string, what string) error {
	if text == nil {
		return fmt.Errorf("the mail has no %s; it may have been erased with its contact", what)
	}
	_, err := fmt.Fprintln(w, strings.TrimSuffix(*text, "\n"))
	return err
}

func (m email) printHeaders(w io.Writer) error {
	if len(m.Headers) == 0 {
		return errors.New("the mail has no headers: it is composed when it first leaves, and erased with its contact")
	}
	_, err := fmt.Fprintln(w, strings.Join(m.Headers, "\n"))
	return err
}

func (m email) printLinks(out io.Writer) error {
	if len(m.Links) == 0 {
		_, err := fmt.Fprintln(out, "The mail has no links.")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TEXT\tURL")
	for _, l := range m.Links {
		fmt.Fprintf(w, "%s\t%s\n", oneLine(l.Text), strings.Map(printable, l.URL))
	}
	return w.Flush()
}

func (m email) print(w io.Writer) error {
	attempts, settled := "", "Sent"
	if m.Attempts > 0 {
		attempts = fmt.Sprint(m.Attempts)
	}
	if m.Status == "captured" {
		settled = "Captured"
	}
	err := fields(w, [][2]string{
		{"ID", m.ID}, {"Status", m.state()}, {"From", m.From}, {"To", strings.Join(m.To, ", ")}, {"Cc", strings.Join(m.CC, ", ")}, {"Bcc", strings.Join(m.BCC, ", ")},
		{"Subject", m.Subject}, {"Automation", textOf(m.AutomationID)}, {"Run", textOf(m.RunID)}, {"Step", textOf(m.StepKey)},
		{"Created", m.CreatedAt.Format(time.DateTime)}, {"Next attempt", timeText(m.ScheduledAt)}, {settled, timeText(m.SentAt)}, {"Attempts", attempts},
	}...)
	if err != nil {
		return err
	}
	for _, f := range m.Recipients {
		fmt.Fprintf(w, "\n%s\n", f)
	}
	for _, r := range m.Reports {
		fmt.Fprintf(w, "\n%s: %s %s\n", r.At.Format(time.DateTime), oneLine(r.Address), r.what())
	}
	if m.LastError != nil {
		fmt.Fprintf(w, "\n%s\n", strings.Map(visible, *m.LastError))
	}
	if m.Text != nil {
		fmt.Fprintf(w, "\n%s\n", strings.TrimSpace(strings.Map(visible, *m.Text)))
	}
	if next := m.next(); next != "" {
		fmt.Fprintf(w, "\n%s\n", next)
	}
	return nil
}

// next is what can be decided about the mail.
func (m email) next() string {
	switch m.Status {
	case "unconfirmed":
		return fmt.Sprintf("If it arrived: opensend emails confirm %s\nIf it did not:  opensend emails resend %s", m.ID, m.ID)
	case "failed":
		return "Send it again: opensend emails resend " + m.ID
	case "captured":
		return "Send it after all: opensend emails release " + m.ID
	}
	return ""
}

func newEmailsResend(a *app) *cobra.Command {
	return newAction(a, action{
		use: "resend ID", short: "Send an unconfirmed or failed mail again",
		long: `Send an unconfirmed or failed mail again: the same message, with the same
Message-ID. The run that waits for it, or failed because of it, goes on when it is
settled. Who must not be written to by now gets nothing.`,
		example: "  opensend emails resend 0199f234-d327-7cd8-9dc5-4fd8e5e249df",
		method:  http.MethodPost, path: "/emails/%s/resend", done: "queued %s again", waits: true,
	})
}

func newEmailsConfirm(a *app) *cobra.Command {
	return newAction(a, action{
		use: "confirm ID", short: "Settle an unconfirmed mail as sent: you know that it arrived",
		example: "  opensend emails confirm 0199f234-d327-7cd8-9dc5-4fd8e5e249df",
		method:  http.MethodPost, path: "/emails/%s/confirm", done: "settled %s as sent", waits: true,
	})
}

func newEmailsRelease(a *app) *cobra.Command {
	return newAction(a, action{
		use: "release ID", short: "Send a captured mail",
		long: `Send a captured mail, as it was captured, through the configured mail server. Who
must not be written to by now gets nothing. Its run went on when it was captured.`,
		example: "  opensend emails release 0199f234-d327-7cd8-9dc5-4fd8e5e249df",
		method:  http.MethodPost, path: "/emails/%s/release", done: "released %s", waits: true,
	})
}
