package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
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
			cfg, from, err := a.configFrom()
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			context.AfterFunc(ctx, stop) // from now on a signal kills
			relaxCollector(a.getenv)
			return a.serve(ctx, cfg, from)
		},
	}
}

// relaxCollector lets the heap grow to five times what is in use before it is
// collected, instead of twice: little is in use, since everything is in the file,
// and an event costs a sixth less. Near 256 MiB it is collected as often as
// need be. GOGC and GOMEMLIMIT say otherwise.
func relaxCollector(getenv func(string) string) {
	if getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	if getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(256 << 20)
	}
}

// dashboard is where to look, and how to get in for the first time.
func (ap *appliance) dashboard() (string, error) {
	invitation, err := ap.web.Invitation()
	if err != nil || invitation == "" {
		return ap.cfg.BaseURL + "/dashboard", err
	}
	return invitation + "\n             (set your password there; the link is good once, for a day)", nil
}

func (a *app) serve(ctx context.Context, cfg Config, from origins) error {
	log := newLog(cfg.Log, a.stderr)
	manager, err := newSupervisor(a.getenv)
	if err != nil {
		return err
	}
	encrypted, err := cfg.encryption(log)
	if err != nil {
		return configError(err)
	}
	at, plainErr, listenErr := openDoors(cfg, a.getenv)
	if _, err := os.Stat(cfg.Data); err != nil && listenErr != nil {
		return listenErr // and leave no new data file behind
	}
	ap, err := newAppliance(cfg, from, log) // who holds the file matters more than who holds the port
	if err != nil {
		return errors.Join(err, at.close())
	}
	if listenErr != nil {
		return errors.Join(listenErr, ap.db.Close())
	}
	if plainErr != nil {
		log.Warn("clients of http:// are not sent to https://", "error", plainErr)
	}
	ap.encryption, ap.supervisor = encrypted, manager
	if err := a.announce(ap, at); err != nil {
		return errors.Join(err, at.close(), ap.db.Close())
	}
	err = ap.run(ctx, at)
	if err == nil {
		log.Info("stopped")
	}
	return err
}

// announce prints what a person wants to know first.
func (a *app) announce(ap *appliance, at doors) error {
	mail := "captured in the data file (no smtp.host is set)"
	if ap.cfg.SMTP.Host != "" {
		mail = "sent through " + ap.cfg.sender().Addr
	}
	dashboard, err := ap.dashboard()
	if err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "opensend is ready at %s (listening on %s)\n  dashboard  %s\n  data       %s\n  mail       %s\n",
		ap.cfg.BaseURL, at.addresses(), dashboard, ap.cfg.Data, mail)
	if held := ap.engine.Held(); held != nil {
		fmt.Fprintf(a.stdout, "  HELD       %s; events are taken, and nothing is sent until you run: opensend resume\n", held.Reason)
		ap.log.Warn("held: events are taken, and nothing is sent until opensend resume", "reason", held.Reason, "since", held.Since)
	}
	return nil
}
