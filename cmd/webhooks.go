package cmd

import (
	"fmt"
	"io"
	"net/http"
	"strings"
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

// webhookDelivery is a delivery to a webhook as the API gives it, as far as a
// list shows it.
type webhookDelivery struct {
	ID            string                 `json:"id"`
	Type          automations.NoticeType `json:"type"`
	Status        string                 `json:"status"`
	Attempts      int                    `json:"attempts"`
	Error         *string                `json:"error"`
	NextAttemptAt *time.Time             `json:"next_attempt_at"`
	CreatedAt     time.Time              `json:"created_at"`
}

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
	return newList(a, listing[webhook]{
		short: "List webhooks", example: "  opensend webhooks list --json", path: "/webhooks",
		empty: "No webhooks yet. Create one with: opensend webhooks create URL --event TYPE",
		columns: []column[webhook]{
			{"ID", func(w webhook) string { return w.ID }},
			{"ENDPOINT", func(w webhook) string { return w.Endpoint }},
			{"TYPES", func(w webhook) string { return fmt.Sprint(len(w.Events)) }},
			{"STATUS", webhook.state},
			{"CREATED", func(w webhook) string { return w.CreatedAt.Format(time.DateTime) }},
		},
	})
}

func newWebhooksShow(a *app) *cobra.Command {
	return newShow(a, showing[webhook]{
		use: "show ID", short: "Show a webhook and its secret", example: "  opensend webhooks show 0199f234-d327-7cd8-9dc5-4fd8e5e249df", path: "/webhooks/%s",
		print: func(out io.Writer, w webhook) error {
			rows := [][2]string{{"ID", w.ID}, {"Endpoint", w.Endpoint}, {"Status", w.state()}, {"Secret", w.SigningSecret}, {"Created", w.CreatedAt.Format(time.DateTime)}}
			for _, kind := range w.Events {
				rows = append(rows, [2]string{"Told of", string(kind)})
			}
			return fields(out, rows...)
		},
	})
}

func newWebhooksDelete(a *app) *cobra.Command {
	return newAction(a, action{
		use: "delete ID", short: "Delete a webhook with its deliveries", example: "  opensend webhooks delete 0199f234-d327-7cd8-9dc5-4fd8e5e249df",
		method: http.MethodDelete, path: "/webhooks/%s", done: "deleted %s",
	})
}

func newWebhooksDeliveries(a *app) *cobra.Command {
	return newList(a, listing[webhookDelivery]{
		use: "deliveries ID", short: "List what was sent to a webhook and what it answered",
		example: "  opensend webhooks deliveries 0199f234-d327-7cd8-9dc5-4fd8e5e249df --status failed", path: "/webhooks/%s/deliveries",
		filters: []filter{{"status", "status", "only those that are pending, attempting, success or failed"}},
		empty:   "No deliveries.",
		columns: []column[webhookDelivery]{
			{"ID", func(d webhookDelivery) string { return d.ID }},
			{"TYPE", func(d webhookDelivery) string { return string(d.Type) }},
			{"STATUS", func(d webhookDelivery) string { return d.Status }},
			{"ATTEMPTS", func(d webhookDelivery) string { return fmt.Sprint(d.Attempts) }},
			{"CREATED", func(d webhookDelivery) string { return d.CreatedAt.Format(time.DateTime) }},
			{"NEXT ATTEMPT", func(d webhookDelivery) string { return timeText(d.NextAttemptAt) }},
			{"ERROR", func(d webhookDelivery) string { return textOf(d.Error) }},
		},
	})
}

func newWebhooksReplay(a *app) *cobra.Command {
	return newAction(a, action{
		use: "replay ID DELIVERY", short: "Deliver again, with the same id",
		example: "  opensend webhooks replay 0199f234-d327-7cd8-9dc5-4fd8e5e249df 0199f234-e000-7cd8-9dc5-4fd8e5e249df",
		method:  http.MethodPost, path: "/webhooks/%s/deliveries/%s/replay", done: "queued %s", waits: true,
	})
}
