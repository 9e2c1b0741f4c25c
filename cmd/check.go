package cmd

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/opensend/opensend/storage"
)

func newCheck(a *app) *cobra.Command {
	var repair, yes bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Make sure that the data file is whole",
		Long: `Look at everything in the data file: its pages, the checksum of every row, and
that the rows fit together. While the server runs, a copy is looked at.

With --repair it lists what could be mended, and with --yes as well it mends it:
index rows, counts and wake-ups, which follow from the records. It never deletes
a record. What it cannot mend needs a backup. The server must be stopped.`,
		Example: "  opensend check\n  opensend check --repair\n  opensend check --repair --yes",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.config()
			switch {
			case err != nil:
				return err
			case yes && !repair:
				return usage(cmd, "--yes needs --repair")
			case repair:
				return a.repair(cfg, yes)
			}
			return a.check(cfg)
		},
	}
	cmd.Flags().BoolVar(&repair, "repair", false, "list what could be mended")
	cmd.Flags().BoolVar(&yes, "yes", false, "mend it")
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) check(cfg Config) error {
	report, err := a.inspect(cfg)
	if err != nil {
		return err
	}
	if a.json {
		if err := a.printJSON(report); err != nil {
			return err
		}
	} else {
		for _, f := range report.Faults {
			fmt.Fprintln(a.stdout, f.Text)
		}
	}
	if n := len(report.Faults); n > 0 {
		return &exitError{exitFailed, fmt.Errorf("%s does not fit together: %s", cfg.Data, plural(n, "fault")), "opensend check --repair, with the server stopped; or restore a backup"}
	}
	if a.json {
		return nil
	}
	_, err = fmt.Fprintf(a.stdout, "%s is whole: %s, %d rows\n", cfg.Data, size(report.Bytes), report.Rows)
	return err
}

// inspect looks at the data file, or at a copy while a server holds it.
func (a *app) inspect(cfg Config) (*storage.Report, error) {
	c, err := serving(cfg)
	if err != nil {
		return nil, err
	}
	tell, done := a.progress()
	defer done()
	if c == nil {
		if err := mustExist(cfg); err != nil {
			return nil, err
		}
		return storage.Inspect(cfg.Data, tell)
	}
	defer c.close()
	tmp, _, err := (&source{client: c}).copyTo(filepath.Dir(cfg.Data), tell)
	if err != nil {
		return nil, err
	}
	defer os.Remove(tmp)
	return storage.Inspect(tmp, tell)
}

// repair lists what can be mended, and mends it if it really shall.
func (a *app) repair(cfg Config, really bool) error {
	if err := mustExist(cfg); err != nil {
		return err
	}
	tell, clear := a.progress()
	done, left, err := storage.Repair(cfg.Data, really, tell)
	clear()
	if err != nil {
		return stopFirst(err)
	}
	if a.json {
		if err := a.printJSON(map[string]any{"repaired": really, "faults": orNone(done), "left": orNone(left)}); err != nil {
			return err
		}
	} else {
		for _, f := range done {
			fmt.Fprintf(a.stdout, "%s: %s\n", f.Text, f.Repair)
		}
		for _, f := range left {
			fmt.Fprintf(a.stdout, "%s: this cannot be repaired\n", f.Text)
		}
	}
	switch {
	case len(left) > 0:
		return &exitError{exitFailed, fmt.Errorf("%s cannot be repaired", plural(len(left), "fault")), "opensend restore BACKUP"}
	case a.json:
		return nil
	case len(done) == 0:
		fmt.Fprintln(a.stdout, "There is nothing to repair.")
	case really:
		fmt.Fprintf(a.stdout, "%s repaired; the file is whole.\n", plural(len(done), "fault"))
	default:
		fmt.Fprintf(a.stdout, "Nothing has been changed. Do this with: opensend check --repair --yes\n")
	}
	return nil
}

func orNone(faults []storage.Fault) []storage.Fault {
	if faults == nil {
		return []storage.Fault{}
	}
	return faults
}

func newCompact(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "compact",
		Short: "Rewrite the data file without its free space",
		Long: `Rewrite the data file so that it is as small as it can be and holds no bytes of
what was deleted. The new file is verified before it takes the place of the old
one. It needs room for both. The server must be stopped.`,
		Example: "  opensend compact",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := a.config()
			if err == nil {
				err = mustExist(cfg)
			}
			if err != nil {
				return err
			}
			tell, done := a.progress()
			before, after, err := storage.Compact(cfg.Data, tell)
			done()
			if err != nil {
				return stopFirst(err)
			}
			if a.json {
				return a.printJSON(map[string]int64{"before": before, "after": after})
			}
			_, err = fmt.Fprintf(a.stdout, "compacted %s: %s before, %s now\n", cfg.Data, size(before), size(after))
			return err
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

func newStorage(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "storage",
		Short:   "Show what takes up room in the data file",
		Example: "  opensend storage --json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			b, err := a.breakdown()
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(b)
			}
			w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
			fmt.Fprintln(w, "ROWS\tSIZE\t  BUCKET")
			for _, bucket := range b.Buckets {
				fmt.Fprintf(w, "%d\t%s\t  %s\n", bucket.Rows, size(bucket.Bytes), bucket.Name)
			}
			if err := w.Flush(); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.stdout, "%s: %s, of which %s in %d free pages\n", b.Path, size(b.Bytes), size(b.FreeBytes), b.FreePages)
			return err
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) breakdown() (*storage.Breakdown, error) {
	cfg, err := a.config()
	if err != nil {
		return nil, err
	}
	return breakdownOf(cfg)
}

// breakdownOf asks the server for it, or looks itself when there is none.
func breakdownOf(cfg Config) (*storage.Breakdown, error) {
	src, err := openSource(cfg)
	if err != nil {
		return nil, err
	}
	defer src.close()
	if src.client == nil {
		return src.db.Breakdown()
	}
	b := &storage.Breakdown{}
	return b, src.client.call(http.MethodGet, "/control/storage", nil, b)
}
