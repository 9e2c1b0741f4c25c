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

// note writes the change that a request has made into the log, in an update of
// its own once the change is durable: a crash between the two loses the line,
// not the change. A file that takes no writes does not undo the change either.
func (e *endpoint) note(r *request, status int) {
	c := &automations.Change{
		ID: uuid.Must(uuid.NewV7()), At: r.now, By: commandActor, Method: e.route.method, Route: e.route.path, Path: automations.ChangePath(r.URL.Path), Status: status,
	}
	actor := r.Header.Get(ActorHeader)
	switch {
	case r.key != nil:
		c.By, c.KeyID = "key "+r.key.Name, r.key.ID
	case actor != "":
		c.By = actor
	}
	if err := e.server.db.Update(func(tx *storage.Tx) error { return tx.AddChange(c) }); err != nil {
		e.server.log.Warn("a change is missing in the log of changes", "by", c.By, "method", c.Method, "path", c.Path, "error", err)
	}
}
