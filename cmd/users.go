package cmd

import (
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

// user is somebody who may sign in to the dashboard.
type user struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	CreatedAt  time.Time  `json:"created_at"`
	SignedInAt *time.Time `json:"signed_in_at"`
	Invitation string     `json:"invitation,omitempty"`
	Path       string     `json:"invitation_path,omitempty"`
}

func newUsers(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "users",
		Short: "List, add, reset and remove those who may sign in to the dashboard",
		Long: `List, add, reset and remove those who may sign in to the dashboard. The first
user is made with the link that opensend serve prints.`,
		Example: "  opensend users add Ada\n  opensend users reset Ada",
	}
	cmd.AddCommand(
		newList(a, listing[user]{
			short: "List those who may sign in to the dashboard", example: "  opensend users list --json", path: "/control/users",
			empty: "Nobody can sign in yet. Start the server and open the link that it prints.",
			columns: []column[user]{
				{"NAME", func(u user) string { return u.Name }},
				{"CREATED", func(u user) string { return u.CreatedAt.Format(time.DateTime) }},
				{"SIGNED IN", func(u user) string { return orNever(u.SignedInAt) }},
			},
		}),
		newInvite(a, true, "add NAME", "Add somebody, and print the link where they set their password", "  opensend users add Ada"),
		newInvite(a, false, "reset NAME", "Print a link where somebody sets a new password", "  opensend users reset Ada"),
		newAction(a, action{
			use: "remove NAME", short: "Remove somebody, and sign them out", example: "  opensend users remove Ada",
			method: http.MethodDelete, path: "/control/users/%s", done: "removed %s",
		}),
	)
	return cmd
}

func newInvite(a *app, isNew bool, use, short, example string) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Example: example, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			in := map[string]any{"name": args[0]}
			if isNew {
				in["new"] = true
			}
			var u user
			if err := a.call(http.MethodPost, "/control/users", in, &u); err != nil {
				return orList(cmd, err)
			}
			u.Invitation, u.Path = cfg.BaseURL+u.Path, ""
			if a.json {
				return a.printJSON(u)
			}
			_, err = fmt.Fprintf(a.stdout, "%s\nThe link is good once, for a day.\n", u.Invitation)
			return err
		},
	}
	a.jsonFlag(cmd)
	return cmd
}
