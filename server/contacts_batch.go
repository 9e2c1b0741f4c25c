package server

import (
	"encoding/json"
	"errors"
	"slices"

	"github.com/google/uuid"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// What a batch did, or would do, with a contact.
const (
	contactCreated = "created"
	contactUpdated = "updated"
	contactSkipped = "skipped" // it exists, and the batch was to leave those alone
)

// wireSavedContact is what became of one contact of a batch.
type wireSavedContact struct {
	Object string          `json:"object"`
	ID     *automations.ID `json:"id"` // null when it was not created because nothing was to be
	Email  string          `json:"email"`
	Result string          `json:"result"`
}

// contactBatch is one call of saveContacts.
type contactBatch struct {
	*request
	skip, dry bool
	items     []contactItem
	would     map[string]bool // addresses that a dry run has seen
}

// contactItem is one contact of a batch, read into an empty one.
type contactItem struct {
	fields  automations.Fields
	sent    automations.Contact
	choices map[automations.ID]automations.Subscription
	err     error // it cannot be used
}

// saveContacts is POST /contacts/batch: contacts created, or changed where they
// exist, in one durable commit, with an answer or an error for each, in order.
// The query existing=skip leaves those alone that exist; dry_run=true writes
// nothing and says what would happen.
func (s *Server) saveContacts(r *request) (answer, error) {
	batch, err := readContactBatch(r)
	if err != nil {
		return answer{}, err
	}
	within := r.intake
	if batch.dry {
		within = s.db.View
	}
	list := wireList[any]{Object: "list"}
	err = within(func(tx *storage.Tx) error {
		list.Data, batch.would = make([]any, len(batch.items)), map[string]bool{}
		for i := range batch.items {
			saved, err := batch.save(tx, &batch.items[i])
			if _, refusal := errors.AsType[*automations.Error](err); refusal {
				list.Data[i] = openSendErrors(r, err).body
			} else if err != nil {
				return err
			} else {
				list.Data[i] = saved
			}
		}
		return nil
	})
	if err != nil {
		return answer{}, err
	}
	return ok(list)
}

func readContactBatch(r *request) (*contactBatch, error) {
	raws, err := automations.DecodeArray(r.body)
	if err != nil {
		return nil, err
	}
	var p automations.Problems
	existing, dry := r.URL.Query().Get("existing"), r.URL.Query().Get("dry_run")
	oneOf(&p, "existing", existing, []string{"update", "skip"})
	oneOf(&p, "dry_run", dry, []string{"true", "false"})
	if n := len(raws); n == 0 || n > maxBatch {
		p.Add("", "", "a batch has 1 to %d contacts; this one has %d", maxBatch, n)
	}
	if err := p.Err(); err != nil {
		return nil, err
	}
	batch := &contactBatch{request: r, skip: existing == "skip", dry: dry == "true", items: make([]contactItem, len(raws))}
	for i, raw := range raws {
		batch.items[i].read(r, raw)
	}
	return batch, nil
}

func (item *contactItem) read(r *request, raw json.RawMessage) {
	if item.fields, item.err = automations.ObjectFields(raw); item.err != nil {
		return
	}
	var p automations.Problems
	item.fields.Unknown(&p, "email", "first_name", "firstName", "last_name", "lastName", "unsubscribed", "properties", "segments", "topics")
	if !item.fields.Has("email") {
		p.Missing("", "email")
	}
	readContact(item.fields, &p, &item.sent)
	item.sent.Segments = readSegmentIDs(r, item.fields, &p)
	item.choices = readTopicChoices(&p, item.fields.Array(&p, "topics"))
	item.err = p.Err()
}

// save creates or changes the contact of an item; an *automations.Error says why
// it cannot, and then nothing of it was written.
func (b *contactBatch) save(tx *storage.Tx, item *contactItem) (wireSavedContact, error) {
	saved := wireSavedContact{Object: "contact", Email: item.sent.Email, Result: contactUpdated}
	if item.err != nil {
		return saved, item.err
	}
	c, err := tx.ContactByEmail(item.sent.Email)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		saved.Result = contactCreated
		c = &automations.Contact{ID: uuid.Must(uuid.NewV7()), CreatedAt: b.now}
	case err != nil:
		return saved, err
	}
	if b.skip && saved.Result == contactUpdated {
		saved.ID, saved.Result = &c.ID, contactSkipped
		return saved, nil
	}
	if err := item.apply(tx, c); err != nil {
		return saved, err
	}
	if c.UpdatedAt = b.now; b.dry {
		return b.wouldSave(saved, c), nil
	}
	saved.ID = &c.ID
	if saved.Result == contactCreated {
		return saved, tx.CreateContact(c)
	}
	return saved, tx.UpdateContact(c)
}

// wouldSave is what a dry run answers: of two contacts with one address the
// second changes the first.
func (b *contactBatch) wouldSave(saved wireSavedContact, c *automations.Contact) wireSavedContact {
	switch {
	case saved.Result == contactUpdated:
		saved.ID = &c.ID
	case b.would[c.Email] && b.skip:
		saved.Result = contactSkipped
	case b.would[c.Email]:
		saved.Result = contactUpdated
	}
	b.would[c.Email] = true
	return saved
}

// apply changes c to what was sent.
func (item *contactItem) apply(tx *storage.Tx, c *automations.Contact) error {
	for _, id := range item.sent.Segments {
		if _, err := tx.Segment(id); err != nil {
			return orNotFound(err, "segment", id.String())
		}
		if !slices.Contains(c.Segments, id) {
			c.Segments = append(c.Segments, id)
		}
	}
	if err := checkProperties(tx, item.fields); err != nil {
		return err
	}
	var p automations.Problems
	readContact(item.fields, &p, c)
	if err := p.Err(); err != nil { // with the properties that it has there may be too many
		return err
	}
	return chooseTopics(tx, c, item.choices)
}
