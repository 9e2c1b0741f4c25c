package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

func newEvents(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "events",
		Short:   "Send an event, follow events, and see why one did what it did",
		Example: "  opensend events send user.signed_up ada@example.com --data '{\"plan\": \"pro\"}'\n  opensend events tail",
	}
	cmd.AddCommand(newEventsSend(a), newEventsTail(a), newEventsExplain(a))
	return cmd
}

func newEventsSend(a *app) *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use:   "send NAME ADDRESS",
		Short: "Send an event of a contact, and see what it does",
		Long: `Send an event as an application would, and print what each automation made of it.
A contact that is not known yet is created. Works while the server runs and when
it does not: then the runs begin when it does.`,
		Example: "  opensend events send user.signed_up ada@example.com --data '{\"plan\": \"pro\"}'\n  opensend events send invoice.paid ada@example.com --data @invoice.json --json",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			in := map[string]any{"event": args[0], "email": args[1]}
			if data != "" {
				payload, err := readJSONArgument(data)
				if err != nil {
					return usage(cmd, "--data: %w", err)
				}
				in["payload"] = payload
			}
			return a.sendEvent(in)
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "the payload: a `JSON` object, or @FILE with one")
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) sendEvent(in map[string]any) error {
	c, err := a.connect(http.MethodPost)
	if err != nil {
		return err
	}
	defer c.close()
	var raw json.RawMessage
	if err := c.call(http.MethodPost, "/events/send", in, &raw); err != nil {
		return err
	}
	if c.offline {
		fmt.Fprintln(a.stderr, noServer)
	}
	if a.json {
		return a.printJSON(raw)
	}
	var receipt struct{ Delivery struct{ ID string } }
	if err := json.Unmarshal(raw, &receipt); err != nil {
		return err
	}
	return a.explain(c, receipt.Delivery.ID)
}

func newEventsTail(a *app) *cobra.Command {
	var name, contact string
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Print events as they come, until Ctrl-C",
		Long: `Print each event that comes from now on, in one line: when it came, its name, its
contact, what automations made of it, and its id for "events explain". With --json
each line is a JSON object. The server must be running.`,
		Example: "  opensend events tail\n  opensend events tail --event invoice.paid --json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			query := url.Values{}
			for parameter, value := range map[string]string{"event": name, "email": contact} {
				if value != "" {
					query.Set(parameter, value)
				}
			}
			return a.tail(ctx, query)
		},
	}
	cmd.Flags().StringVar(&name, "event", "", "only events of this `name`")
	cmd.Flags().StringVar(&contact, "email", "", "only events of this `address`")
	a.jsonFlag(cmd)
	return cmd
}

const (
	tailEvery = time.Second
	// beforeAll is older than every event.
	beforeAll = "00000000-0000-7000-8000-000000000000"
)

// tail asks for what is newer than the last event that it knows.
func (a *app) tail(ctx context.Context, query url.Values) error {
	cfg, err := a.config()
	if err != nil {
		return err
	}
	c, err := serving(cfg)
	if c == nil && err == nil {
		err = &exitError{exitFailed, errors.New("no server is running, so no events come"), "opensend serve"}
	}
	if err != nil {
		return err
	}
	defer c.close()
	newest, err := c.page("/deliveries", url.Values{"limit": {"1"}})
	if err != nil {
		return err
	}
	last := delivery{ID: beforeAll}
	for _, raw := range newest.Data {
		if err := json.Unmarshal(raw, &last); err != nil {
			return err
		}
	}
	query.Set("before", last.ID)
	query.Set("limit", fmt.Sprint(listPage))
	fmt.Fprintln(a.stderr, "Waiting for events; Ctrl-C ends.")
	ticker := time.NewTicker(tailEvery)
	defer ticker.Stop()
	for {
		more, err := a.printNewer(c, query)
		if err != nil {
			return err
		}
		if more && ctx.Err() == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// printNewer prints a page of events, the oldest first, and moves the query to
// where it ended.
func (a *app) printNewer(c *client, query url.Values) (more bool, err error) {
	p, err := c.page("/deliveries", query)
	if err != nil {
		return false, err
	}
	for _, raw := range slices.Backward(p.Data) {
		var d delivery
		if err := json.Unmarshal(raw, &d); err != nil {
			return false, err
		}
		query.Set("before", d.ID)
		line := string(raw)
		if !a.json {
			line = d.line()
		}
		if _, err := fmt.Fprintln(a.stdout, line); err != nil {
			return false, err
		}
	}
	if p.Cursor != "" {
		query.Set("before", p.Cursor)
	}
	return p.HasMore, nil
}

// delivery is a stored event as the API gives it.
type delivery struct {
	ID         string          `json:"id"`
	Event      string          `json:"event"`
	Email      *string         `json:"email"`
	Payload    json.RawMessage `json:"payload"`
	Test       bool            `json:"test"`
	ReceivedAt time.Time       `json:"received_at"`
	Verdicts   []verdict       `json:"verdicts"`
}

// line is the event in one line.
func (d delivery) line() string {
	var words []string
	for _, v := range d.Verdicts {
		if !slices.Contains(words, string(v.Verdict)) {
			words = append(words, string(v.Verdict))
		}
	}
	return strings.Join([]string{d.ReceivedAt.Format(time.DateTime), oneLine(d.Event), orDash(d.Email), strings.Join(words, ","), d.ID}, "  ")
}
