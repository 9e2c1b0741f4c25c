// Package web is the dashboard: what came in, what it did, and the mail that
// went out, for the owner of the machine; and the page by which people
// unsubscribe.
//
// Pages are rendered by the server, ask nothing of other hosts, and run no
// script. The dashboard opens to whoever has the sign-in link of this run of
// the server, the other page to whoever has the link from a mail.
package web

import (
	"crypto/rand"
	"crypto/subtle"
	"embed"
	"encoding/json"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/engine"
	"github.com/opensend/opensend/automations/mail"
	"github.com/opensend/opensend/storage"
)

//go:embed pages/*.html static/style.css
var files embed.FS

// Config is what a dashboard needs.
type Config struct {
	DB     *storage.DB
	Engine *engine.Engine
	// BaseURL is where people reach the server.
	BaseURL string
	// Captures says that mail is kept instead of sent.
	Captures bool
	// Log gets what failed inside; nil discards it.
	Log *slog.Logger
}

// Dashboard answers the pages below /dashboard.
type Dashboard struct {
	cfg    Config
	pages  map[string]*template.Template
	secret string // of the sign-in link and the cookie; new at each start
}

const (
	home       = "/dashboard"
	cookieName = "opensend_session"
	recent     = 25 // rows on the first page
)

// New makes a Dashboard.
func New(cfg Config) (*Dashboard, error) {
	if cfg.DB == nil || cfg.Engine == nil {
		return nil, errors.New("web: Config.DB and Config.Engine are required")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	d := &Dashboard{cfg: cfg, pages: map[string]*template.Template{}, secret: rand.Text()}
	for _, name := range []string{"home", "delivery", "run", "email", "message", "unsubscribe"} {
		page, err := template.New("layout.html").Funcs(functions).ParseFS(files, "pages/layout.html", "pages/"+name+".html")
		if err != nil {
			return nil, err
		}
		d.pages[name] = page
	}
	return d, nil
}

// functions are the helpers of the pages.
var functions = template.FuncMap{
	"time": func(t time.Time) string {
		if t.IsZero() {
			return "–"
		}
		return t.UTC().Format("2006-01-02 15:04:05") + " UTC"
	},
	"json": func(raw json.RawMessage) string {
		if len(raw) == 0 {
			return "–"
		}
		return string(raw)
	},
	"none": func(id automations.ID) bool { return id == automations.ID{} },
}

// SignInURL is the link that opens the dashboard. It is a secret.
func (d *Dashboard) SignInURL() string { return d.cfg.BaseURL + home + "/sign-in?token=" + d.secret }

// Handler answers everything below /dashboard and /unsubscribe, and leads to
// the dashboard from /.
func (d *Dashboard) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, home, http.StatusSeeOther) })
	mux.HandleFunc("GET /dashboard/sign-in", d.signIn)
	mux.HandleFunc("GET /dashboard/style.css", func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, files, "static/style.css") })
	mux.HandleFunc("GET /dashboard", d.guarded("home", d.home))
	mux.HandleFunc("GET /dashboard/deliveries/{id}", d.guarded("delivery", d.delivery))
	mux.HandleFunc("GET /dashboard/runs/{workflow}/{run}", d.guarded("run", d.run))
	mux.HandleFunc("GET /dashboard/emails/{id}", d.guarded("email", d.email))
	mux.HandleFunc("GET /dashboard/emails/{id}/html", d.emailHTML)
	mux.HandleFunc("GET /unsubscribe/{token}", d.preferences)
	mux.HandleFunc("POST /unsubscribe/{token}", d.unsubscribe)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		d.message(w, http.StatusNotFound, "There is no such page.")
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self' data:; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		mux.ServeHTTP(w, r)
	})
}

func (d *Dashboard) valid(secret string) bool {
	return subtle.ConstantTimeCompare([]byte(secret), []byte(d.secret)) == 1
}

// signIn exchanges the link's token for a cookie, so that it does not stay in
// the address bar.
func (d *Dashboard) signIn(w http.ResponseWriter, r *http.Request) {
	if !d.valid(r.URL.Query().Get("token")) {
		d.message(w, http.StatusForbidden, "This sign-in link is not valid any more. The server prints a new one each time it starts.")
		return
	}
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: d.secret, Path: home, HttpOnly: true, SameSite: http.SameSiteLaxMode,
		Secure: strings.HasPrefix(d.cfg.BaseURL, "https:"),
	})
	http.Redirect(w, r, home, http.StatusSeeOther)
}

func (d *Dashboard) signedIn(w http.ResponseWriter, r *http.Request) bool {
	if cookie, err := r.Cookie(cookieName); err == nil && d.valid(cookie.Value) {
		return true
	}
	d.message(w, http.StatusUnauthorized, "Please open the sign-in link that the server printed when it started.")
	return false
}

// guarded makes a handler of a page: data reads what it shows.
func (d *Dashboard) guarded(page string, data func(tx *storage.Tx, r *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !d.signedIn(w, r) {
			return
		}
		var shown any
		err := d.cfg.DB.View(func(tx *storage.Tx) (err error) {
			shown, err = data(tx, r)
			return err
		})
		switch {
		case errors.Is(err, storage.ErrNotFound):
			d.message(w, http.StatusNotFound, "There is no such record, or it was deleted.")
		case err != nil:
			d.cfg.Log.Error("page failed", "page", page, "error", err)
			d.message(w, http.StatusInternalServerError, "This page could not be made. The server's log says why.")
		default:
			d.render(w, http.StatusOK, page, shown)
		}
	}
}

func (d *Dashboard) message(w http.ResponseWriter, status int, text string) {
	d.render(w, status, "message", text)
}

func (d *Dashboard) render(w http.ResponseWriter, status int, page string, data any) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if err := d.pages[page].Execute(w, data); err != nil {
		d.cfg.Log.Error("page failed", "page", page, "error", err)
	}
}

type homePage struct {
	BaseURL    string
	Captures   bool
	Deliveries []*automations.Delivery
	Emails     []*automations.Email
}

func (d *Dashboard) home(tx *storage.Tx, _ *http.Request) (any, error) {
	page := homePage{BaseURL: d.cfg.BaseURL, Captures: d.cfg.Captures}
	var err error
	if page.Deliveries, _, err = tx.Deliveries(storage.Page{Limit: recent}, nil); err != nil {
		return nil, err
	}
	page.Emails, _, err = tx.Emails(storage.Page{Limit: recent}, nil)
	return page, err
}

type deliveryPage struct {
	*automations.Delivery
	Verdicts []namedVerdict
}

type namedVerdict struct {
	automations.Verdict
	Automation string
}

func (d *Dashboard) delivery(tx *storage.Tx, r *http.Request) (any, error) {
	stored, err := tx.Delivery(pathID(r, "id"))
	if err != nil {
		return nil, err
	}
	page := deliveryPage{Delivery: stored}
	for _, v := range stored.Verdicts {
		page.Verdicts = append(page.Verdicts, namedVerdict{v, workflowName(tx, v.WorkflowID)})
	}
	return page, nil
}

func workflowName(tx *storage.Tx, id automations.ID) string {
	w, err := tx.Workflow(id)
	if err != nil {
		return ""
	}
	return w.Name
}

type runPage struct {
	*automations.Run
	Automation string
	Contact    *automations.Contact // nil when it was deleted
	Timeline   []runStep
}

type runStep struct {
	Key   string
	Type  automations.StepType
	State automations.StepState
	Email *automations.ID
}

func (d *Dashboard) run(tx *storage.Tx, r *http.Request) (any, error) {
	row, err := tx.Run(automations.RunRef{WorkflowID: pathID(r, "workflow"), RunID: pathID(r, "run")})
	if err != nil {
		return nil, err
	}
	revision, err := tx.Revision(row.WorkflowID, row.Revision)
	if err != nil {
		return nil, err
	}
	page := runPage{Run: row.Run, Automation: workflowName(tx, row.WorkflowID)}
	if page.Contact, err = tx.Contact(row.ContactID); errors.Is(err, storage.ErrNotFound) {
		page.Contact = nil
	}
	for _, step := range revision.Definition.Steps {
		shown := runStep{Key: step.Key, Type: step.Type, State: row.StateOf(step.Key)}
		var output struct {
			EmailID *automations.ID `json:"email_id"`
		}
		if json.Unmarshal(shown.State.Output, &output) == nil {
			shown.Email = output.EmailID
		}
		page.Timeline = append(page.Timeline, shown)
	}
	return page, nil
}

type emailPage struct {
	*automations.Email
	View mail.View
}

func (d *Dashboard) email(tx *storage.Tx, r *http.Request) (any, error) {
	return readEmail(tx, r)
}

func readEmail(tx *storage.Tx, r *http.Request) (*emailPage, error) {
	row, err := tx.Email(pathID(r, "id"))
	if err != nil {
		return nil, err
	}
	page := &emailPage{Email: row.Email}
	content, err := tx.EmailContent(row.ID)
	if errors.Is(err, storage.ErrNotFound) {
		return page, nil // erased
	}
	if err != nil {
		return nil, err
	}
	page.View, err = mail.ViewOf(content.HTML, content.Text, content.Message)
	return page, err
}

// emailHTML is the HTML of a mail by itself, for a frame that runs no script
// and loads nothing.
func (d *Dashboard) emailHTML(w http.ResponseWriter, r *http.Request) {
	if !d.signedIn(w, r) {
		return
	}
	var page *emailPage
	err := d.cfg.DB.View(func(tx *storage.Tx) (err error) {
		page, err = readEmail(tx, r)
		return err
	})
	if err != nil {
		d.message(w, http.StatusNotFound, "There is no such mail.")
		return
	}
	w.Header().Set("Content-Security-Policy", "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'")
	w.Header().Set("X-Frame-Options", "SAMEORIGIN")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Write([]byte(page.View.HTML))
}

// pathID reads an id from the path; what is not one is the zero id, which
// names nothing.
func pathID(r *http.Request, name string) automations.ID {
	id, _ := automations.ParseID(r.PathValue(name))
	return id
}
