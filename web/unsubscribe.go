package web

import (
	"errors"
	"net/http"
	"strings"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/engine"
	"github.com/opensend/opensend/storage"
)

// unsubscribePage is what the holder of a link sees.
type unsubscribePage struct {
	Address      string // shortened: mail is forwarded
	Topic        *automations.Topic
	Unsubscribed bool
	Topics       []chosenTopic
	Done         string // what has just happened; empty before
}

type chosenTopic struct {
	*automations.Topic
	Wanted bool
}

func newUnsubscribePage(p *engine.Preferences, done string) unsubscribePage {
	page := unsubscribePage{Address: shortAddress(p.Contact.Email), Topic: p.Topic, Unsubscribed: p.Contact.Unsubscribed, Done: done}
	for _, t := range p.Topics {
		page.Topics = append(page.Topics, chosenTopic{t, t.Subscription(p.Contact) == automations.OptIn})
	}
	return page
}

func shortAddress(email string) string {
	local, domain, _ := strings.Cut(email, "@")
	return local[:1] + "…@" + domain
}

// preferences shows what a link is for. Opening it changes nothing: programs
// that look at mail open links too.
func (d *Dashboard) preferences(w http.ResponseWriter, r *http.Request) {
	p, err := d.cfg.Engine.Preferences(r.PathValue("token"))
	d.showPreferences(w, r, p, "", err)
}

const maxChoice = 64 << 10

// unsubscribe acts: at once for the one-click button of a mail program (RFC
// 8058), or as the form says.
func (d *Dashboard) unsubscribe(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxChoice)
	if err := readForm(r, maxChoice); err != nil {
		d.message(w, r, http.StatusBadRequest, "The form could not be read. Please go back and try again.")
		return
	}
	token := r.PathValue("token")
	switch {
	case r.PostForm.Get("choice") == "topics":
		wanted := map[automations.ID]bool{}
		for _, text := range r.PostForm["topic"] {
			if id, ok := automations.ParseID(text); ok {
				wanted[id] = true
			}
		}
		p, err := d.cfg.Engine.Choose(token, false, wanted)
		d.showPreferences(w, r, p, "Your choice is saved.", err)
	case r.PostForm.Get("choice") == "nothing":
		p, err := d.cfg.Engine.Choose(token, true, nil)
		d.showPreferences(w, r, p, "You are unsubscribed from all mail.", err)
	default:
		p, err := d.cfg.Engine.Unsubscribe(token)
		done := "You are unsubscribed from all mail."
		if p != nil && p.Topic != nil {
			done = "You will not get mail about “" + p.Topic.Name + "” any more."
		}
		d.showPreferences(w, r, p, done, err)
	}
}

func (d *Dashboard) showPreferences(w http.ResponseWriter, r *http.Request, p *engine.Preferences, done string, err error) {
	switch {
	case errors.Is(err, storage.ErrNotFound):
		d.message(w, r, http.StatusNotFound, "This link is not valid, or the address it was for is not on the list any more.")
	case err != nil:
		d.cfg.Log.Error("page failed", "page", "unsubscribe", "error", err)
		d.message(w, r, http.StatusServiceUnavailable, "This did not work. Please try again in a minute.")
	default:
		d.render(w, http.StatusOK, "unsubscribe", shown{Data: newUnsubscribePage(p, done)})
	}
}
