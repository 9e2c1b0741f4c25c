package web

import (
	"bytes"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// route is one page, or one thing that a page can do.
type route struct {
	method string
	path   string // below /dashboard, as a pattern of http.ServeMux
	page   string // the template that shows what handle returns
	open   bool   // answers without a session
	handle func(*visit) (any, error)
}

// visit is one request for a page.
type visit struct {
	*http.Request
	d      *Dashboard
	w      http.ResponseWriter
	now    time.Time
	user   *automations.User // nil on open pages
	secret string            // of the session
	seen   int               // the last transaction before anything was read
}

// redirect is what a handler returns to lead to another page, with a notice
// there unless it is empty.
type redirect struct{ to, notice string }

// written is what a handler returns that has answered by itself.
type written struct{}

// refused is what a handler returns to show its page again with what is wrong.
type refused struct {
	data any
	err  error // an *automations.Error or an *apiError
}

// shown is what templates get.
type shown struct {
	Path    string
	Query   url.Values
	Seen    int // the last transaction that the page knows of
	User    *automations.User
	Notice  string   // what has just been done
	Problem *problem // what is wrong with what was sent; nil when nothing is
	Site    site
	Data    any
}

// site is what every page tells of the server.
type site struct {
	BaseURL, Version string
	Captures         bool
	Held             *storage.Held
}

// problem is a refusal, for people.
type problem struct {
	Message string
	Details []automations.Detail
}

// Heading is the problem in words; how many there are when the details
// say it all.
func (p *problem) Heading() string {
	if len(p.Details) > 1 && p.Message == p.Details[0].Message {
		return plural(len(p.Details), "thing") + " to mend:"
	}
	return p.Message
}

// maxForm is the largest form; a template's HTML is most of it.
const maxForm = 2 << 20

// maxBody is the largest request that the route reads: a file, or a form.
func (rt route) maxBody() int64 {
	switch rt.path {
	case "/contacts/import":
		return maxImportBytes + maxForm
	case "/sign-in":
		return maxForm + 64<<10 // another form may be kept in it
	}
	return maxForm
}

// page answers a route.
func (d *Dashboard) page(rt route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v := &visit{Request: r, d: d, w: w, now: time.Now().UTC().Truncate(time.Millisecond), seen: d.cfg.DB.LastCommit()}
		if !rt.open && !v.enter() {
			return
		}
		if r.Method == http.MethodPost {
			r.Body = http.MaxBytesReader(w, r.Body, rt.maxBody())
			if err := readForm(r, rt.maxBody()); err != nil {
				d.message(w, r, http.StatusRequestEntityTooLarge, "The form could not be read: it is too large, or was cut short.")
				return
			}
		}
		data, err := rt.handle(v)
		v.answer(rt, data, err)
	}
}

// readForm reads a form of either kind. Reading both at once would pass over what
// is wrong with the first.
func readForm(r *http.Request, maxBody int64) error {
	if err := r.ParseForm(); err != nil {
		return err
	}
	err := r.ParseMultipartForm(maxBody)
	if errors.Is(err, http.ErrNotMultipart) {
		return nil
	}
	return err
}

// enter finds the session of the request, or leads to the way in.
func (v *visit) enter() bool {
	err := v.resume()
	switch {
	case err == nil:
		return true
	case errors.Is(err, errNoSession) && (v.Header.Get("HX-Request") != "" || v.Header.Get("Accept") == "text/event-stream"):
		v.w.WriteHeader(http.StatusUnauthorized) // app.js leads to the way in, or says that there is work to lose
	case errors.Is(err, errNoSession) && v.Method == http.MethodPost:
		v.signInLate()
	case errors.Is(err, errNoSession):
		http.Redirect(v.w, v.Request, home+"/sign-in?"+url.Values{"to": {v.URL.RequestURI()}}.Encode(), http.StatusSeeOther)
	default:
		v.fail("sign-in", err)
	}
	return false
}

func (v *visit) answer(rt route, data any, err error) {
	if again, ok := data.(refused); ok {
		v.show(problemStatus(again.err), rt.page, again.data, problemOf(again.err))
		return
	}
	switch to := data.(type) {
	case written:
		return
	case redirect:
		if to.notice != "" {
			v.setNotice(to.notice)
		}
		http.Redirect(v.w, v.Request, to.to, http.StatusSeeOther)
		return
	}
	switch p := problemOf(err); {
	case err == nil:
		v.show(http.StatusOK, rt.page, data, nil)
	case errors.Is(err, storage.ErrNotFound):
		v.d.message(v.w, v.Request, http.StatusNotFound, "There is no such record, or it was deleted.")
	case p != nil:
		v.d.message(v.w, v.Request, problemStatus(err), p.Message)
	default:
		v.fail(rt.path, err)
	}
}

func (v *visit) fail(page string, err error) {
	v.d.cfg.Log.Error("page failed", "page", page, "error", err)
	v.d.message(v.w, v.Request, http.StatusInternalServerError, "This page could not be made. The server's log says why.")
}

// problemOf is what an error says to people; nil when it is internal.
func problemOf(err error) *problem {
	if e, ok := errors.AsType[*automations.Error](err); ok {
		return &problem{e.Msg, e.Details}
	}
	if e, ok := errors.AsType[*apiError](err); ok {
		return &problem{e.Message, e.Details}
	}
	return nil
}

func problemStatus(err error) int {
	if e, ok := errors.AsType[*apiError](err); ok {
		return e.status
	}
	return http.StatusUnprocessableEntity
}

// read runs a handler's reading on one state of the file.
func (v *visit) read(fn func(tx *storage.Tx) error) error { return v.d.cfg.DB.View(fn) }

// pathID reads an id from the path; what is not one is the zero id, which
// names nothing.
func (v *visit) pathID(name string) automations.ID {
	id, _ := automations.ParseID(v.PathValue(name))
	return id
}

const (
	noticeCookie = "opensend_notice"
	noticeLife   = 30 // seconds
)

// setNotice keeps a sentence for the next page.
func (v *visit) setNotice(text string) {
	http.SetCookie(v.w, &http.Cookie{Name: noticeCookie, Value: url.QueryEscape(text), Path: home, MaxAge: noticeLife, HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: v.d.secure()})
}

// takeNotice returns that sentence, once.
func (v *visit) takeNotice() string {
	cookie, err := v.Cookie(noticeCookie)
	if err != nil {
		return ""
	}
	http.SetCookie(v.w, &http.Cookie{Name: noticeCookie, Path: home, MaxAge: -1})
	text, err := url.QueryUnescape(cookie.Value)
	if err != nil {
		return ""
	}
	return text
}

func (v *visit) show(status int, page string, data any, p *problem) {
	s := shown{
		Path: v.URL.Path, Query: v.URL.Query(), Seen: v.seen, User: v.user, Problem: p, Data: data,
		Site: site{BaseURL: v.d.cfg.BaseURL, Version: v.d.cfg.Version, Captures: v.d.cfg.Engine.Captures(), Held: v.d.cfg.Engine.Held()},
	}
	if v.Method == http.MethodGet && v.Header.Get("HX-Request") == "" { // a part that looks again does not show it
		s.Notice = v.takeNotice()
	}
	v.d.render(v.w, status, page, s)
}

// message is a page of one sentence.
func (d *Dashboard) message(w http.ResponseWriter, r *http.Request, status int, text string) {
	d.render(w, status, "message", shown{Path: r.URL.Path, Site: site{BaseURL: d.cfg.BaseURL, Version: d.cfg.Version}, Data: text})
}

// render makes the whole page before any of it leaves.
func (d *Dashboard) render(w http.ResponseWriter, status int, page string, data any) {
	var out bytes.Buffer
	t, err := d.pages[page]()
	if err == nil {
		err = t.Execute(&out, data)
	}
	if err != nil {
		d.cfg.Log.Error("page failed", "page", page, "error", err)
		http.Error(w, "This page could not be made. The server's log says why.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	w.Write(out.Bytes())
}
