package cmd

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"
)

func newContactsExport(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export ADDRESS|ID",
		Short: "Print everything that is held about an address, as JSON",
		Long: `Print everything that is held about an address: the contact, its segments and
topics, its events, runs and mail with content, what webhooks were told of it, and
whether it is suppressed. The address need not be a contact's. The output is one
JSON object, with --json and without.`,
		Example: "  opensend contacts export ada@example.com > ada.json",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := a.connect(http.MethodGet)
			if err != nil {
				return err
			}
			defer c.close()
			return c.stream("/contacts/"+url.PathEscape(args[0])+"/export", a.stdout)
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

// erasure is the API's answer to an erasure.
type erasure struct {
	Object    string  `json:"object"`
	Email     string  `json:"email"`
	ContactID *string `json:"contact_id"`
	Finished  bool    `json:"finished"`
}

func newContactsErase(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "erase ADDRESS|ID",
		Short: "Erase everything about an address, for good",
		Long: `Erase everything about an address: the contact, its events, runs and mail, and
where others' records name it. Its runs are cancelled and its mail does not
leave. If the address is suppressed it stays so, by a hash that does not give it
away. This cannot be undone. The address need not be a contact's.

Automations, templates and other things that you wrote yourself are left alone.
Bytes of what was erased stay in unused pages of the file until they are used
again; opensend compact drops them.`,
		Example: "  opensend contacts erase ada@example.com",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			done, err := a.erase(args[0])
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(done)
			}
			note := ""
			if done.ContactID == nil { // of a mistyped address, too
				note = " (no contact had this address)"
			}
			_, err = fmt.Fprintf(a.stdout, "erased %s%s\n", done.Email, note)
			return err
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

// erase asks until it is finished; each time the server works on it for a few
// seconds.
func (a *app) erase(ref string) (erasure, error) {
	c, err := a.connect(http.MethodDelete)
	if err != nil {
		return erasure{}, err
	}
	defer c.close()
	var first, now erasure
	for {
		if err := c.call(http.MethodPost, "/contacts/"+url.PathEscape(ref)+"/erase", nil, &now); err != nil {
			return now, err
		}
		if first.Email == "" {
			first = now
		}
		if first.Finished = now.Finished; now.Finished {
			return first, nil
		}
		fmt.Fprintf(a.stderr, "still erasing %s\n", now.Email)
		ref = now.Email // the contact is gone
	}
}
