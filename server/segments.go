package server

import (
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

// readName reads a required name.
func readName(f automations.Fields, p *automations.Problems) string {
	name := f.String(p, "name")
	if name == "" {
		p.Missing("", "name")
	}
	automations.CheckText(p, "name", name, maxName)
	return name
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
	if err := s.db.Update(func(tx *storage.Tx) error { return tx.SaveSegment(segment) }); err != nil {
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

func (s *Server) deleteSegment(r *request) (answer, error) {
	id, err := r.pathID("id", "segment")
	if err != nil {
		return answer{}, err
	}
	err = s.db.Update(func(tx *storage.Tx) error { return tx.DeleteSegment(id) })
	if err != nil {
		return answer{}, orNotFound(err, "segment", id.String())
	}
	return ok(deleted{"segment", id, true})
}
