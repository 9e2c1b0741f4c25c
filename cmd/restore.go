package cmd

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/opensend/opensend/server"
	"github.com/opensend/opensend/storage"
)

func newRestore(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Put a backup in the place of the data file",
		Long: `Verify FILE and put a copy of it in the place of the data file, which is kept
beside it under a name with the time. The server must be stopped.

Afterwards nothing is sent until "opensend resume" says what happens to what fell
due since the backup was made: it may have been sent already.`,
		Example: "  opensend restore /var/backups/opensend-monday.db\n  opensend serve\n  opensend resume",
		Args:    cobra.ExactArgs(1),
		RunE:    func(_ *cobra.Command, args []string) error { return a.restore(args[0]) },
	}
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) restore(file string) error {
	cfg, err := a.config()
	if err != nil {
		return err
	}
	tell, done := a.progress()
	restored, err := storage.Restore(file, cfg.Data, time.Now().UTC().Truncate(time.Millisecond), tell)
	done()
	if err != nil {
		return stopFirst(err)
	}
	overdue, err := overdueIn(cfg)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(struct {
			*storage.Restored
			Overdue *storage.Overdue `json:"overdue"`
		}{restored, overdue})
	}
	fmt.Fprintf(a.stdout, "restored %s: %s, %d rows, verified\n", file, size(restored.Bytes), restored.Rows)
	if !restored.AsOf.IsZero() {
		fmt.Fprintf(a.stdout, "It shows how things were at %s.\n", restored.AsOf.Format(time.RFC3339))
	}
	if restored.Kept != "" {
		fmt.Fprintf(a.stdout, "The file that was there is now %s.\n", restored.Kept)
	}
	printOverdue(a.stdout, overdue)
	_, err = fmt.Fprintln(a.stdout, "Nothing is sent until you run: opensend resume")
	return err
}

// stopFirst adds to an error that the server is in the way.
func stopFirst(err error) error {
	if _, ok := errors.AsType[*storage.InUseError](err); ok {
		return fmt.Errorf("%w; stop it first", err)
	}
	return err
}

// overdueIn counts what fell due in a held file that nobody serves.
func overdueIn(cfg Config) (overdue *storage.Overdue, err error) {
	db, err := cfg.open()
	if err != nil {
		return nil, err
	}
	err = db.View(func(tx *storage.Tx) error {
		held, err := tx.Held()
		if err == nil {
			overdue, err = tx.Overdue(held, time.Now())
		}
		return err
	})
	return overdue, errors.Join(err, db.Close())
}

func newResume(a *app) *cobra.Command {
	var send, drop bool
	cmd := &cobra.Command{
		Use:   "resume",
		Short: "Let a restored or copied data file send again",
		Long: `A restored or copied data file is held: events are accepted, and no run goes on
and nothing is sent, because the file it was copied from may have sent it already.

resume tells what fell due while the file was away. When that is nothing, sending
begins. Otherwise say what happens to it:

  --drop-overdue  none of it is sent. Mails and webhook notices that were due are
                  given up. Runs go on to where they wait for something that is
                  still to come, without the mails on the way there.
  --send-overdue  all of it is sent now, late.`,
		Example: "  opensend resume\n  opensend resume --drop-overdue",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if send && drop {
				return usage(cmd, "--send-overdue and --drop-overdue exclude each other")
			}
			decision := map[bool]string{send: "send", drop: "drop"}[true]
			return a.resume(decision)
		},
	}
	cmd.Flags().BoolVar(&drop, "drop-overdue", false, "send nothing of what fell due")
	cmd.Flags().BoolVar(&send, "send-overdue", false, "send all that fell due, late")
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) resume(decision string) error {
	cfg, err := a.config()
	if err != nil {
		return err
	}
	c, err := serving(cfg)
	if c == nil && err == nil {
		c, err = openHeld(cfg)
	}
	if err != nil {
		return err
	}
	defer c.close()
	var status server.Status
	if err := c.call(http.MethodGet, "/control/status", nil, &status); err != nil {
		return err
	}
	if status.Held != nil && !a.json {
		fmt.Fprintf(a.stdout, "Held since %s: %s.\n", status.Held.Since.Format(time.RFC3339), status.Held.Reason)
		printOverdue(a.stdout, status.Overdue)
	}
	if status.Held != nil && decision == "" && !status.Overdue.None() {
		if a.json {
			if err := a.printJSON(status); err != nil {
				return err
			}
		}
		return &exitError{exitFailed, errors.New("say what happens to what fell due"), "opensend resume --drop-overdue, or --send-overdue"}
	}
	in := map[string]string{}
	if decision != "" {
		in["overdue"] = decision
	}
	var overdue storage.Overdue
	c.http.Timeout = 0 // many runs take their time
	if err := c.call(http.MethodPost, "/control/resume", in, &overdue); err != nil {
		return err
	}
	if a.json {
		return a.printJSON(overdue)
	}
	_, err = fmt.Fprintln(a.stdout, "Resumed.")
	return err
}

// openHeld opens the file as the server would, so that it is held if it is a
// copy.
func openHeld(cfg Config) (*client, error) {
	if err := mustExist(cfg); err != nil {
		return nil, err
	}
	ap, err := newAppliance(cfg, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	return &client{http: &http.Client{Transport: handlerTransport{ap.api.Control()}}, close: ap.db.Close}, nil
}

func printOverdue(w io.Writer, o *storage.Overdue) {
	if o.None() {
		fmt.Fprintln(w, "Nothing fell due.")
		return
	}
	fmt.Fprintf(w, "Since %s these fell due: %s to go on, %s and %s to send.\n", o.Oldest.Format(time.RFC3339), plural(o.Runs, "run"), plural(o.Emails, "mail"), plural(o.Notices, "webhook notice"))
	for _, part := range o.Automations {
		fmt.Fprintf(w, "  %q (%s): %s, %s\n", part.Name, part.ID, plural(part.Runs, "run"), plural(part.Emails, "mail"))
	}
}
