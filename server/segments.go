package server

import (
	"slices"

	"github.com/google/uuid"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

const maxName = 255 // of segments, templates, automations and keys

// wireSegment is a segment.
type wireSegment struct {
	Object    string         `json:"object"`
	ID        automations.ID `json:"id"`
	Name      string         `json:"name"`
	CreatedAt wireTime       `json:"created_at"`
}

func renderSegment(s *automations.Segment) wireSegment {
	return wireSegment{"segment", s.ID, s.Name, wireTime(s.CreatedAt)}
}

// wireMembership is the answer to adding a contact to a segment or taking it
// out: Resend's clients read the segment's id from id.
type wireMembership struct {
	Object    string         `json:"object"`
	ID        automations.ID `json:"id"`
	SegmentID automations.ID `json:"segment_id"`
	ContactID automations.ID `json:"contact_id"`
	Deleted   bool           `json:"deleted,omitempty"`
}

// readName reads a required name.
func readName(f automations.Fields, p *automations.Problems) string {
	name := f.String(p, "name")
	if name == "" {
		p.Missing("", "name")
	}
	automations.CheckText(p, "name", name, maxName)
	return name
}

// copyName is the name of a copy.
func copyName(name string) string {
	const suffix = " (copy)"
	if runes := []rune(name); len(runes) > maxName-len(suffix) {
		name = string(runes[:maxName-len(suffix)])
	}
	return name + suffix
}

func (s *Server) createSegment(r *request) (answer, error) {
	f, err := r.fields()
	if err != nil {
		return answer{}, err
	}
	var p automations.Problems
	f.Unknown(&p, "name")
	segment := &automations.Segment{ID: uuid.Must(uuid.NewV7()), Name: readName(f, &p), CreatedAt: r.now}
	if err := p.Err(); err != nil {
		return answer{}, err
	}
	if err := r.update(func(tx *storage.Tx) error { return tx.SaveSegment(segment) }); err != nil {
		return answer{}, err
	}
	return created(renderSegment(segment))
}

func (s *Server) listSegments(r *request) (answer, error) {
	return respondList(r, (*storage.Tx).Segments, renderSegment)
}

func (s *Server) getSegment(r *request) (answer, error) {
	id, err := r.pathID("id", "segment")
	if err != nil {
		return answer{}, err
	}
	return respondOne(r, func(tx *storage.Tx) (*automations.Segment, error) {
		segment, err := tx.Segment(id)
		return segment, orNotFound(err, "segment", id.String())
	}, renderSegment)
}

// updateSegment renames a segment.
func (s *Server) updateSegment(r *request) (answer, error) {
	id, err := r.pathID("id", "segment")
	if err != nil {
		return answer{}, err
	}
	f, err := r.fields()
	if err != nil {
		return answer{}, err
	}
	var p automations.Problems
	f.Unknown(&p, "id", "name")
	name := readName(f, &p)
	if err := p.Err(); err != nil {
		return answer{}, err
	}
	var segment *automations.Segment
	err = r.update(func(tx *storage.Tx) (err error) {
		if segment, err = tx.Segment(id); err != nil {
			return orNotFound(err, "segment", id.String())
		}
		segment.Name = name
		return tx.SaveSegment(segment)
	})
	if err != nil {
		return answer{}, err
	}
	return ok(renderSegment(segment))
}

// listSegmentContacts lists the contacts of the segment in the path.
func (s *Server) listSegmentContacts(r *request) (answer, error) {
	id, err := r.pathID("segment", "segment")
	if err != nil {
		return answer{}, err
	}
	return respondContacts(r, func(tx *storage.Tx, page storage.Page) ([]*automations.Contact, storage.Rest, error) {
		if _, err := tx.Segment(id); err != nil {
			return nil, storage.Rest{}, orNotFound(err, "segment", id.String())
		}
		return tx.Contacts(page, storage.ContactFilter{SegmentID: id})
	})
}

func (s *Server) listContactSegments(r *request) (answer, error) {
	return respondList(r, func(tx *storage.Tx, page storage.Page) ([]*automations.Segment, storage.Rest, error) {
		c, err := contactByRef(tx, r.PathValue("id"))
		if err != nil {
			return nil, storage.Rest{}, err
		}
		return tx.SegmentsOf(c, page)
	}, renderSegment)
}

func (s *Server) addContactToSegment(r *request) (answer, error) {
	return s.changeMembership(r, func(c *automations.Contact, id automations.ID) {
		if !slices.Contains(c.Segments, id) {
			c.Segments = append(c.Segments, id)
		}
	}, false)
}

func (s *Server) removeContactFromSegment(r *request) (answer, error) {
	return s.changeMembership(r, func(c *automations.Contact, id automations.ID) {
		c.Segments = slices.DeleteFunc(c.Segments, func(have automations.ID) bool { return have == id })
	}, true)
}

func (s *Server) changeMembership(r *request, change func(*automations.Contact, automations.ID), removed bool) (answer, error) {
	id, err := r.pathID("segment", "segment")
	if err != nil {
		return answer{}, err
	}
	result := wireMembership{Object: "contact_segment", ID: id, SegmentID: id, Deleted: removed}
	err = r.update(func(tx *storage.Tx) error {
		if _, err := tx.Segment(id); err != nil {
			return orNotFound(err, "segment", id.String())
		}
		c, err := contactByRef(tx, r.PathValue("id"))
		if err != nil {
			return err
		}
		result.ContactID = c.ID
		change(c, id)
		c.UpdatedAt = r.now
		return tx.UpdateContact(c)
	})
	if err != nil {
		return answer{}, err
	}
	return ok(result)
}

func (s *Server) deleteSegment(r *request) (answer, error) {
	id, err := r.pathID("id", "segment")
	if err != nil {
		return answer{}, err
	}
	if err := s.engine.DeleteSegment(id, r.note); err != nil {
		return answer{}, orNotFound(err, "segment", id.String())
	}
	return ok(deleted{"segment", id, true})
}
