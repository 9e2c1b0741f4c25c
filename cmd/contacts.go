package cmd

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/opensend/opensend/automations"
)

// contact is a contact as the API gives it.
type contact struct {
	ID           string                     `json:"id"`
	Email        string                     `json:"email"`
	FirstName    *string                    `json:"first_name"`
	LastName     *string                    `json:"last_name"`
	Unsubscribed bool                       `json:"unsubscribed"`
	Properties   map[string]json.RawMessage `json:"properties"`
	Segments     []string                   `json:"segments"`
	CreatedAt    time.Time                  `json:"created_at"`
	UpdatedAt    time.Time                  `json:"updated_at"`
}

func (c contact) name() string {
	return strings.TrimSpace(textOf(c.FirstName) + " " + textOf(c.LastName))
}

func (c contact) state() string {
	return map[bool]string{true: "unsubscribed", false: "subscribed"}[c.Unsubscribed]
}

func newContacts(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "contacts",
		Short: "The people who get mail: list, change, export and erase them",
		Long: `List, create, change and delete contacts, and export or erase what is held about
somebody. Works while the server runs and when it does not.`,
		Example: "  opensend contacts list --search example.com\n  opensend contacts create ada@example.com --first-name Ada\n  opensend contacts erase ada@example.com",
	}
	cmd.AddCommand(newContactsList(a), newContactsShow(a), newContactsCreate(a), newContactsUpdate(a), newContactsDelete(a), newContactsExport(a), newContactsErase(a))
	return cmd
}

func newContactsList(a *app) *cobra.Command {
	return newList(a, listing[contact]{
		short: "List contacts, the newest first", example: "  opensend contacts list --search ada\n  opensend contacts list --status unsubscribed --limit 0 --json", path: "/contacts",
		filters: []filter{
			{"search", "search", "only with this `text` in the address or name"},
			{"status", "status", "only subscribed or unsubscribed"},
			{"segment", "segment_id", "only those in the segment of this `id`"},
		},
		empty: "No contacts yet. Create one with: opensend contacts create ADDRESS",
		columns: []column[contact]{
			{"ID", func(c contact) string { return c.ID }},
			{"EMAIL", func(c contact) string { return c.Email }},
			{"NAME", contact.name},
			{"STATUS", contact.state},
			{"CREATED", func(c contact) string { return c.CreatedAt.Format(time.DateTime) }},
		},
	})
}

func newContactsShow(a *app) *cobra.Command {
	return newShow(a, showing[contact]{
		use: "show ADDRESS|ID", short: "Show a contact", example: "  opensend contacts show ada@example.com", path: "/contacts/%s",
		print: func(w io.Writer, c contact) error {
			rows := [][2]string{
				{"ID", c.ID}, {"Email", c.Email}, {"Name", c.name()}, {"Status", c.state()}, {"Segments", strings.Join(c.Segments, ", ")},
				{"Created", c.CreatedAt.Format(time.DateTime)}, {"Updated", c.UpdatedAt.Format(time.DateTime)},
			}
			for _, name := range slices.Sorted(maps.Keys(c.Properties)) {
				rows = append(rows, [2]string{"  " + oneLine(name), string(c.Properties[name])})
			}
			return fields(w, rows...)
		},
	})
}

const contactValues = `

A property's value is a number or true or false if it looks like one, and text
otherwise; --property 'zip="01234"' is text in any case.`

func newContactsCreate(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "create ADDRESS", Short: "Create a contact", Long: "Create a contact." + contactValues, Args: cobra.ExactArgs(1),
		Example: "  opensend contacts create ada@example.com --first-name Ada --property plan=pro",
	}
	changes := contactFlags(cmd)
	a.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		in, err := changes()
		if err != nil {
			return usage(cmd, "%w", err)
		}
		in["email"] = args[0]
		return a.do(action{method: http.MethodPost, path: "/contacts", done: "created %s"}, nil, in)
	}
	return cmd
}

func newContactsUpdate(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "update ADDRESS|ID", Short: "Change a contact", Args: cobra.ExactArgs(1),
		Long:    "Change what the flags name of a contact, and nothing else." + contactValues + "\n--property plan=null removes one, --first-name '' a name.",
		Example: "  opensend contacts update ada@example.com --unsubscribed\n  opensend contacts update ada@example.com --email ada@example.org --property plan=null",
	}
	email := cmd.Flags().String("email", "", "the new `address`")
	changes := contactFlags(cmd)
	a.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		in, err := changes()
		if err != nil {
			return usage(cmd, "%w", err)
		}
		if cmd.Flags().Changed("email") {
			in["email"] = *email
		}
		if len(in) == 0 {
			return usage(cmd, "nothing to change; name what is to be different, such as --first-name Ada")
		}
		return orList(cmd, a.do(action{method: http.MethodPatch, path: "/contacts/%s", done: "updated %s"}, args, in))
	}
	return cmd
}

// contactFlags gives a command the flags for what a contact has; changes reads
// those that were given, as the API takes them.
func contactFlags(cmd *cobra.Command) (changes func() (map[string]any, error)) {
	f := cmd.Flags()
	first, last := f.String("first-name", "", "the first `name`"), f.String("last-name", "", "the last `name`")
	unsubscribed := f.Bool("unsubscribed", false, "whether no automation may write to it; --unsubscribed=false lifts it")
	properties := f.StringArray("property", nil, "a property, as `NAME=VALUE`; may be given several times")
	return func() (map[string]any, error) {
		in := map[string]any{}
		for flag, value := range map[string]any{"first-name": *first, "last-name": *last, "unsubscribed": *unsubscribed} {
			if value == "" {
				value = nil // removes it
			}
			if f.Changed(flag) {
				in[strings.ReplaceAll(flag, "-", "_")] = value
			}
		}
		if len(*properties) == 0 {
			return in, nil
		}
		values := map[string]json.RawMessage{}
		for _, text := range *properties {
			name, value, found := strings.Cut(text, "=")
			if !found || name == "" {
				return nil, fmt.Errorf("--property must be NAME=VALUE, such as plan=pro; it is %q", text)
			}
			values[name] = automations.PropertyValue(value)
		}
		in["properties"] = values
		return in, nil
	}
}

func newContactsDelete(a *app) *cobra.Command {
	return newAction(a, action{
		use: "delete ADDRESS|ID", short: "Delete a contact, for good",
		long: `Delete a contact: its runs are cancelled, and its address and what belongs to it
is erased from events, runs and mail. To erase also what others' records say of
the address, use erase.`,
		example: "  opensend contacts delete ada@example.com",
		method:  http.MethodDelete, path: "/contacts/%s", done: "deleted %s",
	})
}
