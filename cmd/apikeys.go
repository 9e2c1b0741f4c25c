package cmd

import (
	"fmt"
	"net/http"
	"slices"
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
	Test       bool                   `json:"test"`
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
	var test bool
	cmd := &cobra.Command{
		Use:   "create --name NAME",
		Short: "Create an API key and print it, once",
		Long: `Create an API key and print it. It is shown this once and stored as a hash.

Permissions: full_access, sending_access (the mail routes), events_access
(posting events: the key to put into an application), metrics_access (reading
/metrics: the key for Prometheus).

With --test it is a key for trying things out: mail that it asks for, and mail of
runs that its events start, is captured even where other mail is sent.`,
		Example: "  opensend apikeys create --name app --permission events_access\n  opensend apikeys create --name staging --test\n  opensend apikeys create --name ci --expires 2030-01-31T12:00:00Z --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if name == "" {
				return usage(cmd, "the key needs a name: --name NAME")
			}
			if !slices.Contains(automations.Permissions(), automations.Permission(permission)) {
				return usage(cmd, "%q is not a permission; use full_access, sending_access, events_access or metrics_access", permission)
			}
			in := map[string]any{"name": name, "permission": permission, "test": test}
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
	cmd.Flags().BoolVar(&test, "test", false, "capture what it asks for")
	cmd.Flags().StringVar(&expires, "expires", "", "`time` after which it is refused, in RFC 3339")
	a.jsonFlag(cmd)
	return cmd
}

func newAPIKeysList(a *app) *cobra.Command {
	return newList(a, listing[apiKey]{
		short: "List API keys", example: "  opensend apikeys list --json", path: "/api-keys",
		empty: "No API keys yet. Create one with: opensend apikeys create --name NAME",
		columns: []column[apiKey]{
			{"ID", func(k apiKey) string { return k.ID }},
			{"NAME", func(k apiKey) string { return k.Name }},
			{"PERMISSION", func(k apiKey) string { return string(k.Permission) }},
			{"MODE", func(k apiKey) string { return map[bool]string{true: "test", false: "live"}[k.Test] }},
			{"CREATED", func(k apiKey) string { return k.CreatedAt.Format(time.DateTime) }},
			{"EXPIRES", func(k apiKey) string { return orNever(k.ExpiresAt) }},
			{"LAST USED", func(k apiKey) string { return orNever(k.LastUsedAt) }},
		},
	})
}

func newAPIKeysRevoke(a *app) *cobra.Command {
	return newAction(a, action{
		use: "revoke ID", short: "Revoke an API key, at once and for good", example: "  opensend apikeys revoke 0199f234-d327-7cd8-9dc5-4fd8e5e249df",
		method: http.MethodDelete, path: "/api-keys/%s", done: "revoked %s",
	})
}
