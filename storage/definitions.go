package storage

import (
	"errors"

	"github.com/opensend/opensend/automations"
)

// EventType reads one event type.
func (tx *Tx) EventType(id automations.ID) (*automations.EventType, error) {
	return record[automations.EventType](tx, eventTypesBucket, id[:])
}

// EventTypeByName reads the event type with exactly that name.
func (tx *Tx) EventTypeByName(name string) (*automations.EventType, error) {
	id, err := tx.idAt(eventTypeNamesBucket, nameHash(name))
	if err != nil {
		return nil, err
	}
	return tx.EventType(id)
}

// EventTypes lists event types.
func (tx *Tx) EventTypes(page Page) ([]*automations.EventType, Rest, error) {
	return list[automations.EventType](tx, eventTypesBucket, nil, page, nil)
}

// SaveEventType stores a new or changed event type; ErrTaken when another has
// its name.
func (tx *Tx) SaveEventType(t *automations.EventType) error {
	if err := tx.claimName(eventTypeNamesBucket, nameHash(t.Name), t.ID); err != nil {
		return err
	}
	if was, err := tx.EventType(t.ID); err == nil && was.Name != t.Name {
		if err := tx.delete(eventTypeNamesBucket, nameHash(was.Name)); err != nil {
			return err
		}
	}
	tx.definitionsChanged()
	return tx.putRecord(eventTypesBucket, t.ID[:], t)
}

// DeleteEventType removes an event type; ErrNotFound when there is none.
func (tx *Tx) DeleteEventType(id automations.ID) error {
	t, err := tx.EventType(id)
	if err != nil {
		return err
	}
	tx.definitionsChanged()
	return errors.Join(tx.delete(eventTypeNamesBucket, nameHash(t.Name)), tx.delete(eventTypesBucket, id[:]))
}

// claimName points a unique name at id; ErrTaken when it points elsewhere.
func (tx *Tx) claimName(b bucket, key []byte, id automations.ID) error {
	holder, err := tx.idAt(b, key)
	switch {
	case errors.Is(err, ErrNotFound):
		return tx.put(b, key, id[:])
	case err != nil:
		return err
	case holder != id:
		return ErrTaken
	}
	return nil
}

// Workflow reads the head of a workflow.
func (tx *Tx) Workflow(id automations.ID) (*automations.Workflow, error) {
	return record[automations.Workflow](tx, workflowsBucket, id[:])
}

// Workflows lists workflow heads; keep, when not nil, filters.
func (tx *Tx) Workflows(page Page, keep func(*automations.Workflow) bool) ([]*automations.Workflow, Rest, error) {
	return list(tx, workflowsBucket, nil, page, keep)
}

// AllWorkflows reads every workflow head, oldest first.
func (tx *Tx) AllWorkflows() (all []*automations.Workflow, err error) {
	tx.EachWorkflow(func(_ automations.ID, w *automations.Workflow, damaged error) {
		all, err = append(all, w), errors.Join(err, damaged)
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// EachWorkflow shows every workflow head, oldest first; of one that is damaged, why.
func (tx *Tx) EachWorkflow(show func(id automations.ID, w *automations.Workflow, damaged error)) {
	tx.each(workflowsBucket, nil, func(key []byte) bool {
		id := automations.ID(key)
		w, err := tx.Workflow(id)
		show(id, w, err)
		return true
	})
}

// SaveWorkflow stores a new or changed workflow head.
func (tx *Tx) SaveWorkflow(w *automations.Workflow) error {
	tx.definitionsChanged()
	return tx.putRecord(workflowsBucket, w.ID[:], w)
}

// DeleteWorkflow removes a workflow's head; ErrNotFound when there is none. Its
// revisions stay, so that runs in flight can still be read and cancelled.
func (tx *Tx) DeleteWorkflow(id automations.ID) error {
	if _, err := tx.Workflow(id); err != nil {
		return err
	}
	tx.definitionsChanged()
	return tx.delete(workflowsBucket, id[:])
}

// Revision reads one revision of a workflow.
func (tx *Tx) Revision(workflow automations.ID, number int) (*automations.Revision, error) {
	return record[automations.Revision](tx, revisionsBucket, tuple(workflow, number))
}

// AddRevision stores a new revision; revisions are never changed.
func (tx *Tx) AddRevision(r *automations.Revision) error {
	key := tuple(r.WorkflowID, r.Number)
	if tx.has(revisionsBucket, key) {
		return ErrTaken
	}
	return tx.putRecord(revisionsBucket, key, r)
}

// Template reads one template.
func (tx *Tx) Template(id automations.ID) (*automations.Template, error) {
	return record[automations.Template](tx, templatesBucket, id[:])
}

// TemplateByRef reads the template with an id, or with exactly that alias.
func (tx *Tx) TemplateByRef(ref string) (*automations.Template, error) {
	id, ok := automations.ParseID(ref)
	if !ok {
		var err error
		if id, err = tx.idAt(templateAliasesBucket, nameHash(ref)); err != nil {
			return nil, err
		}
	}
	return tx.Template(id)
}

// Templates lists templates.
func (tx *Tx) Templates(page Page) ([]*automations.Template, Rest, error) {
	return list[automations.Template](tx, templatesBucket, nil, page, nil)
}

// SaveTemplate stores a new or changed template; ErrTaken when another has its
// alias.
func (tx *Tx) SaveTemplate(t *automations.Template) error {
	was, err := tx.Template(t.ID)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if t.Alias != "" {
		if err := tx.claimName(templateAliasesBucket, nameHash(t.Alias), t.ID); err != nil {
			return err
		}
	}
	if was != nil && was.Alias != "" && was.Alias != t.Alias {
		if err := tx.delete(templateAliasesBucket, nameHash(was.Alias)); err != nil {
			return err
		}
	}
	tx.definitionsChanged()
	return tx.putRecord(templatesBucket, t.ID[:], t)
}

// DeleteTemplate removes a template; ErrNotFound when there is none.
func (tx *Tx) DeleteTemplate(id automations.ID) error {
	t, err := tx.Template(id)
	if err != nil {
		return err
	}
	if t.Alias != "" {
		if err := tx.delete(templateAliasesBucket, nameHash(t.Alias)); err != nil {
			return err
		}
	}
	tx.definitionsChanged()
	return tx.delete(templatesBucket, id[:])
}
