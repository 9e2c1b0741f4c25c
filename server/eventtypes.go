package server

import (
	"encoding/json"
	"errors"

	"github.com/google/uuid"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/schema"
	"github.com/opensend/opensend/storage"
)

// wireEventType is an event type.
type wireEventType struct {
	Object    string          `json:"object"`
	ID        automations.ID  `json:"id"`
	Name      string          `json:"name"`
	Schema    json.RawMessage `json:"schema"`
	CreatedAt wireTime        `json:"created_at"`
	UpdatedAt wireTime        `json:"updated_at"`
}

func renderEventType(r *request) func(*automations.EventType) wireEventType {
	return func(t *automations.EventType) wireEventType {
		return wireEventType{
			Object: "event", ID: t.ID, Name: t.Name, Schema: eventTypeSchema(r, t),
			CreatedAt: wireTime(t.CreatedAt), UpdatedAt: wireTime(t.UpdatedAt),
		}
	}
}

func (s *Server) createEventType(r *request) (answer, error) {
	f, err := r.fields()
	if err != nil {
		return answer{}, err
	}
	t := &automations.EventType{ID: uuid.Must(uuid.NewV7()), CreatedAt: r.now}
	var p automations.Problems
	f.Unknown(&p, "name", "schema")
	if !f.Has("name") {
		p.Missing("", "name")
	}
	readEventType(f, &p, t)
	if err := p.Err(); err != nil {
		return answer{}, err
	}
	if err := s.saveEventType(r, t); err != nil {
		return answer{}, err
	}
	return created(renderEventType(r)(t))
}

// readEventType reads the fields that were sent into t.
func readEventType(f automations.Fields, p *automations.Problems, t *automations.EventType) {
	if f.Has("name") {
		t.Name = f.String(p, "name")
		p.Include("name", automations.CheckEventName(t.Name, maxEventName))
		if t.Name == "send" {
			p.Add("", "name", "send is a path of this API; choose another name")
		}
	}
	if !f.Sent("schema") {
		return
	}
	t.Schema = nil
	if raw := f.Raw("schema"); raw != nil {
		t.Schema = automations.CompactJSON(raw)
		_, err := schema.Compile(t.Schema)
		p.Include("", err)
	}
}

func (s *Server) saveEventType(r *request, t *automations.EventType) error {
	t.UpdatedAt = r.now
	err := s.db.Update(func(tx *storage.Tx) error { return tx.SaveEventType(t) })
	if errors.Is(err, storage.ErrTaken) {
		return automations.Errorf(automations.KindConflict, "event_name_taken", "an event type %.80q exists; change that one or choose another name", t.Name)
	}
	return err
}

func (s *Server) listEventTypes(r *request) (answer, error) {
	page, err := r.page()
	if err != nil {
		return answer{}, err
	}
	var rows []*automations.EventType
	var more bool
	err = s.db.View(func(tx *storage.Tx) error {
		rows, more, err = tx.EventTypes(page)
		return err
	})
	if err != nil {
		return answer{}, err
	}
	return ok(listOf(rows, more, renderEventType(r)))
}

// findEventType finds an event type by id or name.
func (s *Server) findEventType(ref string) (t *automations.EventType, err error) {
	err = s.db.View(func(tx *storage.Tx) error {
		if id, ok := automations.ParseID(ref); ok {
			if t, err = tx.EventType(id); !errors.Is(err, storage.ErrNotFound) {
				return err
			}
		}
		t, err = tx.EventTypeByName(ref)
		return err
	})
	return t, orNotFound(err, "event", ref)
}

func (s *Server) getEventType(r *request) (answer, error) {
	t, err := s.findEventType(r.PathValue("id"))
	if err != nil {
		return answer{}, err
	}
	return ok(renderEventType(r)(t))
}

func (s *Server) updateEventType(r *request) (answer, error) {
	t, err := s.findEventType(r.PathValue("id"))
	if err != nil {
		return answer{}, err
	}
	f, err := r.fields()
	if err != nil {
		return answer{}, err
	}
	var p automations.Problems
	f.Unknown(&p, "id", "name", "schema")
	if !f.Has("name") && !f.Sent("schema") {
		p.Add("", "name", "nothing to change: send name or schema")
	}
	readEventType(f, &p, t)
	if err := p.Err(); err != nil {
		return answer{}, err
	}
	if err := s.saveEventType(r, t); err != nil {
		return answer{}, err
	}
	return ok(renderEventType(r)(t))
}

func (s *Server) deleteEventType(r *request) (answer, error) {
	return s.removeEventType(r.PathValue("id"))
}

// deleteEventTypeByQuery is OpenSend's older DELETE /events?id=.
func (s *Server) deleteEventTypeByQuery(r *request) (answer, error) {
	ref := r.URL.Query().Get("id")
	if ref == "" {
		return answer{}, automations.Errorf(automations.KindMissing, "", "id is required: DELETE /events?id=ID")
	}
	return s.removeEventType(ref)
}

func (s *Server) removeEventType(ref string) (answer, error) {
	t, err := s.findEventType(ref)
	if err != nil {
		return answer{}, err
	}
	err = s.db.Update(func(tx *storage.Tx) error { return tx.DeleteEventType(t.ID) })
	if err != nil {
		return answer{}, orNotFound(err, "event", ref)
	}
	return ok(deleted{"event", t.ID, true})
}
