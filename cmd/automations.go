package cmd

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// automation is an automation as the API gives it, in a list or by itself.
type automation struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Status    string    `json:"status"`
	Trigger   string    `json:"trigger_event_name"`
	Revision  int       `json:"revision"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`

	// in a list
	StepCount int `json:"step_count"`
	LastRun   *struct {
		Status    string    `json:"status"`
		CreatedAt time.Time `json:"created_at"`
	} `json:"last_run"`

	// by itself
	Steps []struct {
		Key    string          `json:"key"`
		Type   string          `json:"type"`
		Config json.RawMessage `json:"config"`
	} `json:"steps"`
	Connections []struct{ From, To, Type string } `json:"connections"`
}

func (m automation) lastRun() string {
	if m.LastRun == nil {
		return "-"
	}
	return m.LastRun.CreatedAt.Format(time.DateTime) + " " + m.LastRun.Status
}

func newAutomations(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "automations",
		Short:   "List and show automations, and keep them in files",
		Long:    "List automations, show their steps, and keep them in YAML files: written by\nexport, checked by validate, put in force by apply. Works while the server runs\nand when it does not.",
		Example: "  opensend automations list --status enabled\n  opensend automations export flows\n  opensend automations apply flows",
	}
	cmd.AddCommand(newAutomationsList(a), newAutomationsShow(a), newAutomationsExport(a), newAutomationsValidate(a), newAutomationsApply(a))
	return cmd
}

func newAutomationsList(a *app) *cobra.Command {
	return newList(a, listing[automation]{
		short: "List automations, the newest first", example: "  opensend automations list --status enabled\n  opensend automations list --json", path: "/automations",
		filters: []filter{
			{"status", "status", "only draft, enabled or disabled"},
			{"search", "search", "only with this `text` in the name"},
		},
		empty: "No automations yet. Create one with: POST /automations, or opensend automations apply FILE",
		columns: []column[automation]{
			{"ID", func(m automation) string { return m.ID }},
			{"NAME", func(m automation) string { return m.Name }},
			{"STATUS", func(m automation) string { return m.Status }},
			{"TRIGGER", func(m automation) string { return m.Trigger }},
			{"STEPS", func(m automation) string { return fmt.Sprint(m.StepCount) }},
			{"LAST RUN", automation.lastRun},
		},
	})
}

func newAutomationsShow(a *app) *cobra.Command {
	return newShow(a, showing[automation]{
		use: "show ID", short: "Show an automation with its steps", example: "  opensend automations show 0199f234-d327-7cd8-9dc5-4fd8e5e249df",
		path: "/automations/%s", print: printAutomation,
	})
}

// printAutomation prints each step with where it leads. Without connections
// the steps follow one another.
func printAutomation(out io.Writer, m automation) error {
	err := fields(out, [][2]string{
		{"ID", m.ID}, {"Name", m.Name}, {"Status", m.Status}, {"Trigger", m.Trigger}, {"Revision", fmt.Sprint(m.Revision)},
		{"Created", m.CreatedAt.Format(time.DateTime)}, {"Updated", m.UpdatedAt.Format(time.DateTime)},
	}...)
	if err != nil {
		return err
	}
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "STEP\tTYPE\tTHEN\tCONFIG")
	for i, s := range m.Steps {
		then := ""
		for _, c := range m.Connections {
			if c.From != s.Key {
				continue
			}
			if then != "" {
				then += ", "
			}
			if c.Type != "default" {
				then += c.Type + ": "
			}
			then += c.To
		}
		if len(m.Connections) == 0 && i+1 < len(m.Steps) {
			then = m.Steps[i+1].Key
		}
		if then == "" {
			then = "-"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", oneLine(s.Key), s.Type, oneLine(then), oneLine(string(s.Config)))
	}
	return w.Flush()
}
