package engine

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/mail"
	"github.com/opensend/opensend/storage"
)

// Sender hands one message to the world. *mail.SMTP is the one production has
// beside capture. An error of type *mail.SendError says whether trying again
// makes sense.
type Sender interface {
	Send(context.Context, mail.Envelope) (mail.Reply, error)
}

// Config is what an Engine needs.
type Config struct {
	DB *storage.DB
	// Sender takes mail to the world; nil captures it: it is kept in the file
	// and nothing leaves.
	Sender Sender
	// BaseURL is where people reach the server, for the links in mail.
	BaseURL string
	// DKIM signs mail of these domains.
	DKIM []mail.DKIMKey
	// From is the sender of mail whose template and step name none.
	From string
	// EmailsPerDay and EmailsPerMonth bound how much mail leaves in a day and
	// in a calendar month, both in UTC. Zero is no bound.
	EmailsPerDay, EmailsPerMonth int
	// PerMinute and PerMinuteToDomain bound how much mail is handed over in a
	// minute, in all and to the addresses of each domain. Zero is no bound.
	PerMinute, PerMinuteToDomain int
	// RetryFor is how long a mail is tried; zero means 48 hours.
	RetryFor time.Duration
	// ResendUnconfirmed sends a mail again when the server may have taken it
	// without saying so. Otherwise it is held until a person decides.
	ResendUnconfirmed bool
	// Retention says how long records are kept; the zero one keeps all.
	Retention storage.Retention
	// Breather is how long the wake loop rests after it has advanced all that was
	// due. Runs that are started meanwhile share the next transaction, so that
	// a caller who sends event after event does not wait for one of runs behind
	// each. Zero is no rest.
	Breather time.Duration
	// AllowPrivate are networks beside the public Internet that webhooks may be
	// in.
	AllowPrivate []netip.Prefix
	// Backup says where and how often the file is backed up.
	Backup BackupPlan
	// Alerts says who is told when something is wrong with the program.
	Alerts AlertPlan
	// Workers is how many mails are sent at once; zero means 8.
	Workers int
	// Log gets what an operator should know; nil discards it.
	Log *slog.Logger
}

// Engine is the running machine. Its methods may be called from any goroutine.
type Engine struct {
	cfg         Config
	db          *storage.DB
	log         *slog.Logger
	definitions atomic.Pointer[definitions]
	clock       *steadyClock
	pace        *pace
	outbound    *outboundClient
	public      *outboundClient // as outbound, without private networks
	wakeKick    chan struct{}
	outboxKick  chan struct{}
	eraseKick   chan struct{}
	held        atomic.Pointer[storage.Held]
	released    chan struct{} // closed when the file is not held
	resuming    sync.Mutex
	lastTurn    atomic.Int64 // when the wake loop last looked, in Unix milliseconds
	handovers   Handovers
	alerts      atomic.Pointer[[]storage.Alert] // those that last
	toldFull    atomic.Int64                    // when it was last said that the file is full, in Unix milliseconds
}

// New makes an Engine. Nothing moves until Run.
func New(cfg Config) (*Engine, error) {
	if cfg.DB == nil {
		return nil, errors.New("engine: Config.DB is missing")
	}
	if cfg.RetryFor == 0 {
		cfg.RetryFor = 48 * time.Hour
	}
	if cfg.Workers == 0 {
		cfg.Workers = 8
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	e := &Engine{
		cfg: cfg, db: cfg.DB, log: cfg.Log, clock: newSteadyClock(), pace: newPace(cfg.PerMinute, cfg.PerMinuteToDomain), outbound: newOutboundClient(cfg.AllowPrivate), public: newOutboundClient(nil),
		wakeKick: make(chan struct{}, 1), outboxKick: make(chan struct{}, 1), eraseKick: make(chan struct{}, 1), released: make(chan struct{}),
	}
	if err := e.checkAlerts(); err != nil {
		return nil, err
	}
	return e, e.begin()
}

// Run moves runs and mail until ctx ends, then waits for the mail in hand, at
// most 30 seconds. It returns an error when the file fails.
func (e *Engine) Run(ctx context.Context) error {
	markers, err := e.openMarkers()
	if err != nil {
		return err
	}
	defer markers.Close()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	sendMail := func(ctx context.Context) error { return e.outboxLoop(ctx, markers) }
	loops := []func(context.Context) error{e.unheld(e.wakeLoop), e.unheld(sendMail), e.unheld(e.webhookLoop), e.eraseLoop, e.expireLoop, e.sweepLoop, e.backupLoop, e.alertLoop}
	errs := make([]error, len(loops))
	var wg sync.WaitGroup
	for i, loop := range loops {
		wg.Go(func() {
			errs[i] = loop(ctx)
			stop() // one loop alone is of no use
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Note is what is written together with a change, in the same transaction, such
// as who made it. It may be written more than once, and must then be the same.
type Note func(*storage.Tx) error

// update is DB.Update for a change with its notes.
func (e *Engine) update(notes []Note, change func(*storage.Tx) error) error {
	return e.db.Update(func(tx *storage.Tx) error {
		if err := change(tx); err != nil {
			return err // and a refusal writes nothing
		}
		for _, note := range notes {
			if err := note(tx); err != nil {
				return err
			}
		}
		return nil
	})
}

// From is the sender of mail that names none; empty when there is none.
func (e *Engine) From() string { return e.cfg.From }

// Captures reports whether mail is kept instead of sent.
func (e *Engine) Captures() bool { return e.cfg.Sender == nil }

// now is the time of the present, as precise as it is stored.
func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

func newID() automations.ID { return uuid.Must(uuid.NewV7()) }

// kick wakes a loop. A kick that is already waiting is enough.
func kick(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// sleep waits until next, a kick, or the end of ctx, which it reports. It
// looks again every second while work is near and twice a minute otherwise, so
// that a clock that is set cannot make work late by more; with no work ahead,
// when next is zero, it sleeps until it is kicked.
func sleep(ctx context.Context, kicked <-chan struct{}, next time.Time) (ended bool) {
	var timer <-chan time.Time
	if !next.IsZero() {
		wait := max(time.Until(next), 0)
		if wait > 30*time.Second {
			wait = 30 * time.Second
		} else if wait > time.Second {
			wait = time.Second
		}
		t := time.NewTimer(wait)
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-ctx.Done():
		return true
	case <-kicked:
	case <-timer:
	}
	return ctx.Err() != nil
}

// survive decides whether a loop goes on after an error: a full or busy store
// passes, a failed one does not.
func (e *Engine) survive(ctx context.Context, what string, err error) error {
	if e.db.Failed() != nil || errors.Is(err, storage.ErrClosed) {
		return err
	}
	e.log.Error(what, "error", err)
	sleep(ctx, nil, time.Now().Add(time.Second))
	return nil
}
