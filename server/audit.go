package server

import (
	"net/http"

	"github.com/google/uuid"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// ActorHeader is the request header by which a trusted caller says for whom it
// acts, such as "user Ada". From others it says nothing.
const ActorHeader = "Opensend-Actor"

// commandActor is who acts at the control socket, where nothing else is said.
const commandActor = "command"

// audited reports whether what a route does belongs into the log of changes:
// everything that changes something but what applications do all day, which has
// logs of its own.
func (rt route) audited() bool {
	switch {
	case rt.method == http.MethodGet, rt.access == accessEvents, rt.access == accessSending, rt.access == accessProvider, rt.access == accessNone:
		return false
	case rt.path == "/templates/{id}/preview":
		return false
	}
	return true
}

// changeBy is the line of the log that a request has, should it change something.
func (e *endpoint) changeBy(r *request) *automations.Change {
	c := &automations.Change{ID: uuid.Must(uuid.NewV7()), At: r.now, By: commandActor, Method: e.route.method, Route: e.route.path, Path: automations.ChangePath(r.URL.Path)}
	actor := r.Header.Get(ActorHeader)
	switch {
	case r.key != nil:
		c.By, c.KeyID = "key "+r.key.Name, r.key.ID
	case actor != "":
		c.By = actor
	}
	return c
}

// note writes the request's line into the log of changes, in the transaction of
// what it changes: neither is ever there without the other. Every further
// transaction of a request that needs several writes the same line.
func (r *request) note(tx *storage.Tx) error {
	if r.change == nil {
		return nil
	}
	return tx.AddChange(r.change)
}

// update is DB.Update for what the request changes.
func (r *request) update(change func(*storage.Tx) error) error {
	return r.server.db.Update(r.noted(change))
}

// intake is DB.Intake for what the request brings in.
func (r *request) intake(change func(*storage.Tx) error) error {
	return r.server.db.Intake(r.noted(change))
}

func (r *request) noted(change func(*storage.Tx) error) func(*storage.Tx) error {
	return func(tx *storage.Tx) error {
		if err := change(tx); err != nil {
			return err
		}
		return r.note(tx)
	}
}
