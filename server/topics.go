package server

import (
	"encoding/json"
	"fmt"
	"maps"

	"github.com/google/uuid"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// Limits of topics, and how many choices one request may make.
const (
	maxTopicName        = 50
	maxTopicDescription = 200
	maxTopicChoices     = 100
)

// wireTopic is a topic.
type wireTopic struct {
	Object              string                   `json:"object"`
	ID                  automations.ID           `json:"id"`
	Name                string                   `json:"name"`
	Description         *string                  `json:"description"`
	DefaultSubscription automations.Subscription `json:"default_subscription"`
	CreatedAt           wireTime                 `json:"created_at"`
}

func renderTopic(t *automations.Topic) wireTopic {
	return wireTopic{"topic", t.ID, t.Name, orNull(t.Description), t.Default, wireTime(t.CreatedAt)}
}

// readTopic reads the fields that were sent into t.
func readTopic(f automations.Fields, p *automations.Problems, t *automations.Topic) {
	if f.Has("name") {
		t.Name = f.String(p, "name")
		if t.Name == "" {
			p.Missing("", "name")
		}
		automations.CheckText(p, "name", t.Name, maxTopicName)
	}
	if f.Sent("description") {
		t.Description = f.String(p, "description")
		automations.CheckText(p, "description", t.Description, maxTopicDescription)
	}
}

func (s *Server) createTopic(r *request) (answer, error) {
	f, err := r.fields()
	if err != nil {
		return answer{}, err
	}
	var p automations.Problems
	f.Unknown(&p, "name", "description", "default_subscription", "defaultSubscription")
	t := &automations.Topic{ID: uuid.Must(uuid.NewV7()), CreatedAt: r.now, Default: readWord(f, &p, automations.Subscriptions(), "default_subscription", "defaultSubscription")}
	if !f.Has("name") {
		p.Missing("", "name")
	}
	if t.Default == "" {
		p.Missing("", "default_subscription")
	}
	readTopic(f, &p, t)
	if err := p.Err(); err != nil {
		return answer{}, err
	}
	if err := r.update(func(tx *storage.Tx) error { return tx.SaveTopic(t) }); err != nil {
		return answer{}, err
	}
	return created(renderTopic(t))
}

func (s *Server) listTopics(r *request) (answer, error) {
	return respondList(r, (*storage.Tx).Topics, renderTopic)
}

func topicByID(tx *storage.Tx, id automations.ID) (*automations.Topic, error) {
	t, err := tx.Topic(id)
	return t, orNotFound(err, "topic", id.String())
}

func (s *Server) getTopic(r *request) (answer, error) {
	id, err := r.pathID("id", "topic")
	if err != nil {
		return answer{}, err
	}
	return respondOne(r, func(tx *storage.Tx) (*automations.Topic, error) { return topicByID(tx, id) }, renderTopic)
}

// updateTopic changes name and description. The default stays: it is what
// contacts that have not chosen were told.
func (s *Server) updateTopic(r *request) (answer, error) {
	id, err := r.pathID("id", "topic")
	if err != nil {
		return answer{}, err
	}
	f, err := r.fields()
	if err != nil {
		return answer{}, err
	}
	var t *automations.Topic
	err = r.update(func(tx *storage.Tx) (err error) {
		if t, err = topicByID(tx, id); err != nil {
			return err
		}
		var p automations.Problems
		f.Unknown(&p, "id", "name", "description")
		if !changes(f, []string{"name"}, "description") {
			p.Add("", "name", "nothing to change: send name or description")
		}
		readTopic(f, &p, t)
		if err := p.Err(); err != nil {
			return err
		}
		return tx.SaveTopic(t)
	})
	if err != nil {
		return answer{}, err
	}
	return ok(renderTopic(t))
}

func (s *Server) deleteTopic(r *request) (answer, error) {
	id, err := r.pathID("id", "topic")
	if err != nil {
		return answer{}, err
	}
	err = r.update(func(tx *storage.Tx) error { return tx.DeleteTopic(id) })
	if err != nil {
		return answer{}, orNotFound(err, "topic", id.String())
	}
	return ok(deleted{"topic", id, true})
}

// wireContactTopic is a topic as one contact has it.
type wireContactTopic struct {
	ID           automations.ID           `json:"id"`
	Name         string                   `json:"name"`
	Description  *string                  `json:"description"`
	Subscription automations.Subscription `json:"subscription"`
}

func (s *Server) listContactTopics(r *request) (answer, error) {
	var c *automations.Contact
	return respondList(r, func(tx *storage.Tx, page storage.Page) (rows []*automations.Topic, rest storage.Rest, err error) {
		if c, err = contactByRef(tx, r.PathValue("id")); err != nil {
			return nil, storage.Rest{}, err
		}
		return tx.Topics(page)
	}, func(t *automations.Topic) wireContactTopic { return renderContactTopic(t, c) })
}

func renderContactTopic(t *automations.Topic, c *automations.Contact) wireContactTopic {
	return wireContactTopic{t.ID, t.Name, orNull(t.Description), t.Subscription(c)}
}

// updateContactTopics takes a list of choices, bare or as {topics: […]}.
func (s *Server) updateContactTopics(r *request) (answer, error) {
	if err := automations.CheckJSON(r.body); err != nil {
		return answer{}, err
	}
	raw := json.RawMessage(r.body)
	var p automations.Problems
	if f, err := automations.ObjectFields(raw); err == nil {
		f.Unknown(&p, "topics", "id", "email")
		raw = f.Array(&p, "topics")
	}
	choices := readTopicChoices(&p, raw)
	if len(choices) == 0 && p.Err() == nil {
		p.Missing("", "topics")
	}
	if err := p.Err(); err != nil {
		return answer{}, err
	}
	var w wireContact
	err := r.update(func(tx *storage.Tx) error {
		c, err := contactByRef(tx, r.PathValue("id"))
		if err != nil {
			return err
		}
		if err := chooseTopics(tx, c, choices); err != nil {
			return err
		}
		c.UpdatedAt = r.now
		if err := tx.UpdateContact(c); err != nil {
			return err
		}
		w, err = renderContact(tx, r, c)
		return err
	})
	if err != nil {
		return answer{}, err
	}
	return ok(w)
}

// readTopicChoices reads [{id, subscription}].
func readTopicChoices(p *automations.Problems, raw json.RawMessage) map[automations.ID]automations.Subscription {
	if raw == nil {
		return nil
	}
	var items []json.RawMessage
	if json.Unmarshal(raw, &items) != nil || len(items) > maxTopicChoices {
		p.Add("", "topics", "topics must be a list of at most %d choices such as {\"id\": …, \"subscription\": \"opt_in\"}", maxTopicChoices)
		return nil
	}
	choices := map[automations.ID]automations.Subscription{}
	for i, item := range items {
		var own automations.Problems
		f, err := automations.ObjectFields(item)
		if err != nil {
			p.Include(fmt.Sprintf("topics[%d]", i), err)
			continue
		}
		f.Unknown(&own, "id", "subscription")
		id, ok := automations.ParseID(f.String(&own, "id"))
		if !ok {
			own.Add("", "id", "id must be the id of a topic")
		}
		choice := readWord(f, &own, automations.Subscriptions(), "subscription")
		if choice == "" {
			own.Missing("", "subscription")
		}
		p.Include(fmt.Sprintf("topics[%d]", i), own.Err())
		choices[id] = choice
	}
	return choices
}

// chooseTopics applies choices to a contact; each topic must exist.
func chooseTopics(tx *storage.Tx, c *automations.Contact, choices map[automations.ID]automations.Subscription) error {
	for id := range choices {
		if _, err := topicByID(tx, id); err != nil {
			return err
		}
	}
	if c.Topics == nil {
		c.Topics = map[automations.ID]automations.Subscription{}
	}
	maps.Copy(c.Topics, choices)
	return nil
}
