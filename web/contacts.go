package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// contactsPage is a page of contacts.
type contactsPage struct {
	listPage[*automations.Contact]
	Older    string
	API      string
	Filtered bool
	Segments []*automations.Segment // that can be chosen
	Segment  *automations.Segment   // the one that is chosen
}

// maxChoices is how many segments and topics a page offers.
const maxChoices = 200

func (v *visit) contacts() (any, error) {
	var page contactsPage
	filter, query := v.contactFilter()
	page.Filtered, page.API = len(query) > 0, "/contacts"
	if page.Filtered {
		page.API += "?" + query.Encode()
	}
	err := v.read(func(tx *storage.Tx) (err error) {
		if page.Segments, _, err = tx.Segments(storage.Page{Limit: maxChoices}); err != nil {
			return err
		}
		if filter.SegmentID != (automations.ID{}) {
			if page.Segment, err = tx.Segment(filter.SegmentID); err != nil {
				return err
			}
		}
		if page.Rows = wholeAddress(tx, filter); page.Rows != nil {
			return nil
		}
		page.listPage, err = readList(v, func(p storage.Page) ([]*automations.Contact, storage.Rest, error) { return tx.Contacts(p, filter) },
			func(c *automations.Contact) automations.ID { return c.ID })
		return err
	})
	page.Older = v.olderThan("/contacts", page.listPage.Older)
	return page, err
}

// contactFilter reads the filter, and it in the words of the API.
func (v *visit) contactFilter() (f storage.ContactFilter, query url.Values) {
	query = url.Values{}
	if f.Search = strings.TrimSpace(v.FormValue("search")); f.Search != "" {
		query.Set("search", f.Search)
	}
	if status := v.FormValue("status"); status == "subscribed" || status == "unsubscribed" {
		unsubscribed := status == "unsubscribed"
		f.Unsubscribed = &unsubscribed
		query.Set("status", status)
	}
	if id, ok := automations.ParseID(v.FormValue("segment_id")); ok {
		f.SegmentID = id
		query.Set("segment_id", id.String())
	}
	return f, query
}

// wholeAddress finds the one contact that a search for a whole address means,
// without looking at others; nil when it is no whole address, or not a contact's.
func wholeAddress(tx *storage.Tx, f storage.ContactFilter) []*automations.Contact {
	email, err := automations.NormalizeEmail(f.Search)
	if err != nil || f.Unsubscribed != nil || f.SegmentID != (automations.ID{}) {
		return nil
	}
	c, err := tx.ContactByEmail(email)
	if err != nil {
		return nil
	}
	return []*automations.Contact{c}
}

// contactPage is all that is known of a contact.
type contactPage struct {
	*automations.Contact
	Form        contactForm
	Edit        bool // the form is open
	Segments    []*automations.Segment
	Others      []*automations.Segment // that it is not in
	Topics      []contactTopic
	Suppression *automations.Suppression // nil when the address is not suppressed
	Source      automations.ID           // the mail that the suppression came from; zero when that is gone
	Timeline    []moment
	Older       string
	Touched     *touched // nil on further pages of the timeline
}

// contactTopic is a topic as the contact has it.
type contactTopic struct {
	*automations.Topic
	Is     automations.Subscription
	Chosen bool // by the contact, else it is the topic's default
}

func (v *visit) contact() (any, error) { return v.contactPage(nil) }

// contactPage reads the page; typed is a form to show again.
func (v *visit) contactPage(typed *contactForm) (page contactPage, err error) {
	page.Edit = typed != nil || v.FormValue("edit") != ""
	err = v.read(func(tx *storage.Tx) (err error) {
		if page.Contact, err = tx.Contact(v.pathID("id")); err != nil {
			return err
		}
		page.Form = contactFormOf(page.Contact)
		if typed != nil {
			page.Form = *typed
		}
		if err := page.readChoices(tx); err != nil {
			return err
		}
		if err := page.readSuppression(tx); err != nil {
			return err
		}
		return page.readTimeline(v, tx)
	})
	return page, err
}

// readTimeline reads a page of the timeline, and with the first one how much an
// erasure touches.
func (p *contactPage) readTimeline(v *visit, tx *storage.Tx) error {
	after, _ := automations.ParseID(v.FormValue("after"))
	page := storage.Page{Limit: timelineRows, After: after}
	first := after == automations.ID{}
	if first {
		page.Limit = maxTouched
	}
	rows, err := readPerson(tx, storage.Person{ContactID: p.ID, Email: p.Email}, page)
	if err != nil {
		return err
	}
	if first {
		p.Touched = rows.touched(tx)
	}
	var older automations.ID
	p.Timeline, older, err = rows.timeline(tx)
	p.Older = v.olderThan("/contacts/"+p.ID.String(), older)
	return err
}

func (p *contactPage) readChoices(tx *storage.Tx) error {
	segments, _, err := tx.Segments(storage.Page{Limit: maxChoices})
	if err != nil {
		return err
	}
	for _, id := range tx.LiveSegments(p.Contact) {
		segment, err := tx.Segment(id)
		if err != nil {
			return err
		}
		p.Segments = append(p.Segments, segment)
	}
	for _, segment := range segments {
		if !slices.Contains(p.Contact.Segments, segment.ID) {
			p.Others = append(p.Others, segment)
		}
	}
	topics, _, err := tx.Topics(storage.Page{Limit: maxChoices})
	for _, topic := range topics {
		_, chosen := p.Contact.Topics[topic.ID]
		p.Topics = append(p.Topics, contactTopic{topic, topic.Subscription(p.Contact), chosen})
	}
	return err
}

func (p *contactPage) readSuppression(tx *storage.Tx) error {
	s, err := tx.SuppressionOf(p.Email)
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	p.Suppression = s
	if _, err := tx.Email(s.SourceID); err == nil {
		p.Source = s.SourceID
	}
	return nil
}

// contactForm is a contact as it is typed.
type contactForm struct {
	Email, FirstName, LastName string
	Unsubscribed               bool
	Properties                 []propertyRow
	Was                        string `json:"-"` // the form as it was first shown, as JSON
}

type propertyRow struct{ Name, Value string }

// Blank are rows for properties that it does not have yet.
func (contactForm) Blank() []propertyRow { return make([]propertyRow, 2) }

func contactFormOf(c *automations.Contact) contactForm {
	form := contactForm{Email: c.Email, FirstName: c.FirstName, LastName: c.LastName, Unsubscribed: c.Unsubscribed}
	for _, name := range slices.Sorted(maps.Keys(c.Properties)) {
		form.Properties = append(form.Properties, propertyRow{name, automations.PropertyText(c.Properties[name])})
	}
	form.Was = string(encodeJSON(form))
	return form
}

// typedContact reads the form.
func (v *visit) typedContact() contactForm {
	f := v.PostForm
	form := contactForm{Email: f.Get("email"), FirstName: f.Get("first_name"), LastName: f.Get("last_name"), Unsubscribed: f.Get("unsubscribed") != "", Was: f.Get("was")}
	values := f["value"]
	for i, name := range f["property"] {
		if name = strings.TrimSpace(name); name != "" && i < len(values) {
			form.Properties = append(form.Properties, propertyRow{name, values[i]})
		}
	}
	return form
}

// wire is the form in the fields of the API: only what is different from what it
// showed. What has changed elsewhere since then, such as that the contact has
// unsubscribed, stays.
func (form contactForm) wire(was contactForm) map[string]any {
	in := map[string]any{}
	put := func(name, was, now string) {
		if now != was {
			in[name] = now
		}
	}
	put("email", was.Email, form.Email)
	put("first_name", was.FirstName, form.FirstName)
	put("last_name", was.LastName, form.LastName)
	if form.Unsubscribed != was.Unsubscribed {
		in["unsubscribed"] = form.Unsubscribed
	}
	properties := map[string]any{}
	for _, row := range was.Properties {
		properties[row.Name] = nil // unless it is still there
	}
	for _, row := range form.Properties {
		i := slices.IndexFunc(was.Properties, func(had propertyRow) bool { return had.Name == row.Name })
		switch {
		case i >= 0 && oneLine.Replace(was.Properties[i].Value) == row.Value:
			delete(properties, row.Name)
		case row.Value != "":
			properties[row.Name] = automations.PropertyValue(row.Value)
		}
	}
	if len(properties) > 0 {
		in["properties"] = properties
	}
	return in
}

// oneLine makes a text what browsers make of it in a field of one line.
var oneLine = strings.NewReplacer("\r", "", "\n", "")

// shown is what the form showed first, or would show of the contact.
func (form contactForm) shown(c *automations.Contact) (was contactForm) {
	if json.Unmarshal([]byte(form.Was), &was) != nil {
		return contactFormOf(c)
	}
	return was
}

func (v *visit) newContact() (any, error) { return contactForm{Email: v.FormValue("email")}, nil }

func (v *visit) createContact() (any, error) {
	form := v.typedContact()
	var made struct {
		ID automations.ID `json:"id"`
	}
	err := v.call(http.MethodPost, "/contacts", form.wire(contactForm{}), &made)
	return orAgain(err, redirect{home + "/contacts/" + made.ID.String(), "The contact is stored."}, func() (contactForm, error) { return form, nil })
}

// changeContact does what a button of the page says.
func (v *visit) changeContact() (any, error) {
	page, err := v.contactPage(nil)
	if err != nil {
		return nil, err
	}
	path, at := "/contacts/"+page.ID.String(), redirect{to: home + "/contacts/" + page.ID.String()}
	again := func() (contactPage, error) { return v.contactPage(nil) }
	switch v.PathValue("change") {
	case "edit":
		form := v.typedContact()
		if changes := form.wire(form.shown(page.Contact)); len(changes) > 0 {
			err = v.call(http.MethodPatch, path, changes, nil)
		}
		at.notice = "Saved."
		again = func() (contactPage, error) { return v.contactPage(&form) }
	case "join":
		err = v.call(http.MethodPost, path+"/segments/"+esc(v.PostForm.Get("segment")), nil, nil)
	case "leave":
		err = v.call(http.MethodDelete, path+"/segments/"+esc(v.PostForm.Get("segment")), nil, nil)
	case "topic":
		err = v.call(http.MethodPatch, path+"/topics", []map[string]string{{"id": v.PostForm.Get("topic"), "subscription": v.PostForm.Get("subscription")}}, nil)
	case "suppress":
		err, at.notice = v.call(http.MethodPost, "/suppressions", map[string]string{"email": page.Email}, nil), "No mail goes to "+page.Email+" from now on."
	case "unsuppress":
		err, at.notice = v.call(http.MethodDelete, "/suppressions/"+esc(page.Email), nil, nil), "Mail may go to "+page.Email+" again."
	case "erase":
		at, err = v.eraseContact(page)
	default:
		return nil, storage.ErrNotFound
	}
	return orAgain(err, at, again)
}

func (v *visit) eraseContact(page contactPage) (redirect, error) {
	var erasure struct {
		Finished bool `json:"finished"`
	}
	err := v.call(http.MethodPost, "/contacts/"+page.ID.String()+"/erase", nil, &erasure)
	notice := page.Email + " is erased."
	if !erasure.Finished {
		notice = page.Email + " is being erased; this goes on in the background, also after a restart."
	}
	return redirect{home + "/contacts", notice}, err
}

// exportContact hands out everything that is held about a contact, as the API
// gives it.
func (v *visit) exportContact() (any, error) {
	id := v.pathID("id")
	if err := v.read(func(tx *storage.Tx) error { _, err := tx.Contact(id); return err }); err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(v.Context(), http.MethodGet, "http://dashboard/contacts/"+id.String()+"/export", http.NoBody)
	if err != nil {
		return nil, err
	}
	r.Header.Set(Actor, "user "+v.user.Name)
	v.w.Header().Set("Content-Disposition", fmt.Sprintf(`attachment; filename="contact-%s.json"`, id))
	v.d.cfg.API.ServeHTTP(v.w, r) // it may be long, and is not kept here
	return written{}, nil
}
