package server

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// wireContactProperty is a declared property of contacts.
type wireContactProperty struct {
	Object        string          `json:"object"`
	ID            automations.ID  `json:"id"`
	Key           string          `json:"key"`
	Type          string          `json:"type"`
	FallbackValue json.RawMessage `json:"fallback_value"`
	CreatedAt     wireTime        `json:"created_at"`
}

func renderContactProperty(p *automations.ContactProperty) wireContactProperty {
	return wireContactProperty{"contact_property", p.ID, p.Key, p.Type, objectOr(p.Fallback, "null"), wireTime(p.CreatedAt)}
}

func (s *Server) createContactProperty(r *request) (answer, error) {
	f, err := r.fields()
	if err != nil {
		return answer{}, err
	}
	var p automations.Problems
	property := automations.ReadContactProperty(f, &p)
	property.ID, property.CreatedAt = uuid.Must(uuid.NewV7()), r.now
	if err := p.Err(); err != nil {
		return answer{}, err
	}
	err = r.update(func(tx *storage.Tx) error { return tx.SaveContactProperty(property) })
	if errors.Is(err, storage.ErrTaken) {
		return answer{}, automations.Errorf(automations.KindConflict, "contact_property_exists", "a property %s is declared; change that one", property.Key)
	}
	if err != nil {
		return answer{}, err
	}
	return created(renderContactProperty(property))
}

func (s *Server) listContactProperties(r *request) (answer, error) {
	return respondList(r, (*storage.Tx).ContactProperties, renderContactProperty)
}

// contactProperty finds the declared property in the path, by id or key.
func contactProperty(tx *storage.Tx, r *request) (p *automations.ContactProperty, err error) {
	ref := r.PathValue("id")
	if id, ok := automations.ParseID(ref); ok {
		p, err = tx.ContactProperty(id)
	} else {
		p, err = tx.ContactPropertyByKey(ref)
	}
	return p, orNotFound(err, "contact_property", ref)
}

func (s *Server) getContactProperty(r *request) (answer, error) {
	return respondOne(r, func(tx *storage.Tx) (*automations.ContactProperty, error) { return contactProperty(tx, r) }, renderContactProperty)
}

// updateContactProperty changes the fallback; key and type stay.
func (s *Server) updateContactProperty(r *request) (answer, error) {
	f, err := r.fields()
	if err != nil {
		return answer{}, err
	}
	var property *automations.ContactProperty
	err = r.update(func(tx *storage.Tx) (err error) {
		if property, err = contactProperty(tx, r); err != nil {
			return err
		}
		var p automations.Problems
		f.Unknown(&p, "id", "fallback_value", "fallbackValue")
		if !changes(f, nil, "fallback_value", "fallbackValue") {
			p.Add("", "fallback_value", "nothing to change: send fallback_value, or null for none")
		}
		property.ReadFallback(f, &p)
		if err := p.Err(); err != nil {
			return err
		}
		return tx.SaveContactProperty(property)
	})
	if err != nil {
		return answer{}, err
	}
	return ok(renderContactProperty(property))
}

func (s *Server) deleteContactProperty(r *request) (answer, error) {
	var id automations.ID
	err := r.update(func(tx *storage.Tx) error {
		property, err := contactProperty(tx, r)
		if err != nil {
			return err
		}
		id = property.ID
		return tx.DeleteContactProperty(id)
	})
	if err != nil {
		return answer{}, err
	}
	return ok(deleted{"contact_property", id, true})
}

// checkProperties holds the properties that were sent against their
// declarations. Those that a contact had before its declaration stay.
func checkProperties(tx *storage.Tx, f automations.Fields) error {
	sent, err := automations.ObjectFields(f.Raw("properties"))
	if err != nil {
		return nil // none
	}
	var p automations.Problems
	for _, key := range slices.Sorted(maps.Keys(sent)) {
		declared, err := tx.ContactPropertyByKey(key)
		switch {
		case errors.Is(err, storage.ErrNotFound):
		case err != nil:
			return err
		case sent.Has(key):
			declared.Check(&p, "properties."+key, sent[key])
		}
	}
	return p.Err()
}
