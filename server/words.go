package server

import (
	"encoding/json"
	"net/http"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/schema"
)

// Where OpenSend's and Resend's contracts contradict each other, Resend's own
// clients (User-Agent "resend-…", at paths without /api) get Resend's word and
// everybody else OpenSend's. These are all such points; nothing else depends
// on the client.

// runStatus is a run's status: Resend's clients know no queued, waiting or
// skipped run.
func runStatus(r *request, s automations.RunStatus) string {
	switch {
	case !r.resend:
	case !s.Final():
		s = automations.RunRunning
	case s == automations.RunSkipped:
		s = automations.RunCompleted
	}
	return string(s)
}

// automationStatus is an automation's status: Resend's clients know no drafts.
func automationStatus(r *request, s automations.WorkflowStatus) string {
	if r.resend && s == automations.StatusDraft {
		return string(automations.StatusDisabled)
	}
	return string(s)
}

// keyStatus is the status of an authentication error: Resend answers 403 to a
// key that is not good, and both 401 to none.
func keyStatus(r *request, code string, status int) int {
	if r.resend && code == invalidKey {
		return http.StatusForbidden
	}
	return status
}

// eventTypeSchema is an event type's schema: Resend's Go client can decode flat
// maps only, and drops the whole list over anything else.
func eventTypeSchema(r *request, t *automations.EventType) json.RawMessage {
	if t.Schema == nil || r.resend && !schema.IsFlat(t.Schema) {
		return json.RawMessage("null")
	}
	return t.Schema
}

// contactProperties are a contact's properties: Resend's clients expect each
// with its type.
func contactProperties(r *request, c *automations.Contact) any {
	if !r.resend {
		if c.Properties == nil {
			return struct{}{}
		}
		return c.Properties
	}
	typed := make(map[string]wireProperty, len(c.Properties))
	for name, raw := range c.Properties {
		kind := "string"
		if len(raw) > 0 && (raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9') {
			kind = "number"
		}
		typed[name] = wireProperty{kind, raw}
	}
	return typed
}

type wireProperty struct {
	Type  string          `json:"type"`
	Value json.RawMessage `json:"value"`
}
