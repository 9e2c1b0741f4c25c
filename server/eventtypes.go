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
	t := &automations.EventType{ID: uuid.Must(uuid.NewV7()), CreatedAt: r.now, UpdatedAt: r.now}
	var p automations.Problems
	f.Unknown(&p, "name", "schema")
	if !f.Has("name") {
		p.Missing("", "name")
	}
	readEventType(f, &p, t)
	if err := p.Err(); err != nil {
		return answer{}, err
	}
	if err := r.update(func(tx *storage.Tx) error { return tx.SaveEventType(t) }); err != nil {
		return answer{}, eventNameTaken(err, t)
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
	if raw := f.Raw("schema"); raw != nil {
		t.Schema = automations.CompactJSON(raw)
		_, err := schema.Compile(t.Schema)
		if err == nil {
			err = schema.CheckFlat(t.Schema)
		}
		p.Include("", err)
	}
}

func eventNameTaken(err error, t *automations.EventType) error {
	if errors.Is(err, storage.ErrTaken) {
		return automations.Errorf(automations.KindConflict, "event_name_taken", "an event type %.80q exists; change that one or choose another name", t.Name)
	}
	return err
}

func (s *Server) listEventTypes(r *request) (answer, error) {
	return respondList(r, (*storage.Tx).EventTypes, renderEventType(r))
}

// eventTypeByRef finds an event type by id or name.
func eventTypeByRef(tx *storage.Tx, ref string) (*automations.EventType, error) {
	if id, ok := automations.ParseID(ref); ok {
		if t, err := tx.EventType(id); !errors.Is(err, storage.ErrNotFound) {
			return t, err
		}
	}
	t, err := tx.EventTypeByName(ref)
	return t, orNotFound(err, "event", ref)
}

func (s *Server) getEventType(r *request) (answer, error) {
	return respondOne(r, func(tx *storage.Tx) (*automations.EventType, error) { return eventTypeByRef(tx, r.PathValue("id")) }, renderEventType(r))
}

func (s *Server) updateEventType(r *request) (answer, error) {
	f, err := r.fields()
	if err != nil {
		return answer{}, err
	}
	var p automations.Problems
	f.Unknown(&p, "id", "name", "schema")
	if !f.Has("name") && !f.Sent("schema") {
		p.Add("", "name", "nothing to change: send name or schema")
	}
	var sent automations.EventType
	var t *automations.EventType
	readEventType(f, &p, &sent)
	err = r.update(func(tx *storage.Tx) (err error) {
		if t, err = eventTypeByRef(tx, r.PathValue("id")); err != nil {
			return err
		}
		if err := p.Err(); err != nil {
			return err
		}
		if f.Has("name") {
			t.Name = sent.Name
		}
		if f.Sent("schema") {
			t.Schema = sent.Schema
		}
		t.UpdatedAt = r.now
		return tx.SaveEventType(t)
	})
	if err != nil {
		return answer{}, eventNameTaken(err, t)
	}
	return ok(renderEventType(r)(t))
}

func (s *Server) deleteEventType(r *request) (answer, error) {
	return s.removeEventType(r, r.PathValue("id"))
}

// deleteEventTypeByQuery is OpenSend's older DELETE /events?id=.
func (s *Server) deleteEventTypeByQuery(r *request) (answer, error) {
	ref := r.URL.Query().Get("id")
	if ref == "" {
		return answer{}, automations.Errorf(automations.KindMissing, "", "id is required: DELETE /events?id=ID")
	}
	return s.removeEventType(r, ref)
}

func (s *Server) removeEventType(r *request, ref string) (answer, error) {
	var id automations.ID
	err := r.update(func(tx *storage.Tx) error {
		t, err := eventTypeByRef(tx, ref)
		if err != nil {
			return err
		}
		id = t.ID
		return tx.DeleteEventType(id)
	})
	if err != nil {
		return answer{}, err
	}
	return ok(deleted{"event", id, true})
}
