package cmd

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/opensend/opensend/automations"
)

// apiKey is an API key as the API gives it.
type apiKey struct {
	ID         string                 `json:"id"`
	Token      string                 `json:"token,omitempty"`
	Name       string                 `json:"name"`
	Permission automations.Permission `json:"permission"`
	CreatedAt  time.Time              `json:"created_at"`
	ExpiresAt  *time.Time             `json:"expires_at"`
	LastUsedAt *time.Time             `json:"last_used_at"`
}

func newAPIKeys(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "apikeys",
		Short:   "Create, list and revoke API keys",
		Long:    "Create, list and revoke API keys. Works while the server runs, at once, and when it does not.",
		Example: "  opensend apikeys create --name app --permission events_access\n  opensend apikeys list",
	}
	cmd.AddCommand(newAPIKeysCreate(a), newAPIKeysList(a), newAPIKeysRevoke(a))
	return cmd
}

func newAPIKeysCreate(a *app) *cobra.Command {
	var name, permission, expires string
	cmd := &cobra.Command{
		Use:   "create --name NAME",
		Short: "Create an API key and print it, once",
		Long: `Create an API key and print it. It is shown this once and stored as a hash.

Permissions: full_access, sending_access (the mail routes), events_access
(posting events: the key to put into an application).`,
		Example: "  opensend apikeys create --name app --permission events_access\n  opensend apikeys create --name ci --expires 2030-01-31T12:00:00Z --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if name == "" {
				return usage(cmd, "the key needs a name: --name NAME")
			}
			if !slices.Contains(automations.Permissions(), automations.Permission(permission)) {
				return usage(cmd, "%q is not a permission; use full_access, sending_access or events_access", permission)
			}
			in := map[string]string{"name": name, "permission": permission}
			if expires != "" {
				in["expires_at"] = expires
			}
			var key apiKey
			if err := a.call(http.MethodPost, "/api-keys", in, &key); err != nil {
				return err
			}
			if a.json {
				return a.printJSON(key)
			}
			_, err := fmt.Fprintln(a.stdout, key.Token)
			return err
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "what the key is for")
	cmd.Flags().StringVar(&permission, "permission", string(automations.FullAccess), "what it may do")
	cmd.Flags().StringVar(&expires, "expires", "", "`time` after which it is refused, in RFC 3339")
	a.jsonFlag(cmd)
	return cmd
}

func newAPIKeysList(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List API keys",
		Example: "  opensend apikeys list --json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			keys, err := listAll(a, "/api-keys", func(k apiKey) string { return k.ID })
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(keys)
			}
			if len(keys) == 0 {
				_, err := fmt.Fprintln(a.stdout, "No API keys yet. Create one with: opensend apikeys create --name NAME")
				return err
			}
			w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tNAME\tPERMISSION\tCREATED\tEXPIRES\tLAST USED")
			for _, k := range keys {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.Name, k.Permission, k.CreatedAt.Format(time.DateTime), orNever(k.ExpiresAt), orNever(k.LastUsedAt))
			}
			return w.Flush()
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

func orNever(t *time.Time) string {
	if t == nil {
		return "never"
	}
	return t.Format(time.DateTime)
}

func newAPIKeysRevoke(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "revoke ID",
		Short:   "Revoke an API key, at once and for good",
		Example: "  opensend apikeys revoke 0199f234-d327-7cd8-9dc5-4fd8e5e249df",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			var gone struct {
				ID      string `json:"id"`
				Deleted bool   `json:"deleted"`
			}
			if err := a.call(http.MethodDelete, "/api-keys/"+url.PathEscape(args[0]), nil, &gone); err != nil {
				return err
			}
			if a.json {
				return a.printJSON(gone)
			}
			_, err := fmt.Fprintf(a.stdout, "revoked %s\n", gone.ID)
			return err
		},
	}
	a.jsonFlag(cmd)
	return cmd
}
