package cmd

import "github.com/spf13/cobra"

func newContacts(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "contacts",
		Short:   "Export or erase what is held about somebody",
		Long:    "Export or erase what is held about somebody. Works while the server runs and when it does not.",
		Example: "  opensend contacts export ada@example.com > ada.json\n  opensend contacts erase ada@example.com",
	}
	cmd.AddCommand(newContactsExport(a), newContactsErase(a))
	return cmd
}
