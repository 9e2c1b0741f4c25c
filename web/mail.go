package web

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/mail"
	"github.com/opensend/opensend/storage"
)

// box is one view of the mail.
type box struct {
	Name   string
	Status automations.EmailStatus // empty for all
	Help   string
}

// outbox is the name of the view that has what is still to leave.
const outbox = "outbox"

// boxes are the views of the mail, in order.
func boxes() []box {
	return []box{
		{Name: "all"},
		{outbox, automations.EmailQueued, "Mail that is still to leave, what leaves next first."},
		{"sent", automations.EmailSent, "The mail server took it. Whether it arrives is between that server and the next."},
		{"failed", automations.EmailFailed, "It was refused for good, or tried for as long as mail.retry_for says."},
		{"unconfirmed", automations.EmailUnconfirmed, unconfirmedHelp},
		{"captured", automations.EmailCaptured, "The inbox of what was kept here instead of being sent: all mail while no mail server is configured, and always the mail of tests."},
		{"suppressed", automations.EmailSuppressed, "Nobody it was for may be written to."},
		{"cancelled", automations.EmailCancelled, "It was taken back before it left."},
	}
}

const unconfirmedHelp = "The connection broke after the whole mail was handed over and before the mail server said whether it took it: it may have arrived, so it is not sent again before somebody decides."

// mailPage is one view of the mail.
type mailPage struct {
	Boxes []box
	Box   box
	Rows  []*automations.Email
	More  bool   // of the outbox: there is mail that leaves later
	Here  string // the address of this view
	Older string // of the next page; empty at the end
	API   string // the path that has the same over the API
}

// outboxRows is how much of the outbox is shown.
const outboxRows = 100

func (v *visit) mail() (any, error) {
	page := mailPage{Boxes: boxes(), Here: v.URL.RequestURI()}
	at := slices.IndexFunc(page.Boxes, func(b box) bool { return b.Name == v.FormValue("box") })
	page.Box = page.Boxes[max(at, 0)]
	page.API = "/emails" + v.mailQuery(page.Box)
	err := v.read(func(tx *storage.Tx) error {
		if page.Box.Name == outbox && !v.filtersMail() {
			return page.readOutbox(tx, v.now)
		}
		rows, err := readList(v, func(p storage.Page) ([]*automations.Email, storage.Rest, error) {
			return tx.Emails(p, v.mailFilter(page.Box))
		},
			func(e *automations.Email) automations.ID { return e.ID })
		page.Rows, page.Older = rows.Rows, v.olderThan("/mail", rows.Older)
		return err
	})
	return page, err
}

// olderThan is the address of a list, below the dashboard and as it is filtered,
// with what is older than a row; empty when that is zero.
func (v *visit) olderThan(list string, id automations.ID) string {
	if id == (automations.ID{}) {
		return ""
	}
	query := v.URL.Query()
	query.Set("after", id.String())
	return home + list + "?" + query.Encode()
}

func (v *visit) filtersMail() bool {
	return v.FormValue("to")+v.FormValue("q")+v.FormValue("run_id") != ""
}

// mailQuery is what the view asks for in words of the API.
func (v *visit) mailQuery(b box) string {
	query := url.Values{}
	if b.Status != "" {
		query.Set("status", string(b.Status))
	}
	for _, name := range []string{"to", "q", "run_id"} {
		if text := v.FormValue(name); text != "" {
			query.Set(name, text)
		}
	}
	if len(query) == 0 {
		return ""
	}
	return "?" + query.Encode()
}

// mailFilter keeps what a view and the filters beside it ask for, as GET /emails
// does; nil when they ask for nothing.
func (v *visit) mailFilter(b box) func(*automations.Email) bool {
	if b.Status == "" && !v.filtersMail() {
		return nil
	}
	to, subject := strings.ToLower(strings.TrimSpace(v.FormValue("to"))), strings.ToLower(v.FormValue("q"))
	runText := strings.TrimSpace(v.FormValue("run_id"))
	run, _ := automations.ParseID(runText)
	return func(e *automations.Email) bool {
		return (b.Status == "" || e.Status == b.Status || b.Name == outbox && e.Status == automations.EmailSending) &&
			(runText == "" || e.Run.RunID == run && run != automations.ID{}) &&
			(subject == "" || strings.Contains(strings.ToLower(e.Subject), subject)) &&
			(to == "" || e.Names(to))
	}
}

// readOutbox reads what is in the hands of workers, and what leaves next.
func (p *mailPage) readOutbox(tx *storage.Tx, now time.Time) error {
	due, next := tx.DueEmails(now.AddDate(100, 0, 0), outboxRows)
	p.More = !next.IsZero() || len(due) == outboxRows
	for _, id := range append(tx.SendingEmails(), due...) {
		row, err := tx.Email(id)
		if err != nil {
			return err
		}
		p.Rows = append(p.Rows, row.Email)
	}
	return nil
}

// emailPage is one mail.
type emailPage struct {
	*automations.Email
	View       mail.View
	Links      []mail.Link
	Source     string // the message as it left, or as much as can be shown; empty when there is none
	Cut        bool   // there is more of it
	Tab        string
	Tabs       []string
	Erased     bool
	Captures   bool   // nothing can be sent
	Help       string // what the status means, where that needs saying
	Automation string
	Contact    *automations.Contact
	Template   *automations.Template
	Why        []suppressedWhy
}

// suppressedWhy says why an address did not get the mail.
type suppressedWhy struct {
	Address, Reason string
	Of              *automations.Suppression // nil when there is none, or none any more
}

// mostSource is how much of a message is shown.
const mostSource = 256 << 10

func (v *visit) email() (any, error) {
	page, err := v.readEmail()
	return page, err
}

func (v *visit) readEmail() (page *emailPage, err error) {
	err = v.read(func(tx *storage.Tx) (err error) {
		page, err = readEmail(tx, v.pathID("id"))
		return err
	})
	if err != nil {
		return nil, err
	}
	page.Captures = v.d.cfg.Engine.Captures()
	if page.Status == automations.EmailUnconfirmed {
		page.Help = unconfirmedHelp
	}
	if page.Tab = v.FormValue("tab"); !slices.Contains(page.Tabs, page.Tab) && len(page.Tabs) > 0 {
		page.Tab = page.Tabs[0]
	}
	return page, nil
}

func readEmail(tx *storage.Tx, id automations.ID) (*emailPage, error) {
	row, err := tx.Email(id)
	if err != nil {
		return nil, err
	}
	page := &emailPage{Email: row.Email, Automation: workflowName(tx, row.Run.WorkflowID)}
	if page.Contact, err = tx.Contact(row.ContactID); err != nil && !errors.Is(err, storage.ErrNotFound) {
		return nil, err
	}
	if page.Template, err = tx.Template(row.TemplateID); err != nil && !errors.Is(err, storage.ErrNotFound) {
		return nil, err
	}
	if err := page.readWhy(tx); err != nil {
		return nil, err
	}
	content, err := tx.EmailContent(row.ID)
	if errors.Is(err, storage.ErrNotFound) {
		page.Erased = true
		return page, nil
	}
	if err != nil {
		return nil, err
	}
	if page.View, err = mail.ViewOf(content.HTML, content.Text, content.Message); err != nil {
		return nil, err
	}
	page.Links = page.View.Links()
	page.Source, page.Cut = shortened(string(content.Message), mostSource), len(content.Message) > mostSource
	page.addTabs()
	return page, nil
}

// addTabs names what there is to look at.
func (p *emailPage) addTabs() {
	for _, tab := range []struct {
		name string
		has  bool
	}{{"html", p.View.HTML != ""}, {"text", p.View.Text != ""}, {"headers", len(p.View.Header) > 0}, {"source", p.Source != ""}, {"links", len(p.Links) > 0}} {
		if tab.has {
			p.Tabs = append(p.Tabs, tab.name)
		}
	}
}

// readWhy finds out why addresses did not get the mail.
func (p *emailPage) readWhy(tx *storage.Tx) error {
	for _, s := range p.Settled {
		if s.Status == automations.EmailSuppressed {
			p.Why = append(p.Why, suppressedWhy{Address: s.Address, Reason: s.Reason})
		}
	}
	if p.Status == automations.EmailSuppressed {
		for _, address := range p.Recipients() {
			p.Why = append(p.Why, suppressedWhy{Address: address, Reason: p.LastError})
		}
	}
	for i := range p.Why {
		var err error
		if p.Why[i].Of, err = tx.SuppressionOf(p.Why[i].Address); err != nil && !errors.Is(err, storage.ErrNotFound) {
			return err
		}
	}
	return nil
}

// framed sends HTML by itself, for a frame that runs no script and loads
// nothing.
func (v *visit) framed(html string) (any, error) {
	h := v.w.Header()
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'")
	h.Set("X-Frame-Options", "SAMEORIGIN")
	h.Set("Content-Type", "text/html; charset=utf-8")
	_, err := v.w.Write([]byte(html))
	return written{}, err
}

func (v *visit) emailHTML() (any, error) {
	page, err := v.readEmail()
	if err != nil {
		return nil, err
	}
	return v.framed(page.View.HTML)
}

// emailSource is the message as a file.
func (v *visit) emailSource() (any, error) {
	var message []byte
	err := v.read(func(tx *storage.Tx) error {
		content, err := tx.EmailContent(v.pathID("id"))
		if err == nil && content.Message == nil {
			err = storage.ErrNotFound
		}
		if err == nil {
			message = content.Message
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	v.w.Header().Set("Content-Type", "message/rfc822")
	v.w.Header().Set("Content-Disposition", `attachment; filename="`+v.pathID("id").String()+`.eml"`)
	_, err = v.w.Write(message)
	return written{}, err
}

// decisions are what can be done about a mail, and what is said afterwards.
var decisions = map[string]string{
	"resend":  "The mail is sent again.",
	"release": "The mail is on its way.",
	"confirm": "The mail counts as sent.",
	"cancel":  "The mail was taken back.",
}

func (v *visit) decideEmail() (any, error) {
	decision := v.PathValue("decision")
	done, ok := decisions[decision]
	if !ok {
		return nil, storage.ErrNotFound
	}
	id := v.pathID("id")
	err := v.call(http.MethodPost, "/emails/"+id.String()+"/"+decision, nil, nil)
	if problemOf(err) == nil {
		return redirect{home + "/mail/" + id.String(), done}, err
	}
	page, readErr := v.readEmail()
	if readErr != nil {
		return nil, readErr
	}
	return refused{page, err}, nil
}
