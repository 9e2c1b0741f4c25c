package web

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/schema"
	"github.com/opensend/opensend/storage"
)

// inferredEvents is how many events a schema is inferred from at most.
const inferredEvents = 200

// typesPage is a page of event types.
type typesPage struct {
	listPage[*automations.EventType]
	Older string
}

func (v *visit) eventTypes() (any, error) {
	var page typesPage
	err := v.read(func(tx *storage.Tx) (err error) {
		page.listPage, err = readList(v, tx.EventTypes, func(t *automations.EventType) automations.ID { return t.ID })
		return err
	})
	page.Older = v.olderThan("/events/types", page.listPage.Older)
	return page, err
}

// typePage is the editor of an event type.
type typePage struct {
	Type     *automations.EventType // as it is stored; nil for a new one
	Name     string                 // as they are typed
	Schema   string
	Seen     string // a mark of the type that the form was opened with
	Inferred int    // events that Schema was inferred from
	Looked   bool
	Recent   []*automations.Delivery
	Names    []string
}

func (v *visit) newEventType() (any, error) {
	page := typePage{Name: v.FormValue("name"), Schema: v.FormValue("schema")}
	return v.inferring(page)
}

func (v *visit) eventType() (any, error) {
	page, err := v.typePage("", "")
	if err != nil {
		return nil, err
	}
	page.Name, page.Schema, page.Seen = page.Type.Name, "", typeSeen(page.Type)
	if page.Type.Schema != nil {
		page.Schema = prettyJSON(page.Type.Schema)
	}
	return v.inferring(page)
}

func typeSeen(t *automations.EventType) string { return markOf(t.Name, t.Schema) }

// typePage reads the type in the path, and what was typed.
func (v *visit) typePage(name, text string) (page typePage, err error) {
	page.Name, page.Schema, page.Seen = name, text, v.PostForm.Get("seen")
	if v.PathValue("id") == "" {
		return page, nil
	}
	err = v.read(func(tx *storage.Tx) (err error) {
		if page.Type, err = tx.EventType(v.pathID("id")); err != nil {
			return err
		}
		page.Recent, _, err = tx.FindDeliveries(storage.Page{Limit: 5}, storage.DeliveryFilter{Event: page.Type.Name})
		return err
	})
	return page, err
}

// inferring puts a schema into the editor that takes the last events of the
// name, when the page is asked for that. Nothing is stored.
func (v *visit) inferring(page typePage) (any, error) {
	err := v.read(func(tx *storage.Tx) (err error) {
		if page.Names, err = eventNames(tx); err != nil || v.FormValue("infer") == "" || page.Name == "" {
			return err
		}
		rows, _, err := tx.FindDeliveries(storage.Page{Limit: inferredEvents}, storage.DeliveryFilter{Event: page.Name})
		var payloads []json.RawMessage
		for _, d := range rows {
			if d.Email != "" { // what is erased has another shape
				payloads = append(payloads, d.Payload)
			}
		}
		if page.Inferred, page.Looked = len(payloads), true; len(payloads) > 0 {
			page.Schema = string(schema.Infer(payloads))
		}
		return err
	})
	return page, err
}

func (v *visit) createEventType() (any, error) {
	name, text := v.PostForm.Get("name"), lines(v.PostForm.Get("schema"))
	in, err := typedSchema(text)
	var made struct {
		ID automations.ID `json:"id"`
	}
	if err == nil {
		err = v.call(http.MethodPost, "/events", map[string]any{"name": name, "schema": in}, &made)
	}
	return orAgain(err, redirect{home + "/events/types/" + made.ID.String(), "The event type is stored. From now on payloads are checked against its schema, if it has one."},
		func() (typePage, error) { return v.typePage(name, text) })
}

func (v *visit) saveEventType() (any, error) {
	name, text := v.PostForm.Get("name"), lines(v.PostForm.Get("schema"))
	page, err := v.typePage(name, text)
	if err != nil {
		return nil, err
	}
	if now := typeSeen(page.Type); page.Seen != "" && page.Seen != now {
		page.Seen = now
		return refused{page, savedElsewhere("the event type was")}, nil
	}
	in, err := typedSchema(text)
	if err == nil {
		err = v.call(http.MethodPatch, "/events/"+esc(v.PathValue("id")), map[string]any{"name": name, "schema": in}, nil)
	}
	return orAgain(err, redirect{home + "/events/types/" + v.PathValue("id"), "Saved. Events that come from now on are held to it; those that are stored stay as they are."},
		func() (typePage, error) { return v.typePage(name, text) })
}

func (v *visit) deleteEventType() (any, error) {
	err := v.call(http.MethodDelete, "/events/"+esc(v.PathValue("id")), nil, nil)
	return orAgain(err, redirect{home + "/events/types", "The event type is deleted. Events of its name are taken without a check."},
		func() (typePage, error) { return v.typePage(v.PostForm.Get("name"), v.PostForm.Get("schema")) })
}

// typedSchema is the text of a schema for the API; null for none.
func typedSchema(text string) (json.RawMessage, error) {
	if text = strings.TrimSpace(text); text == "" {
		return json.RawMessage("null"), nil
	}
	if err := automations.CheckJSON([]byte(text)); err != nil {
		return nil, automations.Errorf(automations.KindInvalid, "", "the schema is not JSON: %s", err)
	}
	return json.RawMessage(text), nil
}
