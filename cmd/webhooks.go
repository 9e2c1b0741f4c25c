package cmd

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/opensend/opensend/automations"
)

// webhook is a webhook as the API gives it.
type webhook struct {
	ID             string                    `json:"id"`
	Endpoint       string                    `json:"endpoint"`
	Events         []automations.NoticeType  `json:"events"`
	Status         automations.WebhookStatus `json:"status"`
	DisabledReason *string                   `json:"disabled_reason"`
	FailingSince   *time.Time                `json:"failing_since"`
	SigningSecret  string                    `json:"signing_secret,omitempty"`
	CreatedAt      time.Time                 `json:"created_at"`
	UpdatedAt      time.Time                 `json:"updated_at"`
}

// state is the status and why it is so.
func (w webhook) state() string {
	switch {
	case w.DisabledReason != nil:
		return string(w.Status) + ": " + *w.DisabledReason
	case w.FailingSince != nil && w.Status == automations.WebhookEnabled:
		return "failing since " + w.FailingSince.Format(time.DateTime)
	}
	return string(w.Status)
}

// webhookDelivery is a delivery to a webhook as the API gives it.
type webhookDelivery struct {
	ID            string                 `json:"id"`
	WebhookID     string                 `json:"webhook_id"`
	Type          automations.NoticeType `json:"type"`
	Status        string                 `json:"status"`
	Attempts      int                    `json:"attempts"`
	ResponseCode  *int                   `json:"response_code"`
	Response      *string                `json:"response"`
	Error         *string                `json:"error"`
	LastAttemptAt *time.Time             `json:"last_attempt_at"`
	NextAttemptAt *time.Time             `json:"next_attempt_at"`
	CreatedAt     time.Time              `json:"created_at"`
	Payload       json.RawMessage        `json:"payload,omitempty"`
}

func webhookPath(id string) string { return "/webhooks/" + url.PathEscape(id) }

func newWebhooks(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "webhooks",
		Short: "Tell other programs what happens, and see what they answered",
		Long: `Tell other programs what happens: a webhook is a URL that gets a signed POST for
each thing it asks for. Works while the server runs and when it does not; the
server delivers.`,
		Example: "  opensend webhooks create https://example.com/hooks --event email.bounced,contact.unsubscribed\n  opensend webhooks list",
	}
	cmd.AddCommand(newWebhooksCreate(a), newWebhooksList(a), newWebhooksShow(a), newWebhooksDelete(a), newWebhooksDeliveries(a), newWebhooksReplay(a))
	return cmd
}

func newWebhooksCreate(a *app) *cobra.Command {
	var events []string
	var words []string
	for _, kind := range automations.NoticeTypes() {
		words = append(words, string(kind))
	}
	cmd := &cobra.Command{
		Use:   "create URL --event TYPE",
		Short: "Create a webhook and print the secret that signs what it gets",
		Long: `Create a webhook and print its signing secret. Types:

  ` + strings.Join(words, "\n  "),
		Example: "  opensend webhooks create https://example.com/hooks --event email.bounced --event contact.unsubscribed",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(events) == 0 {
				return usage(cmd, "the webhook needs something to be told: --event TYPE, once or more")
			}
			var w webhook
			if err := a.call(http.MethodPost, "/webhooks", map[string]any{"endpoint": args[0], "events": events}, &w); err != nil {
				return err
			}
			if a.json {
				return a.printJSON(w)
			}
			_, err := fmt.Fprintf(a.stdout, "created %s\nsecret  %s\n", w.ID, w.SigningSecret)
			return err
		},
	}
	cmd.Flags().StringSliceVar(&events, "event", nil, "`type` of what it is told; may be repeated")
	a.jsonFlag(cmd)
	return cmd
}

func newWebhooksList(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List webhooks",
		Example: "  opensend webhooks list --json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			hooks, err := listAll(a, "/webhooks", func(w webhook) string { return w.ID })
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(hooks)
			}
			if len(hooks) == 0 {
				_, err := fmt.Fprintln(a.stdout, "No webhooks yet. Create one with: opensend webhooks create URL --event TYPE")
				return err
			}
			w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tENDPOINT\tTYPES\tSTATUS\tCREATED")
			for _, hook := range hooks {
				fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", hook.ID, hook.Endpoint, len(hook.Events), hook.state(), hook.CreatedAt.Format(time.DateTime))
			}
			return w.Flush()
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

func newWebhooksShow(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "show ID",
		Short:   "Show a webhook and its secret",
		Example: "  opensend webhooks show 0199f234-d327-7cd8-9dc5-4fd8e5e249df",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			var hook webhook
			if err := a.call(http.MethodGet, webhookPath(args[0]), nil, &hook); err != nil {
				return err
			}
			if a.json {
				return a.printJSON(hook)
			}
			w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintf(w, "id\t%s\nendpoint\t%s\nstatus\t%s\nsecret\t%s\ncreated\t%s\n", hook.ID, hook.Endpoint, hook.state(), hook.SigningSecret, hook.CreatedAt.Format(time.DateTime))
			for _, kind := range hook.Events {
				fmt.Fprintf(w, "told of\t%s\n", kind)
			}
			return w.Flush()
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

func newWebhooksDelete(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "delete ID",
		Short:   "Delete a webhook with its deliveries",
		Example: "  opensend webhooks delete 0199f234-d327-7cd8-9dc5-4fd8e5e249df",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			var gone struct {
				ID      string `json:"id"`
				Deleted bool   `json:"deleted"`
			}
			if err := a.call(http.MethodDelete, webhookPath(args[0]), nil, &gone); err != nil {
				return err
			}
			if a.json {
				return a.printJSON(gone)
			}
			_, err := fmt.Fprintf(a.stdout, "deleted %s\n", gone.ID)
			return err
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

func newWebhooksDeliveries(a *app) *cobra.Command {
	var limit int
	var status string
	cmd := &cobra.Command{
		Use:     "deliveries ID",
		Short:   "List what was sent to a webhook and what it answered",
		Example: "  opensend webhooks deliveries 0199f234-d327-7cd8-9dc5-4fd8e5e249df --status failed",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			var page struct {
				Data []webhookDelivery `json:"data"`
			}
			query := url.Values{"limit": {strconv.Itoa(limit)}, "status": {status}}
			if err := a.call(http.MethodGet, webhookPath(args[0])+"/deliveries?"+query.Encode(), nil, &page); err != nil {
				return err
			}
			if a.json {
				return a.printJSON(page.Data)
			}
			if len(page.Data) == 0 {
				_, err := fmt.Fprintln(a.stdout, "No deliveries.")
				return err
			}
			w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tTYPE\tSTATUS\tATTEMPTS\tCREATED\tNEXT ATTEMPT\tERROR")
			for _, d := range page.Data {
				next, why := "", ""
				if d.NextAttemptAt != nil {
					next = d.NextAttemptAt.Format(time.DateTime)
				}
				if d.Error != nil {
					why = *d.Error
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\t%s\n", d.ID, d.Type, d.Status, d.Attempts, d.CreatedAt.Format(time.DateTime), next, why)
			}
			return w.Flush()
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 20, "how many, newest first")
	cmd.Flags().StringVar(&status, "status", "", "only those that are pending, attempting, success or failed")
	a.jsonFlag(cmd)
	return cmd
}

func newWebhooksReplay(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "replay ID DELIVERY",
		Short:   "Deliver again, with the same id",
		Example: "  opensend webhooks replay 0199f234-d327-7cd8-9dc5-4fd8e5e249df 0199f234-e000-7cd8-9dc5-4fd8e5e249df",
		Args:    cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			var d webhookDelivery
			if err := a.call(http.MethodPost, webhookPath(args[0])+"/deliveries/"+url.PathEscape(args[1])+"/replay", nil, &d); err != nil {
				return err
			}
			if a.json {
				return a.printJSON(d)
			}
			_, err := fmt.Fprintf(a.stdout, "queued %s\n", d.ID)
			return err
		},
	}
	a.jsonFlag(cmd)
	return cmd
}
