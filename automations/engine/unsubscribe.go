package engine

import (
	"encoding/base64"
	"errors"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/mail"
	"github.com/opensend/opensend/storage"
)

// unsubscribeURL is the link by which a contact unsubscribes from a topic, or
// from all mail when the topic is zero. It needs no sign-in and does not
// expire: mail is kept for long.
func (e *Engine) unsubscribeURL(tx *storage.Tx, contact, topic automations.ID) string {
	return e.cfg.BaseURL + "/unsubscribe/" + base64.RawURLEncoding.EncodeToString(tx.UnsubscribeToken(contact, topic))
}

// unsubscribeHeaders let mail programs show a button of their own for the link
// (RFC 2369, RFC 8058).
func unsubscribeHeaders(link string) []mail.Header {
	return []mail.Header{{Name: "List-Unsubscribe", Value: "<" + link + ">"}, {Name: "List-Unsubscribe-Post", Value: "List-Unsubscribe=One-Click"}}
}

// automatic marks a mail as sent by a program, so that no other program answers
// it (RFC 3834), and tells mailbox providers which automation and step their
// reports are about.
func automatic(run *automations.Run, step string, from mail.Address) []mail.Header {
	return []mail.Header{
		{Name: "Auto-Submitted", Value: "auto-generated"},
		{Name: "Feedback-ID", Value: mail.FeedbackID(from.Domain(), step, run.WorkflowID.String(), "automation")},
	}
}

// Preferences are what the holder of an unsubscribe link may see and change.
type Preferences struct {
	Contact *automations.Contact
	Topics  []*automations.Topic
	Topic   *automations.Topic // that the mail with the link belonged to; nil for none
}

const maxShownTopics = 100

// Preferences reads what an unsubscribe link stands for. storage.ErrNotFound
// says that the link is not one of ours, or that its contact was deleted.
func (e *Engine) Preferences(token string) (p *Preferences, err error) {
	err = e.db.View(func(tx *storage.Tx) error {
		p, err = e.preferences(tx, token)
		return err
	})
	return p, err
}

func (e *Engine) preferences(tx *storage.Tx, token string) (*Preferences, error) {
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return nil, storage.ErrNotFound
	}
	contact, topic, err := tx.ParseUnsubscribeToken(raw)
	if err != nil {
		return nil, err
	}
	p := &Preferences{}
	if p.Contact, err = tx.Contact(contact); err != nil {
		return nil, err
	}
	if p.Topics, _, err = tx.Topics(storage.Page{Limit: maxShownTopics}); err != nil {
		return nil, err
	}
	if topic != (automations.ID{}) {
		if p.Topic, err = tx.Topic(topic); err != nil && !errors.Is(err, storage.ErrNotFound) {
			return nil, err
		}
	}
	return p, nil
}

// Unsubscribe does what a link is for: it opts its contact out of the topic
// that the mail belonged to, or unsubscribes it from all mail.
func (e *Engine) Unsubscribe(token string) (*Preferences, error) {
	return e.choose(token, func(p *Preferences) {
		if p.Topic == nil {
			p.Contact.Unsubscribed = true
			return
		}
		setTopic(p.Contact, p.Topic.ID, automations.OptOut)
	})
}

// Choose sets what the contact of a link gets: nothing, or mail of the topics
// in wanted and of none of the others.
func (e *Engine) Choose(token string, unsubscribed bool, wanted map[automations.ID]bool) (*Preferences, error) {
	return e.choose(token, func(p *Preferences) {
		p.Contact.Unsubscribed = unsubscribed
		for _, t := range p.Topics {
			choice := automations.OptOut
			if wanted[t.ID] {
				choice = automations.OptIn
			}
			if !unsubscribed && t.Subscription(p.Contact) != choice {
				setTopic(p.Contact, t.ID, choice)
			}
		}
	})
}

func setTopic(c *automations.Contact, topic automations.ID, choice automations.Subscription) {
	if c.Topics == nil {
		c.Topics = map[automations.ID]automations.Subscription{}
	}
	c.Topics[topic] = choice
}

func (e *Engine) choose(token string, change func(*Preferences)) (p *Preferences, err error) {
	err = e.db.Update(func(tx *storage.Tx) error {
		if p, err = e.preferences(tx, token); err != nil {
			return err
		}
		change(p)
		p.Contact.UpdatedAt = now()
		return tx.UpdateContact(p.Contact)
	})
	return p, err
}
