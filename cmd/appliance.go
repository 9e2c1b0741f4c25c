package cmd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/opensend/opensend/automations/engine"
	"github.com/opensend/opensend/server"
	"github.com/opensend/opensend/storage"
	"github.com/opensend/opensend/web"
)

// appliance is the whole program: one file, the engine, the API and the
// dashboard.
type appliance struct {
	cfg     Config
	from    origins
	log     *slog.Logger
	db      *storage.DB
	engine  *engine.Engine
	api     *server.Server
	web     *web.Dashboard
	proxies []netip.Prefix
	// encryption and supervisor are set by whoever has them, before run.
	encryption encryption
	supervisor supervisor
}

// newAppliance opens the data file and puts the parts together. from says where
// the configuration comes from. Nothing moves until run.
func newAppliance(cfg Config, from origins, log *slog.Logger) (*appliance, error) {
	db, err := storage.OpenWith(cfg.Data, storage.Options{MaxSize: int64(cfg.Storage.MaxSize), Program: version, Log: log})
	if err != nil {
		return nil, err
	}
	if m := db.Migrated(); m != nil {
		log.Info("the data file was brought to a newer layout", "from", m.From, "to", m.To, "copy", m.Copy)
	}
	ap := &appliance{cfg: cfg, from: from, log: log, db: db}
	if err := errors.Join(db.Claim(time.Now().UTC().Truncate(time.Millisecond)), ap.build()); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return ap, nil
}

func (ap *appliance) build() (err error) {
	config, err := ap.cfg.engine()
	if err != nil {
		return err
	}
	config.DB, config.Log = ap.db, ap.log
	if ap.proxies, err = networks("trusted_proxies", ap.cfg.TrustedProxies); err != nil {
		return err
	}
	if ap.engine, err = engine.New(config); err != nil {
		return err
	}
	providers := ap.cfg.inbound()
	providers.Fetch = ap.engine.Fetch
	if ap.api, err = server.New(server.Config{
		DB: ap.db, Engine: ap.engine, BodyLimit: ap.cfg.Limits.BodyBytes, RequestsPerSecond: ap.cfg.Limits.RequestsPerSecond, Inbound: providers, Profiles: ap.cfg.Pprof, Version: version, Log: ap.log,
	}); err != nil {
		return err
	}
	ap.web, err = web.New(ap.dashboardConfig())
	return err
}

// handler gives the pages their paths and everything else to the API. Both see
// the client where a trusted proxy stands before it.
func (ap *appliance) handler() http.Handler {
	api, pages := ap.api.Handler(), ap.web.Handler()
	return behindProxies(ap.proxies, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p := r.URL.Path; p == "/" || p == "/dashboard" || strings.HasPrefix(p, "/dashboard/") || strings.HasPrefix(p, "/unsubscribe/") {
			pages.ServeHTTP(w, r)
			return
		}
		api.ServeHTTP(w, r)
	}))
}

// finishRequests is how long requests under way may take when the program
// stops.
const finishRequests = 10 * time.Second

// run serves until ctx ends, then stops in order: no new requests, the ones
// under way finished, the mail in hand sent, the file closed.
func (ap *appliance) run(ctx context.Context, at doors) error {
	working, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	servers, parts := ap.serve(at)
	parts = append(parts,
		func() error { return ap.engine.Run(working) },
		func() error { return ap.encryption.obtain(working) },
		func() error { return ap.supervisor.watch(working, ap.engine.Alive) })
	done := make(chan error, len(parts))
	for _, part := range parts {
		go func() { done <- part() }()
	}
	ap.tell("READY=1")

	var cause error
	select {
	case <-ctx.Done():
	case <-ap.db.Failure():
	case cause = <-done: // one part alone is of no use
		parts = parts[1:]
	}
	ap.tell("STOPPING=1")
	ap.api.Drain()
	ap.web.Stop()
	finish, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishRequests)
	defer cancel()
	err := cause
	for _, server := range servers {
		err = errors.Join(err, server.Shutdown(finish))
	}
	stopWork()
	for range parts {
		if partErr := <-done; !errors.Is(partErr, http.ErrServerClosed) {
			err = errors.Join(err, partErr)
		}
	}
	err = errors.Join(err, ap.db.Close())
	if failure := ap.db.Failed(); failure != nil {
		return &exitError{exitStorage, fmt.Errorf("the data file failed: %w; start the program again to see what it says", failure), ""}
	}
	return err
}

// serve makes a server for the public doors, the plain ones and the control
// socket each, and what answers at them.
func (ap *appliance) serve(at doors) (servers []*http.Server, parts []func() error) {
	public, plain, control := ap.httpServer(ap.handler()), ap.httpServer(ap.encryption.plain(ap.cfg.BaseURL)), ap.httpServer(ap.api.Control())
	public.TLSConfig = ap.encryption.config
	atPublic, atPlain := boundConnections(public, ap.cfg.Limits.Connections), boundConnections(plain, ap.cfg.Limits.Connections)
	for _, ln := range at.public {
		ln = atPublic.limit(ln)
		parts = append(parts, func() error {
			if ap.encryption.config != nil {
				return public.ServeTLS(ln, "", "")
			}
			return public.Serve(ln)
		})
	}
	for _, ln := range at.plain {
		ln = atPlain.limit(ln)
		parts = append(parts, func() error { return plain.Serve(ln) })
	}
	control.WriteTimeout = 0 // a copy of the data file takes its time
	if socket := ap.listenControl(); socket != nil {
		parts = append(parts, func() error { return control.Serve(socket) })
	}
	return []*http.Server{public, plain, control}, parts
}

// tell tells the service manager. That it does not listen stops nothing.
func (ap *appliance) tell(message string) {
	if err := ap.supervisor.tell(message); err != nil {
		ap.log.Warn("the service manager was not told", "error", err)
	}
}

func (ap *appliance) httpServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(ap.log.Handler(), slog.LevelDebug),
	}
}

// listenControl opens the control socket; nil when it cannot be had, which
// stops nothing but commands. A socket file that is there was left by a process
// that is gone: we hold the data file.
func (ap *appliance) listenControl() net.Listener {
	path := socketPath(ap.cfg.Data)
	os.Remove(path)
	ln, err := net.Listen("unix", path)
	if err == nil {
		err = os.Chmod(path, 0o600)
	}
	if err != nil {
		ap.log.Warn("no control socket: commands will not work while the server runs", "path", path, "error", err)
		return nil
	}
	return ln
}
