package cmd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/opensend/opensend/server"
	"github.com/opensend/opensend/storage"
)

// rating is how one look of the doctor ended.
type rating string

const (
	fine    rating = "ok"
	warning rating = "warn"
	failing rating = "fail"
)

// finding is one line of the doctor.
type finding struct {
	Check   string `json:"check"`
	Verdict rating `json:"verdict"`
	Text    string `json:"text"`
	Do      string `json:"do,omitempty"` // what helps
}

// doctor looks at everything that opensend needs around it.
type doctor struct {
	app      *app
	cfg      Config
	resolver *net.Resolver
	found    []finding
}

// lookTimeout bounds each look over the network.
const lookTimeout = 10 * time.Second

func newDoctor(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look at everything that opensend needs around it",
		Long: `Look at the clock, the disk, the data file, the backups, the mail server, the DNS
records of the domains that mail is sent from, and the certificate of the base
URL. Each line says ok, warn or fail, and what to do. It exits with 1 when
anything fails. It works while the server runs and when it does not.`,
		Example: "  opensend doctor\n  opensend doctor --json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			d := &doctor{app: a, cfg: cfg, resolver: net.DefaultResolver}
			d.examine()
			return d.print()
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

func (d *doctor) examine() {
	for _, look := range []func(){d.clock, d.folder, d.disk, d.fsync, d.dataFile, d.smtp, d.dns, d.certificate} {
		look()
	}
}

func (d *doctor) say(check string, v rating, do, format string, args ...any) {
	d.found = append(d.found, finding{check, v, fmt.Sprintf(format, args...), do})
}

func (d *doctor) print() error {
	failed := 0
	for _, f := range d.found {
		if f.Verdict == failing {
			failed++
		}
	}
	if d.app.json {
		if err := d.app.printJSON(d.found); err != nil {
			return err
		}
	} else {
		for _, f := range d.found {
			fmt.Fprintf(d.app.stdout, "%-4s  %s: %s\n", f.Verdict, f.Check, f.Text)
			if f.Do != "" {
				fmt.Fprintf(d.app.stdout, "      %s\n", f.Do)
			}
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d looks failed", failed, len(d.found))
	}
	return nil
}

// youngest is a time before which no clock can be right.
var youngest = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

func (d *doctor) clock() {
	now := time.Now()
	switch synced, known := clockSynced(); {
	case now.Before(youngest):
		d.say("clock", failing, "set the clock, and have it kept by NTP", "it is %s, which cannot be", now.Format(time.RFC3339))
	case known && !synced:
		d.say("clock", warning, "start a time service such as systemd-timesyncd or chrony", "the system does not keep it in step with others")
	case known:
		d.say("clock", fine, "", "kept in step with others")
	default:
		d.say("clock", fine, "", "%s", now.Format(time.RFC3339))
	}
}

// folder looks at where the data file lies.
func (d *doctor) folder() {
	dir := filepath.Dir(d.cfg.Data)
	info, err := os.Stat(dir)
	if err != nil {
		d.say("folder", warning, "it is made when the server starts, if this user may", "%s does not exist", dir)
		return
	}
	if info.Mode().Perm()&0o002 != 0 && info.Mode()&os.ModeSticky == 0 {
		d.say("folder", failing, "chmod o-w "+dir, "every user of this machine may replace files in %s", dir)
	}
	switch name, risk := fileSystem(dir); {
	case risk != "":
		d.say("file system", warning, "keep the data file on a disk of this machine", "%s is on %s: %s", dir, name, risk)
	case name != "":
		d.say("file system", fine, "", "%s", name)
	}
}

// The least room there should be on the disk, and the room that does for
// nothing.
const (
	littleRoom = 1 << 30
	noRoom     = 64 << 20
	// littleBound is littleRoom for what storage.max_size leaves.
	littleBound = 64 << 20
)

func (d *doctor) disk() {
	free, ok := freeSpace(filepath.Dir(d.cfg.Data))
	if !ok {
		return
	}
	need := int64(littleRoom)
	if info, err := os.Stat(d.cfg.Data); err == nil {
		need = max(need, info.Size())
	}
	switch {
	case free < noRoom:
		d.say("disk", failing, "make room, or move the data file", "%s free", size(free))
	case free < need:
		d.say("disk", warning, "a backup and compact need as much room as the data file", "%s free", size(free))
	default:
		d.say("disk", fine, "", "%s free", size(free))
	}
}

const (
	syncs    = 21
	slowSync = 20 * time.Millisecond
	badSync  = 250 * time.Millisecond
)

// fsync measures how long the disk takes to make 4 KiB durable: every answer
// waits for two of these.
func (d *doctor) fsync() {
	f, err := os.CreateTemp(filepath.Dir(d.cfg.Data), ".opensend.doctor-*")
	if err != nil {
		d.say("disk writes", failing, "", "%s", storage.NoFile(filepath.Dir(d.cfg.Data), err))
		return
	}
	defer os.Remove(f.Name())
	defer f.Close()
	var took []time.Duration
	for range syncs {
		began := time.Now()
		if _, err := f.WriteAt(make([]byte, 4096), 0); err != nil {
			d.say("disk writes", failing, "look at the system's log", "%s", err)
			return
		}
		if err := f.Sync(); err != nil {
			d.say("disk writes", failing, "look at the system's log", "%s", err)
			return
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	median := took[len(took)/2].Round(10 * time.Microsecond)
	switch {
	case median > badSync:
		d.say("disk writes", failing, "use another disk", "4 KiB take %s to be durable", median)
	case median > slowSync:
		d.say("disk writes", warning, "every answer takes at least two of these; an SSD takes less than 2 ms", "4 KiB take %s to be durable", median)
	default:
		d.say("disk writes", fine, "", "4 KiB take %s to be durable", median)
	}
}

// dataFile looks at the file itself, its server, and its backups.
func (d *doctor) dataFile() {
	info, err := os.Stat(d.cfg.Data)
	if err != nil {
		d.say("data file", warning, "the first opensend serve makes it", "there is no %s yet", d.cfg.Data)
		return
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		d.say("permissions", failing, "chmod 600 "+d.cfg.Data, "other users may open the data file (%s)", perm)
	} else {
		d.say("permissions", fine, "", "the data file is its owner's alone")
	}
	c, err := serving(d.cfg)
	if err != nil {
		d.say("server", failing, "run this as the user that serves", "%s", err)
		return
	}
	if c == nil {
		d.say("server", fine, "", "none is running on this data file")
		d.whole()
		d.unserved()
		return
	}
	defer c.close()
	var status server.Status
	if err := c.call(http.MethodGet, "/control/status", nil, &status); err != nil {
		d.say("server", failing, "see its log", "the control socket answers: %s", err)
		return
	}
	d.say("server", fine, "", "process %d answers at the control socket", status.PID)
	d.whole()
	d.history(status.Held, status.Backup)
}

// unserved reads what a server would tell of the file.
func (d *doctor) unserved() {
	db, err := d.cfg.open()
	if err != nil {
		return // said already
	}
	defer db.Close()
	var held *storage.Held
	var backup storage.Backup
	err = db.View(func(tx *storage.Tx) (err error) {
		if held, err = tx.Held(); err == nil {
			backup, err = tx.LastBackup()
		}
		return err
	})
	if err == nil {
		d.history(held, backup)
	}
}

// history looks at where the file comes from and how it is kept.
func (d *doctor) history(held *storage.Held, last storage.Backup) {
	if held != nil {
		d.say("held", warning, "opensend resume", "nothing is sent: %s", held.Reason)
	}
	d.backups(last)
}

// whole is what check looks at.
func (d *doctor) whole() {
	quiet := *d.app
	quiet.stderr = io.Discard
	report, err := quiet.inspect(d.cfg)
	if _, inUse := errors.AsType[*storage.InUseError](err); inUse {
		d.say("data file", failing, "a server without a control socket holds it, see its log; or a process that is no server", "%s", err)
		return
	}
	_, damaged := errors.AsType[*storage.DamageError](err)
	switch {
	case err != nil && !damaged: // it says itself what to do
		d.say("data file", failing, "", "%s", err)
	case err != nil:
		d.say("data file", failing, "opensend check", "%s", err)
	case len(report.Faults) > 0:
		d.say("data file", failing, "opensend check", "%s, the first: %s", plural(len(report.Faults), "fault"), report.Faults[0].Text)
	default:
		d.say("data file", fine, "", "whole: %s, %d rows", size(report.Bytes), report.Rows)
		d.bound()
	}
}

// bound looks at what storage.max_size leaves, as long as there is such a bound.
func (d *doctor) bound() {
	if d.cfg.Storage.MaxSize == 0 {
		return
	}
	b, err := breakdownOf(d.cfg)
	if err != nil {
		d.say("bound", failing, "opensend storage", "%s", err)
		return
	}
	d.room(int64(d.cfg.Storage.MaxSize), b.Bytes-b.FreeBytes)
}

// room warns where the server does: see LowRoom of the store.
func (d *doctor) room(limit, used int64) {
	left := max(limit-used, 0)
	if left < min(limit/8, littleBound) {
		d.say("bound", warning, "raise storage.max_size, or keep less by retention: new events are refused before nothing is left",
			"%s of storage.max_size, %s, are left", size(left), size(limit))
		return
	}
	d.say("bound", fine, "", "%s of storage.max_size, %s, are left", size(left), size(limit))
}

// oldBackup is how old the last backup may be where none are scheduled.
const oldBackup = 7 * 24 * time.Hour

func (d *doctor) backups(last storage.Backup) {
	limit := oldBackup
	if d.cfg.Backup.Dir != "" {
		limit = 2 * d.cfg.Backup.Every
	}
	switch {
	case last.FailedAt.After(last.At):
		d.say("backup", failing, "see the server's log", "the last one failed at %s: %s", last.FailedAt.Format(time.RFC3339), last.Error)
	case last.At.IsZero():
		d.say("backup", warning, "set backup.dir in the configuration, or run opensend backup", "there was none yet")
	case time.Since(last.At) > limit:
		d.say("backup", warning, "set backup.dir in the configuration, or run opensend backup", "the last one was made at %s", last.At.Format(time.RFC3339))
	default:
		d.say("backup", fine, "", "the last one was made at %s and verified", last.At.Format(time.RFC3339))
	}
}

func (d *doctor) smtp() {
	sender := d.cfg.sender()
	if sender == nil {
		d.say("mail server", warning, "set smtp.host in the configuration to send mail", "none is configured: mail is captured in the data file")
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookTimeout)
	defer cancel()
	if err := sender.Probe(ctx); err != nil {
		d.say("mail server", failing, "check smtp in the configuration, and that this machine may connect there", "%s", err)
		return
	}
	how := map[string]string{"starttls": "with STARTTLS", "tls": "with TLS", "none": "without TLS"}[d.cfg.SMTP.TLS]
	if d.cfg.SMTP.Username != "" {
		how += ", and took the user name and password"
	}
	d.say("mail server", fine, "", "%s answers %s", sender.Addr, how)
}

// soonExpired is how long before its end a certificate is worth a warning.
const soonExpired = 14 * 24 * time.Hour

// certificate looks at what the base URL shows the world.
func (d *doctor) certificate() {
	base, err := url.Parse(d.cfg.BaseURL)
	if err != nil || base.Scheme != "https" {
		if host := base.Hostname(); host != "localhost" && !net.ParseIP(host).IsLoopback() {
			d.say("certificate", warning, "set tls, or put a reverse proxy with TLS before it, and https into base_url", "keys and links travel in the clear: %s", d.cfg.BaseURL)
		}
		return
	}
	port := base.Port()
	if port == "" {
		port = "443"
	}
	dialer := &tls.Dialer{NetDialer: &net.Dialer{Timeout: lookTimeout, Resolver: d.resolver}}
	ctx, cancel := context.WithTimeout(context.Background(), lookTimeout)
	defer cancel()
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(base.Hostname(), port))
	if err != nil {
		d.say("certificate", failing, "clients see the same: check the reverse proxy, its certificate and the DNS", "%s: %s", d.cfg.BaseURL, err)
		return
	}
	defer conn.Close()
	until := conn.(*tls.Conn).ConnectionState().PeerCertificates[0].NotAfter
	if time.Until(until) < soonExpired {
		d.say("certificate", warning, "renew it", "it expires at %s", until.Format(time.RFC3339))
		return
	}
	d.say("certificate", fine, "", "valid until %s", until.Format(time.DateOnly))
}
