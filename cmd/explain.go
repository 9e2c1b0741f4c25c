package cmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/opensend/opensend/automations"
)

// verdict is what was decided about an event for one automation, as the API
// gives it.
type verdict struct {
	Verdict      string  `json:"verdict"`
	AutomationID *string `json:"automation_id"`
	RunID        *string `json:"run_id"`
	StepKey      *string `json:"step_key"`
	Trigger      *string `json:"trigger_event_name"`
	OriginalID   *string `json:"original_delivery_id"`
	Window       int64   `json:"window_seconds"`
	Compared     []struct {
		Field    string          `json:"field"`
		Operator string          `json:"operator"`
		Expected json.RawMessage `json:"expected"`
		Actual   json.RawMessage `json:"actual"`
		Held     bool            `json:"held"`
	} `json:"compared"`
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
			c, err := a.connect()
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
		for _, compared := range v.comparisons() {
			fmt.Fprintf(a.stdout, "  %s\n", compared)
		}
	}
	return nil
}

// automationName is how a line about the verdict begins; empty when it is
// about no automation. names holds those that were asked for.
func (c *client) automationName(v verdict, names map[string]string) (string, error) {
	if v.AutomationID == nil {
		return "", nil
	}
	id := *v.AutomationID
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

// words say what the verdict is. A verdict that this program does not know is
// said as it is.
func (v verdict) words() string {
	run, step := orDash(v.RunID), orDash(v.StepKey)
	switch automations.Reason(v.Verdict) {
	case automations.Started:
		return "started run " + run
	case automations.Resumed:
		return fmt.Sprintf("run %s waited for it at step %q and goes on", run, step)
	case automations.Kept:
		return fmt.Sprintf("kept for run %s, which has yet to reach the wait for it at step %q", run, step)
	case automations.Deduplicated:
		return fmt.Sprintf("dropped: it repeats event %s within %d seconds", orDash(v.OriginalID), v.Window)
	case automations.ConditionsNotMet:
		if v.RunID != nil {
			return fmt.Sprintf("run %s waits on at step %q: the filter does not match", run, step)
		}
		return "started nothing: the conditions of the trigger are not met"
	case automations.Disabled:
		return "started nothing: it is not enabled"
	case automations.Unmatched:
		return "No automation has this event as its trigger, and no run waits for it."
	case automations.NearMiss:
		return fmt.Sprintf("started nothing: its trigger is %q, which is nearly this name", orDash(v.Trigger))
	case automations.ContactMissing:
		return "started nothing: the contact was deleted meanwhile"
	case automations.ReentryBlocked:
		return "started nothing: the contact is in it already"
	case automations.TooMany:
		return "started nothing: as many runs as one event may start or resume are there already"
	}
	return v.Verdict
}

// comparisons are the rules that were evaluated, with the values they saw.
func (v verdict) comparisons() (lines []string) {
	for _, c := range v.Compared {
		rule, outcome, actual := c.Field+" "+c.Operator, "not met", string(c.Actual)
		if c.Expected != nil {
			rule += " " + string(c.Expected)
		}
		if c.Held {
			outcome = "met"
		}
		if c.Actual == nil {
			actual = "missing"
		}
		lines = append(lines, fmt.Sprintf("%s: %s, it is %s", oneLine(rule), outcome, oneLine(actual)))
	}
	return lines
}
