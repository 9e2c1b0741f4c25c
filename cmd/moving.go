package cmd

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/opensend/opensend/automations"
)

// What moves between servers are the objects of the API, kind by kind, in an
// order in which each kind refers to earlier ones alone.

// row is one object of the API.
type row map[string]json.RawMessage

// text is a field that is a text; empty when it is anything else.
func (r row) text(field string) (s string) {
	json.Unmarshal(r[field], &s)
	return s
}

// null reports whether the field has no value.
func (r row) null(field string) bool { return len(r[field]) == 0 || string(r[field]) == "null" }

// kind is one kind of object that moves.
type kind struct {
	object string   // as the API calls it
	plural string   // for people
	path   string   // of the list, and to create one
	older  string   // another path, where the other side has no such list
	fields []string // that creating one takes
	whole  bool     // lists have only a part of it
}

func kinds() []kind {
	return []kind{
		{object: "contact_property", plural: "contact properties", path: "/contact-properties", fields: []string{"key", "type", "fallback_value"}},
		{object: "segment", plural: "segments", path: "/segments", older: "/audiences", fields: []string{"name"}},
		{object: "topic", plural: "topics", path: "/topics", fields: []string{"name", "description", "default_subscription"}},
		{object: "event", plural: "event types", path: "/events", fields: []string{"name", "schema"}},
		{object: "template", plural: "templates", path: "/templates", whole: true, fields: []string{"name", "alias", "from", "subject", "reply_to", "html", "text", "variables"}},
		{object: "automation", plural: "automations", path: "/automations", whole: true, fields: []string{"name", "deduplication", "steps", "connections"}},
		{object: "suppression", plural: "suppressions", path: "/suppressions", fields: []string{"email", "origin"}},
		{object: "contact", plural: "contacts", path: "/contacts", fields: []string{"email", "first_name", "last_name", "unsubscribed", "properties", "segments", "topics"}},
	}
}

// key is what an object is told by on every server: ids differ.
func (k kind) key(r row) string {
	switch k.object {
	case "contact_property":
		return r.text("key")
	case "suppression", "contact":
		return strings.ToLower(strings.TrimSpace(r.text("email")))
	case "template":
		if alias := r.text("alias"); alias != "" {
			return "alias " + alias
		}
	}
	return r.text("name")
}

// body is what creates the object on a server that calls things by other ids.
// Objects that it refers to and that did not come along are left out.
func (k kind) body(r row, ids map[string]string) row {
	out := row{}
	for _, field := range k.fields {
		if !r.null(field) {
			out[field] = r[field]
		}
	}
	switch k.object {
	case "contact":
		delete(out, "segments")
		if segments := mapped(r.segments(), ids); len(segments) > 0 {
			out["segments"], _ = json.Marshal(segments)
		}
		delete(out, "topics")
		if topics := r.topics(ids); len(topics) > 0 {
			out["topics"], _ = json.Marshal(topics)
		}
		out["properties"], _ = automations.EncodeJSON(r.properties())
	case "automation":
		out["steps"] = replaceIDs(withoutIDs(r["steps"]), ids)
	}
	return out
}

// mapped are the ids as the other server has them.
func mapped(old []string, ids map[string]string) (list []string) {
	for _, id := range old {
		if ids[id] != "" {
			list = append(list, ids[id])
		}
	}
	return list
}

// replaceIDs changes the ids that steps refer to.
func replaceIDs(raw json.RawMessage, ids map[string]string) json.RawMessage {
	for before, after := range ids {
		raw = bytes.ReplaceAll(raw, []byte(`"`+before+`"`), []byte(`"`+after+`"`))
	}
	return raw
}

// withoutIDs are steps to which the server gives ids.
func withoutIDs(steps json.RawMessage) json.RawMessage {
	var list []row
	if json.Unmarshal(steps, &list) != nil {
		return steps // for the server to say
	}
	for _, step := range list {
		delete(step, "id")
	}
	raw, err := automations.EncodeJSON(list)
	if err != nil {
		return steps
	}
	return raw
}

// segments are the ids of a contact's segments: a list of ids, or of objects
// with one.
func (r row) segments() (ids []string) {
	var items []json.RawMessage
	json.Unmarshal(r["segments"], &items)
	for _, item := range items {
		var id string
		var object struct{ ID string }
		if json.Unmarshal(item, &id) != nil && json.Unmarshal(item, &object) == nil {
			id = object.ID
		}
		ids = append(ids, id)
	}
	return ids
}

type topicChoice struct {
	ID           string `json:"id"`
	Subscription string `json:"subscription"`
}

// choices are the topics that a contact has chosen.
func (r row) choices() (all []topicChoice) {
	json.Unmarshal(r["topics"], &all)
	return all
}

// topics are the choices with the ids of the other server.
func (r row) topics(ids map[string]string) (choices []topicChoice) {
	for _, choice := range r.choices() {
		if choice.ID = ids[choice.ID]; choice.ID != "" {
			choices = append(choices, choice)
		}
	}
	return choices
}

// properties are a contact's properties as values: some servers give each with
// its type.
func (r row) properties() map[string]json.RawMessage {
	values := map[string]json.RawMessage{}
	json.Unmarshal(r["properties"], &values)
	for name, raw := range values {
		var typed row
		if json.Unmarshal(raw, &typed) == nil && typed["value"] != nil && typed["type"] != nil && len(typed) == 2 {
			values[name] = typed["value"]
		}
		if string(values[name]) == "null" {
			delete(values, name)
		}
	}
	return values
}

// filling is what an existing contact lacks. Nothing that it has is changed, but
// for this: who has unsubscribed anywhere stays so.
func filling(r, have row, ids map[string]string) (patch row, segments []string) {
	patch = row{}
	if string(r["unsubscribed"]) == "true" && string(have["unsubscribed"]) != "true" {
		patch["unsubscribed"] = r["unsubscribed"]
	}
	for _, name := range []string{"first_name", "last_name"} {
		if have.text(name) == "" && r.text(name) != "" {
			patch[name] = r[name]
		}
	}
	missing, there := r.properties(), have.properties()
	for name := range there {
		delete(missing, name)
	}
	if len(missing) > 0 {
		patch["properties"], _ = automations.EncodeJSON(missing)
	}
	in := have.segments()
	for _, id := range r.segments() {
		if here := ids[id]; here == "" || !slices.Contains(in, here) {
			segments = append(segments, id)
		}
	}
	return patch, segments
}
