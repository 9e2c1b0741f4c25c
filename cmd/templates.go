package cmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

func newTemplates(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "templates",
		Short:   "List templates, and see how their mail looks",
		Long:    "List templates, and see how their mail looks. Works while the server runs and when it does not.",
		Example: "  opensend templates list\n  opensend templates preview welcome --contact ada@example.com",
	}
	cmd.AddCommand(newTemplatesList(a), newTemplatesPreview(a))
	return cmd
}

// template is a template as the API gives it, as far as a list shows it.
type template struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	Alias       *string   `json:"alias"`
	Status      string    `json:"status"`
	Subject     *string   `json:"subject"`
	Unpublished bool      `json:"has_unpublished_versions"`
	CreatedAt   time.Time `json:"created_at"`
	UpdatedAt   time.Time `json:"updated_at"`
}

func newTemplatesList(a *app) *cobra.Command {
	return newList(a, listing[template]{
		short: "List templates, the newest first", example: "  opensend templates list --json", path: "/templates",
		empty: "No templates yet. Create one with: POST /templates",
		columns: []column[template]{
			{"ID", func(t template) string { return t.ID }},
			{"ALIAS", func(t template) string { return orDash(t.Alias) }},
			{"NAME", func(t template) string { return t.Name }},
			{"STATUS", template.state},
			{"UPDATED", func(t template) string { return t.UpdatedAt.Format(time.DateTime) }},
		},
	})
}

func (t template) state() string {
	if t.Status == "published" && t.Unpublished {
		return "published, edited since"
	}
	return t.Status
}

// preview is a rendered template as the API gives it.
type preview struct {
	ID        string            `json:"id"`
	Version   string            `json:"version"`
	From      *string           `json:"from"`
	ReplyTo   []string          `json:"reply_to"`
	Subject   string            `json:"subject"`
	HTML      string            `json:"html"`
	Text      string            `json:"text"`
	Variables []previewVariable `json:"variables"`
}

type previewVariable struct {
	Name    string          `json:"name"`
	Type    *string         `json:"type"`
	Status  string          `json:"status"`
	Value   json.RawMessage `json:"value"`
	Message string          `json:"message,omitempty"`
}

func newTemplatesPreview(a *app) *cobra.Command {
	var contact, event string
	var html, text, published bool
	cmd := &cobra.Command{
		Use:   "preview ID|ALIAS",
		Short: "Render a template and list its variables",
		Long: `Render a template with a contact and the payload of an event, and list each
variable: used (its value), filled (by a fallback), missing, or invalid. With a
missing or invalid variable the mail would not be sent; the preview shows its
name instead. Nothing is stored or sent, and the unsubscribe link in a preview
does nothing.`,
		Example: `  opensend templates preview welcome --contact ada@example.com
  opensend templates preview welcome --event '{"plan": "pro"}'
  opensend templates preview welcome --event event.json --html > welcome.html`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if html && text || a.json && (html || text) {
				return usage(cmd, "choose one of --html, --text and --json")
			}
			in := map[string]any{}
			if contact != "" {
				in["contact"] = contact
			}
			if event != "" {
				payload, err := readJSONArgument(event)
				if err != nil {
					return usage(cmd, "--event: %w", err)
				}
				in["event"] = payload
			}
			if published {
				in["version"] = "published"
			}
			var p preview
			if err := a.call(http.MethodPost, "/templates/"+url.PathEscape(args[0])+"/preview", in, &p); err != nil {
				return err
			}
			switch {
			case a.json:
				return a.printJSON(p)
			case html:
				return a.printPart(p, p.HTML)
			case text:
				return a.printPart(p, p.Text)
			}
			return a.printPreview(p)
		},
	}
	cmd.Flags().StringVar(&contact, "contact", "", "id or address of the `contact` it is for")
	cmd.Flags().StringVar(&event, "event", "", "payload of the event, as `JSON or a file` with it")
	cmd.Flags().BoolVar(&html, "html", false, "print the HTML alone")
	cmd.Flags().BoolVar(&text, "text", false, "print the plain text alone")
	cmd.Flags().BoolVar(&published, "published", false, "render what is sent now, not the draft")
	a.jsonFlag(cmd)
	return cmd
}

// readJSONArgument reads an object that is given itself, or as FILE or @FILE.
func readJSONArgument(arg string) (json.RawMessage, error) {
	arg = strings.TrimPrefix(arg, "@")
	raw := []byte(arg)
	if !strings.HasPrefix(strings.TrimSpace(arg), "{") {
		var err error
		if raw, err = os.ReadFile(arg); errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("there is no file %s; give a file, or JSON such as '{\"plan\": \"pro\"}'", arg)
		} else if err != nil {
			return nil, err
		}
	}
	if !json.Valid(raw) {
		return nil, fmt.Errorf("%.60q is not JSON", arg)
	}
	return raw, nil
}

// printPart prints one part, and on stderr what would keep the mail from being
// sent.
func (a *app) printPart(p preview, part string) error {
	for _, v := range p.Variables {
		if v.Message != "" {
			fmt.Fprintf(a.stderr, "opensend: %s\n", v.Message)
		}
	}
	_, err := fmt.Fprintln(a.stdout, strings.TrimSuffix(part, "\n"))
	return err
}

func (a *app) printPreview(p preview) error {
	if p.From != nil {
		fmt.Fprintf(a.stdout, "From: %s\n", *p.From)
	}
	if len(p.ReplyTo) > 0 {
		fmt.Fprintf(a.stdout, "Reply-To: %s\n", strings.Join(p.ReplyTo, ", "))
	}
	fmt.Fprintf(a.stdout, "Subject: %s\n\n%s\n", p.Subject, strings.TrimSuffix(p.Text, "\n"))
	if len(p.Variables) == 0 {
		return nil
	}
	fmt.Fprintln(a.stdout)
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "VARIABLE\tSTATUS\tVALUE")
	for _, v := range p.Variables {
		value := shortened(string(v.Value), 60)
		if v.Message != "" {
			value = v.Message
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", v.Name, v.Status, value)
	}
	return w.Flush()
}
