package server

import (
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/engine"
	"github.com/opensend/opensend/automations/inbound"
	"github.com/opensend/opensend/storage"
)

// Config is what a Server needs.
type Config struct {
	DB     *storage.DB
	Engine *engine.Engine
	// BodyLimit is the most bytes a request body may have; zero means 1 MiB.
	BodyLimit int64
	// RequestsPerSecond is what each API key may make; zero is no limit.
	RequestsPerSecond int
	// Inbound says which providers may report on mail; the zero one none.
	Inbound inbound.Config
	// Profiles has Control answer what go tool pprof asks for.
	Profiles bool
	// Version is what the program calls itself.
	Version string
	// Log gets one line for each request that failed inside; nil discards it.
	Log *slog.Logger
}

// Server answers the API. It is safe for concurrent use.
type Server struct {
	db        *storage.DB
	engine    *engine.Engine
	bodyLimit int64
	limits    *limiter[automations.ID] // what each API key may do; nil for all it likes
	strangers *limiter[netip.Prefix]   // what comes without a good one, by origin
	providers *inbound.Providers
	log       *slog.Logger
	profiles  bool
	version   string
	started   time.Time
	meter     *meter
	stopping  atomic.Bool
	inFlight  sync.Map                     // Idempotency-Keys of requests under way, by door
	keys      sync.Map                     // API keys met before, by hash: knownKey
	lastUsed  sync.Map                     // when each API key's use was last written, by id
	described func() (*description, error) // of the API; made when it is first asked for
}

// New makes a Server.
func New(cfg Config) (*Server, error) {
	if cfg.DB == nil || cfg.Engine == nil {
		return nil, errors.New("server: Config.DB and Config.Engine are required")
	}
	if cfg.BodyLimit == 0 {
		cfg.BodyLimit = 1 << 20
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Server{
		db: cfg.DB, engine: cfg.Engine, bodyLimit: cfg.BodyLimit, limits: newLimiter[automations.ID](cfg.RequestsPerSecond, cfg.RequestsPerSecond), strangers: newLimiter[netip.Prefix](strangersPerSecond, strangersBurst), providers: inbound.NewProviders(cfg.Inbound), log: cfg.Log,
		profiles: cfg.Profiles, version: cfg.Version, started: time.Now(), meter: newMeter(),
		described: sync.OnceValues(describe),
	}, nil
}

// Handler answers the public API.
func (s *Server) Handler() http.Handler { return s.handler(false) }

// Control answers the same API to whoever can reach it, without keys, and what
// commands need besides. It is for the control socket and for commands that open
// the file themselves.
func (s *Server) Control() http.Handler { return s.handler(true) }

// Drain makes /readyz say no, so that a balancer sends no more requests.
func (s *Server) Drain() { s.stopping.Store(true) }

func (s *Server) handler(trusted bool) http.Handler {
	mux := http.NewServeMux()
	all := routes()
	if trusted {
		all = append(all, controls()...)
	}
	counted := s.meter
	if trusted { // what this machine's own commands and pages do is not counted
		counted = &meter{}
	}
	for _, rt := range all {
		for _, prefix := range rt.prefixes() {
			mux.Handle(rt.method+" "+prefix+rt.path, &endpoint{server: s, route: rt, api: prefix != "", trusted: trusted, meter: counted.families[rt.family()]})
		}
	}
	if trusted && s.profiles {
		mux.Handle("GET /control/pprof", profiles())
		mux.Handle("GET /control/pprof/{name}", profiles())
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Request-Id", uuid.Must(uuid.NewV7()).String())
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		// The mux would redirect to a cleaned path; event names may look unclean.
		if p := r.URL.EscapedPath(); p == "" || p[0] != '/' || path.Clean(p) != p {
			counted.unknown.answered(respondUnknown(w, r, http.StatusNotFound), time.Now())
			return
		}
		mux.ServeHTTP(&unmatched{ResponseWriter: w, request: r, meter: counted.unknown}, r)
	})
}

// unmatched turns the mux's own plain-text 404 and 405 into JSON; an endpoint
// takes the writer out of it. The mux has set Allow by the time it writes a 405.
type unmatched struct {
	http.ResponseWriter
	request *http.Request
	meter   *familyMeter
}

func (u *unmatched) WriteHeader(status int) {
	u.meter.answered(respondUnknown(u.ResponseWriter, u.request, status), time.Now())
}

func (u *unmatched) Write(text []byte) (int, error) { return len(text), nil }

// respondUnknown returns the status it answered with.
func respondUnknown(w http.ResponseWriter, r *http.Request, status int) int {
	err := automations.Errorf(automations.KindNotFound, "", "no route %s; see the API reference for the paths that exist", r.URL.EscapedPath())
	if status == http.StatusMethodNotAllowed {
		err = automations.Errorf(automations.KindMethodNotFound, "", "%s does not answer %s; it answers %s", r.URL.EscapedPath(), r.Method, w.Header().Get("Allow"))
	}
	dialect := openSendErrors
	if strings.HasPrefix(r.URL.Path, "/v1/") {
		dialect = mailDiverErrors
	}
	a := dialect(&request{Request: r}, err)
	write(w, a)
	return a.status
}

// endpoint is one route under one prefix.
type endpoint struct {
	server  *Server
	route   route
	api     bool // under /api, where only OpenSend's words are spoken
	trusted bool // on the control socket: no key is needed
	meter   *familyMeter
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w = w.(*unmatched).ResponseWriter // this one has an answer
	began := time.Now()
	req := &request{
		Request: r, server: e.server, id: w.Header().Get("X-Request-Id"), now: began.UTC().Truncate(time.Millisecond),
		resend: !e.api && strings.HasPrefix(r.UserAgent(), "resend-"),
	}
	defer func() {
		if caught := recover(); caught == http.ErrAbortHandler {
			panic(caught)
		} else if caught != nil {
			e.server.log.Error("request panicked", "method", r.Method, "route", e.route.path, "request_id", req.id, "panic", caught, "stack", string(debug.Stack()))
			e.respond(w, e.route.errors()(req, errors.New("panic")), began)
		}
	}()
	a, err := e.answer(w, req)
	if err != nil {
		err = e.server.refuse(req, err)
		a = e.route.errors()(req, err)
		if e.route.access == accessEvents && a.status < http.StatusInternalServerError {
			e.server.db.CountRejected()
			e.server.meter.doors[e.route.door].refused.Add(1)
		}
		if a.status == http.StatusInternalServerError {
			e.server.log.Error("request failed", "method", r.Method, "route", e.route.path, "request_id", req.id, "error", err)
		}
	}
	e.respond(w, a, began)
}

func (e *endpoint) respond(w http.ResponseWriter, a answer, began time.Time) {
	write(w, a)
	e.meter.answered(a.status, began)
}

// TestHeader is the request header by which a trusted caller asks, with "true",
// for what a test key would get.
const TestHeader = "Opensend-Test"

func (e *endpoint) answer(w http.ResponseWriter, req *request) (answer, error) {
	if e.trusted {
		req.test = req.Header.Get(TestHeader) == "true"
	} else {
		key, err := e.server.authorize(req, e.route.access)
		if err == nil && key != nil {
			req.key, req.test = key, key.Test
			err = e.server.limits.admit(w.Header(), key.ID, time.Now())
		}
		if err != nil {
			return answer{}, err
		}
	}
	if _, err := url.ParseQuery(req.URL.RawQuery); err != nil { // half of it would be dropped silently
		return answer{}, automations.Errorf(automations.KindInvalid, "", "the query behind the ? cannot be read; percent-encode its values")
	}
	if err := req.readBody(w, e.server.bodyLimit, e.route.media()); err != nil {
		return answer{}, err
	}
	if e.route.audited() {
		req.change = e.changeBy(req)
	}
	return e.route.handle(e.server, req)
}
