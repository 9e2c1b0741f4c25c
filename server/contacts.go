package server

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// maxSegmentIDs is how many segments one contact can be put into by one request.
const maxSegmentIDs = 1000

// wireContact is a contact.
type wireContact struct {
	Object       string           `json:"object"`
	ID           automations.ID   `json:"id"`
	Email        string           `json:"email"`
	FirstName    *string          `json:"first_name"`
	LastName     *string          `json:"last_name"`
	Unsubscribed bool             `json:"unsubscribed"`
	Properties   any              `json:"properties"`
	Segments     []automations.ID `json:"segments"`
	Suppression  *wireSuppression `json:"suppression"` // why its address gets no mail; null when it does
	CreatedAt    wireTime         `json:"created_at"`
	UpdatedAt    wireTime         `json:"updated_at"`
}

func renderContact(tx *storage.Tx, r *request, c *automations.Contact) (wireContact, error) {
	w := wireContact{
		Object: "contact", ID: c.ID, Email: c.Email, FirstName: orNull(c.FirstName), LastName: orNull(c.LastName),
		Unsubscribed: c.Unsubscribed, Properties: contactProperties(r, c), Segments: orEmpty(tx.LiveSegments(c)),
		CreatedAt: wireTime(c.CreatedAt), UpdatedAt: wireTime(c.UpdatedAt),
	}
	var err error
	w.Suppression, err = suppressionOrNull(tx, c.Email)
	return w, err
}

// respondContacts answers with the page of contacts that the request asks for.
func respondContacts(r *request, read func(*storage.Tx, storage.Page) ([]*automations.Contact, storage.Rest, error)) (answer, error) {
	return respondList(r, func(tx *storage.Tx, page storage.Page) ([]wireContact, storage.Rest, error) {
		contacts, rest, err := read(tx, page)
		rows := make([]wireContact, len(contacts))
		for i := 0; i < len(contacts) && err == nil; i++ {
			rows[i], err = renderContact(tx, r, contacts[i])
		}
		return rows, rest, err
	}, func(w wireContact) wireContact { return w })
}

// readContact reads the fields that were sent into c; null clears names and
// removes properties.
func readContact(f automations.Fields, p *automations.Problems, c *automations.Contact) {
	if f.Has("email") {
		email, err := automations.NormalizeEmail(f.String(p, "email"))
		p.Include("email", err)
		c.Email = email
	}
	for _, name := range []struct {
		into *string
		keys []string
	}{{&c.FirstName, []string{"first_name", "firstName"}}, {&c.LastName, []string{"last_name", "lastName"}}} {
		if f.Sent(name.keys[0]) || f.Sent(name.keys[1]) {
			*name.into = strings.TrimSpace(f.String(p, name.keys...))
		}
	}
	if b := f.Bool(p, "unsubscribed"); b != nil {
		c.Unsubscribed = *b
	}
	if raw := f.Object(p, "properties"); raw != nil {
		properties, err := automations.ObjectFields(raw)
		p.Include("properties", err)
		for name, value := range properties {
			c.SetProperty(name, value)
		}
	}
	c.Check(p)
}

func (s *Server) createContact(r *request) (answer, error) {
	f, err := r.fields()
	if err != nil {
		return answer{}, err
	}
	c := &automations.Contact{ID: uuid.Must(uuid.NewV7()), CreatedAt: r.now, UpdatedAt: r.now}
	var p automations.Problems
	f.Unknown(&p, "email", "first_name", "firstName", "last_name", "lastName", "unsubscribed", "properties", "segments", "topics", "audience_id")
	if !f.Has("email") {
		p.Missing("", "email")
	}
	readContact(f, &p, c)
	c.Segments = readSegmentIDs(r, f, &p)
	choices := readTopicChoices(&p, f.Array(&p, "topics"))
	if err := p.Err(); err != nil {
		return answer{}, err
	}
	var w wireContact
	err = r.intake(func(tx *storage.Tx) (err error) {
		for _, id := range c.Segments {
			if _, err := tx.Segment(id); err != nil {
				return orNotFound(err, "segment", id.String())
			}
		}
		if err := checkProperties(tx, f); err != nil {
			return err
		}
		if err := chooseTopics(tx, c, choices); err != nil {
			return err
		}
		if err := tx.CreateContact(c); err != nil {
			return err
		}
		w, err = renderContact(tx, r, c)
		return err
	})
	if err != nil {
		return answer{}, addressTaken(err, c)
	}
	return created(w)
}

// readSegmentIDs reads segments, as ids or as objects with an id, each once, and
// the one that Resend's older clients name in the path as an audience.
func readSegmentIDs(r *request, f automations.Fields, p *automations.Problems) (ids []automations.ID) {
	if text := r.PathValue("segment"); text != "" {
		id, ok := automations.ParseID(text)
		if !ok {
			p.Include("", notFound("segment", text))
		}
		ids = append(ids, id)
	}
	var items []json.RawMessage
	if raw := f.Array(p, "segments"); raw == nil || json.Unmarshal(raw, &items) != nil {
		return ids
	}
	if len(items) > maxSegmentIDs {
		p.Add("", "segments", "segments has %d ids; at most %d are taken at once", len(items), maxSegmentIDs)
		return nil
	}
	for _, item := range items {
		var text string
		if own, err := automations.ObjectFields(item); err == nil {
			text = own.String(p, "id")
		} else if json.Unmarshal(item, &text) != nil {
			text = ""
		}
		id, ok := automations.ParseID(text)
		if !ok {
			p.Add("", "segments", "segments must be a list of segment ids")
			return nil
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

func addressTaken(err error, c *automations.Contact) error {
	if errors.Is(err, storage.ErrTaken) {
		return automations.Errorf(automations.KindConflict, "contact_exists", "a contact with the address %s exists; update that one", c.Email)
	}
	return err
}

func (s *Server) listContacts(r *request) (answer, error) {
	var p automations.Problems
	query := r.URL.Query()
	filter := storage.ContactFilter{Search: query.Get("search")}
	if status := query.Get("status"); status != "" {
		oneOf(&p, "status", status, []string{"subscribed", "unsubscribed"})
		unsubscribed := status == "unsubscribed"
		filter.Unsubscribed = &unsubscribed
	}
	if text := query.Get("segment_id"); text != "" {
		var ok bool
		if filter.SegmentID, ok = automations.ParseID(text); !ok {
			p.Add("", "segment_id", "segment_id must be the id of a segment")
		}
	}
	if err := p.Err(); err != nil {
		return answer{}, err
	}
	return respondContacts(r, func(tx *storage.Tx, page storage.Page) ([]*automations.Contact, storage.Rest, error) {
		return tx.Contacts(page, filter)
	})
}

// contactByRef finds a contact by id, or by address in any case.
func contactByRef(tx *storage.Tx, ref string) (*automations.Contact, error) {
	c, err := tx.ContactByRef(ref)
	return c, orNotFound(err, "contact", ref)
}

// pathContact finds the contact that the path names. Under an audience it must
// be in there.
func pathContact(tx *storage.Tx, r *request) (*automations.Contact, error) {
	ref, audience := r.PathValue("id"), r.PathValue("segment")
	if audience == "" {
		return contactByRef(tx, ref)
	}
	id, err := r.pathID("segment", "segment")
	if err != nil {
		return nil, err
	}
	if _, err := tx.Segment(id); err != nil {
		return nil, orNotFound(err, "segment", audience)
	}
	c, err := contactByRef(tx, ref)
	if err == nil && !slices.Contains(c.Segments, id) {
		return nil, notFound("contact", ref)
	}
	return c, err
}

func (s *Server) getContact(r *request) (answer, error) {
	return respondOne(r, func(tx *storage.Tx) (wireContact, error) {
		c, err := pathContact(tx, r)
		if err != nil {
			return wireContact{}, err
		}
		return renderContact(tx, r, c)
	}, func(w wireContact) wireContact { return w })
}

func (s *Server) updateContact(r *request) (answer, error) {
	f, err := r.fields()
	if err != nil {
		return answer{}, err
	}
	known := []string{"id", "audience_id", "email", "unsubscribed", "properties"}
	names := []string{"first_name", "firstName", "last_name", "lastName"}
	var c *automations.Contact
	var w wireContact
	err = r.update(func(tx *storage.Tx) (err error) {
		if c, err = pathContact(tx, r); err != nil {
			return err
		}
		var p automations.Problems
		f.Unknown(&p, append(known, names...)...)
		if !changes(f, known[2:], names...) {
			p.Add("", "", "nothing to change: send at least one of email, first_name, last_name, unsubscribed and properties")
		}
		readContact(f, &p, c)
		if err := p.Err(); err != nil {
			return err
		}
		if err := checkProperties(tx, f); err != nil {
			return err
		}
		c.UpdatedAt = r.now
		if err := tx.UpdateContact(c); err != nil {
			return err
		}
		w, err = renderContact(tx, r, c)
		return err
	})
	if err != nil {
		return answer{}, addressTaken(err, c)
	}
	return ok(w)
}

// changes reports whether any of the fields is there to change something: those
// of names by a value, those of nullable by a value or null.
func changes(f automations.Fields, names []string, nullable ...string) bool {
	return slices.ContainsFunc(names, f.Has) || slices.ContainsFunc(nullable, f.Sent)
}

// deletedContact carries the id twice: OpenSend's clients read id, Resend's
// contact.
type deletedContact struct {
	deleted
	Contact automations.ID `json:"contact"`
}

func (s *Server) deleteContact(r *request) (answer, error) {
	var id automations.ID
	err := s.db.View(func(tx *storage.Tx) error {
		c, err := pathContact(tx, r)
		if err == nil {
			id = c.ID
		}
		return err
	})
	if err == nil {
		err = s.engine.DeleteContact(id, r.note)
	}
	if err != nil {
		return answer{}, orNotFound(err, "contact", r.PathValue("id"))
	}
	return ok(deletedContact{deleted{"contact", id, true}, id})
}
