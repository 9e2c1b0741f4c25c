package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func newServe(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Run the server",
		Long: `Run the server: the API, the automations, the mail and the dashboard.

With nothing configured it listens on http://127.0.0.1:8787, keeps everything in
./opensend.db and captures mail. One signal stops it in order, a second one at
once.`,
		Example: "  opensend serve\n  OPENSEND_BASE_URL=https://mail.example.com opensend serve --config /etc/opensend/config.yaml",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			context.AfterFunc(ctx, stop) // from now on a signal kills
			return a.serve(ctx, cfg)
		},
	}
}

func (a *app) serve(ctx context.Context, cfg Config) error {
	log := newLog(cfg.Log, a.stderr)
	ap, err := newAppliance(cfg, log)
	if err != nil {
		return err
	}
	ln, err := listen(cfg.Listen)
	if err != nil {
		return errors.Join(err, ap.db.Close())
	}
	mail := "captured in the data file (no smtp.host is set)"
	if cfg.SMTP.Host != "" {
		mail = "sent through " + ap.cfg.sender().Addr
	}
	fmt.Fprintf(a.stdout, "opensend is ready at %s (listening on %s)\n  dashboard  %s\n  data       %s\n  mail       %s\n",
		cfg.BaseURL, ln.Addr(), ap.web.SignInURL(), cfg.Data, mail)
	err = ap.run(ctx, ln)
	if err == nil {
		log.Info("stopped")
	}
	return err
}
