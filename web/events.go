package web

import (
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// eventsPage is a page of stored events.
type eventsPage struct {
	listPage[*automations.Delivery]
	Older    string // address of the next page; empty at the end
	Here     string // address of this one
	API      string // the same list in the API
	Filtered bool
	Names    []string
	Reasons  []automations.Reason
}

func (v *visit) events() (any, error) {
	page := eventsPage{Reasons: automations.Reasons(), Here: v.URL.RequestURI()}
	filter, query, err := v.eventFilter()
	if err != nil {
		return refused{page, err}, nil
	}
	page.Filtered, page.API = len(query) > 0, "/deliveries"
	if page.Filtered {
		page.API += "?" + query.Encode()
	}
	err = v.read(func(tx *storage.Tx) (err error) {
		page.listPage, err = readList(v, func(p storage.Page) ([]*automations.Delivery, storage.Rest, error) {
			return tx.FindDeliveries(p, filter)
		},
			func(d *automations.Delivery) automations.ID { return d.ID })
		if err != nil {
			return err
		}
		page.Names, err = eventNames(tx)
		return err
	})
	page.Older = v.olderThan("/events", page.listPage.Older)
	return page, err
}

// eventFilter reads the filter, and it in the words of the API.
func (v *visit) eventFilter() (f storage.DeliveryFilter, query url.Values, err error) {
	var p automations.Problems
	query = url.Values{}
	get := func(name string) string {
		text := strings.TrimSpace(v.FormValue(name))
		if text != "" {
			query.Set(name, text)
		}
		return text
	}
	f.Event, f.Email = get("event"), strings.ToLower(get("email"))
	if identity, err := automations.NormalizeEmail(f.Email); err == nil {
		f.Email = identity
	}
	if text := get("contact_id"); text != "" {
		var ok bool
		if f.ContactID, ok = automations.ParseID(text); !ok {
			p.Add("", "contact_id", "contact_id must be the id of a contact")
		}
	}
	if verdict := automations.Reason(get("verdict")); slices.Contains(automations.Reasons(), verdict) {
		f.Verdicts = []automations.Reason{verdict}
	} else if verdict != "" {
		p.Add("", "verdict", "there is no verdict %.40q", string(verdict))
	}
	f.From, f.To = typedTime(&p, query, "from", get("from")), typedTime(&p, query, "to", get("to"))
	return f, query, p.Err()
}

// typedTime reads what a field for a time in UTC holds: a time as browsers write
// it, or in full.
func typedTime(p *automations.Problems, query url.Values, name, text string) time.Time {
	if text == "" {
		return time.Time{}
	}
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02T15:04:05", time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			query.Set(name, t.UTC().Format(time.RFC3339))
			return t
		}
	}
	p.Add("", name, "%s must be a time such as 2026-01-31T12:00", name)
	return time.Time{}
}

// maxNames is how many names a field offers.
const maxNames = 200

// eventNames are the names that a field for an event offers: those of event
// types and of triggers.
func eventNames(tx *storage.Tx) ([]string, error) {
	types, _, err := tx.EventTypes(storage.Page{Limit: maxNames})
	if err != nil {
		return nil, err
	}
	workflows, _, err := tx.Workflows(storage.Page{Limit: maxNames}, nil)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, t := range types {
		names = append(names, t.Name)
	}
	for _, w := range workflows {
		names = append(names, w.Trigger)
	}
	slices.Sort(names)
	return slices.Compact(slices.DeleteFunc(names, func(name string) bool { return name == "" })), nil
}

// eventPage is one stored event: what came in, and what came of it.
type eventPage struct {
	*automations.Delivery
	Verdicts  []namedVerdict
	Runs      []causedRun
	Unmatched bool   // nothing listened to it
	Known     bool   // its contact exists
	Curl      string // sends the same event; empty once its contact is erased
	API       string
	Once      string // makes a second press of a button the first one
}

// namedVerdict is a verdict with the name of its automation.
type namedVerdict struct {
	automations.Verdict
	Automation string // empty when it was deleted, and for no automation
}

// causedRun is a run that an event started, or led on.
type causedRun struct {
	*automations.Run
	Automation string
	Reason     automations.Reason
}

func (v *visit) event() (any, error) { return v.eventPage() }

func (v *visit) eventPage() (page eventPage, err error) {
	err = v.read(func(tx *storage.Tx) (err error) {
		if page.Delivery, err = tx.Delivery(v.pathID("id")); err != nil {
			return err
		}
		if _, err := tx.Contact(page.ContactID); err == nil {
			page.Known = true
		}
		return page.readVerdicts(tx)
	})
	if err != nil {
		return page, err
	}
	if sent, err := sentAgain(page.Delivery); err == nil {
		page.Curl = curl(v.d.cfg.BaseURL, "POST", "/events/send", sent)
	}
	page.API, page.Once = "/deliveries/"+page.ID.String(), newOnce()
	return page, nil
}

func (p *eventPage) readVerdicts(tx *storage.Tx) error {
	for _, verdict := range p.Delivery.Verdicts {
		named := namedVerdict{verdict, workflowName(tx, verdict.WorkflowID)}
		p.Verdicts = append(p.Verdicts, named)
		p.Unmatched = p.Unmatched || verdict.Reason == automations.Unmatched || verdict.Reason == automations.NearMiss
		if verdict.RunID == (automations.ID{}) {
			continue
		}
		row, err := tx.Run(automations.RunRef{WorkflowID: verdict.WorkflowID, RunID: verdict.RunID})
		if errors.Is(err, storage.ErrNotFound) { // its time to be kept is over
			continue
		}
		if err != nil {
			return err
		}
		p.Runs = append(p.Runs, causedRun{row.Run, named.Automation, verdict.Reason})
	}
	return nil
}

// sentEvent is an event in the words of POST /events/send.
type sentEvent struct {
	Event     string          `json:"event"`
	Email     string          `json:"email,omitempty"`
	ContactID *automations.ID `json:"contact_id,omitempty"`
	Payload   json.RawMessage `json:"payload,omitempty"`
}

// sentAgain is what sends a stored event once more.
func sentAgain(d *automations.Delivery) (sentEvent, error) {
	sent := sentEvent{Event: d.Event, Email: d.Email, Payload: d.Payload}
	if sent.Email == "" {
		return sent, automations.Errorf(automations.KindConflict, "", "the contact of this event was erased, and its payload with it; there is nothing to send again")
	}
	return sent, nil
}

// curl is a command that makes a request of the API. What is quoted in it holds
// for a POSIX shell, whatever the texts hold.
func curl(base, method, path string, body any) string {
	text, err := automations.EncodeJSON(body)
	if err != nil {
		return ""
	}
	quoted := strings.ReplaceAll(string(text), "'", `'\''`)
	return "curl -X " + method + " " + base + path + " \\\n  -H \"Authorization: Bearer $KEY\" \\\n  -H \"Content-Type: application/json\" \\\n  -d '" + quoted + "'"
}
