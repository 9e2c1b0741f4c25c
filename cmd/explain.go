package cmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/opensend/opensend/automations"
)

// verdict is what was decided about an event for one automation, as the API
// gives it.
type verdict struct {
	Verdict      automations.Reason       `json:"verdict"`
	AutomationID automations.ID           `json:"automation_id"`
	RunID        automations.ID           `json:"run_id"`
	StepKey      string                   `json:"step_key"`
	Trigger      string                   `json:"trigger_event_name"`
	OriginalID   automations.ID           `json:"original_delivery_id"`
	Window       int64                    `json:"window_seconds"`
	Compared     []automations.Comparison `json:"compared"`
}

func (v verdict) words() string {
	return automations.Verdict{
		Reason: v.Verdict, WorkflowID: v.AutomationID, RunID: v.RunID, StepKey: v.StepKey, Trigger: v.Trigger, OriginalID: v.OriginalID, WindowSeconds: v.Window,
	}.Words()
}

func newEventsExplain(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain ID",
		Short: "Say why an event did what it did",
		Long: `Say what each automation made of an event and why: the verdicts that were stored
with it, and the values that were compared. The id is in the answer to the event
and in "events tail".`,
		Example: "  opensend events explain 0199f234-d327-7cd8-9dc5-4fd8e5e249df",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := a.connect(http.MethodGet)
			if err != nil {
				return err
			}
			defer c.close()
			return a.explain(c, args[0])
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) explain(c *client, id string) error {
	var raw json.RawMessage
	if err := c.call(http.MethodGet, "/deliveries/"+url.PathEscape(id), nil, &raw); err != nil {
		return err
	}
	if a.json {
		return a.printJSON(raw)
	}
	var d delivery
	if err := json.Unmarshal(raw, &d); err != nil {
		return err
	}
	key := ""
	if d.Test {
		key = "a test key"
	}
	err := fields(a.stdout, [][2]string{
		{"Event", d.Event}, {"Contact", orDash(d.Email)}, {"Payload", oneLine(string(d.Payload))}, {"Received", d.ReceivedAt.Format(time.DateTime)}, {"With", key}, {"ID", d.ID},
	}...)
	if err != nil {
		return err
	}
	names := map[string]string{}
	for _, v := range d.Verdicts {
		name, err := c.automationName(v, names)
		if err != nil {
			return err
		}
		fmt.Fprintf(a.stdout, "\n%s%s\n", name, v.words())
		for _, compared := range v.Compared {
			fmt.Fprintf(a.stdout, "  %s\n", strings.Map(printable, compared.Words()))
		}
	}
	return nil
}

// automationName is how a line about the verdict begins; empty when it is
// about no automation. names holds those that were asked for.
func (c *client) automationName(v verdict, names map[string]string) (string, error) {
	if v.AutomationID == (automations.ID{}) {
		return "", nil
	}
	id := v.AutomationID.String()
	if _, known := names[id]; !known {
		var m automation
		err := c.call(http.MethodGet, "/automations/"+id, nil, &m)
		if refused, ok := errors.AsType[*refusedError](err); ok && refused.status == http.StatusNotFound {
			m.Name, err = id+" (deleted)", nil
		}
		if err != nil {
			return "", err
		}
		names[id] = oneLine(m.Name)
	}
	return names[id] + ": ", nil
}
