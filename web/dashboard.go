package web

import (
	"bytes"
	"compress/gzip"
	"embed"
	"errors"
	"html/template"
	"io/fs"
	"log/slog"
	"mime"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/opensend/opensend/automations/engine"
	"github.com/opensend/opensend/storage"
)

//go:embed pages static
var files embed.FS

// Config is what a dashboard needs.
type Config struct {
	DB     *storage.DB
	Engine *engine.Engine
	// API is the API's handler for trusted callers. What a page changes goes
	// through it.
	API http.Handler
	// BaseURL is where people reach the server.
	BaseURL string
	// Version is what the program calls itself.
	Version string
	// Doctor looks at what the server needs around it; nil leaves the page out.
	// It may take a minute.
	Doctor func() []Finding
	// Settings is the configuration in force, secrets hidden; nil leaves the page
	// out.
	Settings []Setting
	// Log gets what failed inside; nil discards it.
	Log *slog.Logger
}

// Finding is one line of the doctor.
type Finding struct {
	Check   string
	Verdict string // ok, warn or fail
	Text    string
	Do      string // what helps; may be empty
}

// Setting is one key of the configuration.
type Setting struct{ Key, Value, Origin string }

// Dashboard answers the pages below /dashboard and /unsubscribe.
type Dashboard struct {
	cfg     Config
	pages   map[string]func() (*template.Template, error)
	guesses *guesses
	imports imports
	frames  frames
	hashing chan struct{} // one place for each password that is hashed at the same time
	started time.Time

	stopping chan struct{} // closed by Stop
	stop     func()
}

const home = "/dashboard"

// New makes a Dashboard.
func New(cfg Config) (*Dashboard, error) {
	if cfg.DB == nil || cfg.Engine == nil || cfg.API == nil {
		return nil, errors.New("web: Config.DB, Config.Engine and Config.API are required")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	d := &Dashboard{cfg: cfg, guesses: newGuesses(), hashing: make(chan struct{}, hashesAtOnce), pages: map[string]func() (*template.Template, error){}, started: time.Now(), stopping: make(chan struct{})}
	d.stop = sync.OnceFunc(func() { close(d.stopping) })
	for _, rt := range append(routes(), route{page: "message"}, route{page: "unsubscribe"}) {
		if d.pages[rt.page] == nil && rt.page != "" {
			d.pages[rt.page] = parsed(rt.page)
		}
	}
	return d, nil
}

// parsed makes a page of its file, the layout and the parts that pages share,
// when it is first shown: starting the server waits for none.
func parsed(name string) func() (*template.Template, error) {
	return sync.OnceValues(func() (*template.Template, error) {
		return template.New("layout.html").Funcs(functions).ParseFS(files, "pages/layout.html", "pages/parts.html", "pages/parts/*.html", "pages/"+name+".html")
	})
}

// policy is what pages may load: their own style and the program's own script.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// Handler answers everything below /dashboard and /unsubscribe, and leads to
// the dashboard from /.
func (d *Dashboard) Handler() http.Handler {
	inside := http.NewServeMux()
	for _, rt := range routes() {
		inside.HandleFunc(rt.method+" "+home+rt.path, d.page(rt))
	}
	static, err := fs.Sub(files, "static")
	if err != nil {
		panic(err) // it is embedded
	}
	inside.Handle("GET /dashboard/static/", http.StripPrefix("/dashboard/static", staticFiles(static)))
	inside.HandleFunc("/", d.unknown)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, home, http.StatusSeeOther) })
	mux.HandleFunc("GET /unsubscribe/{token}", d.preferences)
	mux.HandleFunc("POST /unsubscribe/{token}", d.unsubscribe)
	mux.Handle("/", http.NewCrossOriginProtection().Handler(inside)) // not for the line above: mail programs post there
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
		h.Set("Cache-Control", "no-store")
		if strings.HasPrefix(d.cfg.BaseURL, "https:") {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		mux.ServeHTTP(w, r)
	})
}

// staticFiles gives out the embedded files. Browsers keep them for an hour: they
// change with the program, whose version is in their address. They are sent
// compressed, which is done once; pages are not: a compressed page could give
// away what it holds by its length.
func staticFiles(static fs.FS) http.Handler {
	var packed sync.Map // file to its gzip
	plain := http.FileServerFS(static)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "public, max-age=3600")
		h.Set("Vary", "Accept-Encoding")
		content, err := fs.ReadFile(static, strings.TrimPrefix(r.URL.Path, "/"))
		if err != nil || !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			plain.ServeHTTP(w, r)
			return
		}
		small, known := packed.Load(r.URL.Path)
		if !known {
			small = gzipped(content)
			packed.Store(r.URL.Path, small)
		}
		h.Set("Content-Type", mime.TypeByExtension(path.Ext(r.URL.Path)))
		h.Set("Content-Encoding", "gzip")
		w.Write(small.([]byte))
	})
}

func gzipped(content []byte) []byte {
	var out bytes.Buffer
	z, _ := gzip.NewWriterLevel(&out, gzip.BestCompression)
	z.Write(content) // to memory: it does not fail
	z.Close()
	return out.Bytes()
}

func (d *Dashboard) unknown(w http.ResponseWriter, r *http.Request) {
	d.message(w, r, http.StatusNotFound, "There is no such page.")
}
