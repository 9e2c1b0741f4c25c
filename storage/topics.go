package storage

import (
	"bytes"

	"github.com/opensend/opensend/automations"
)

// Topic reads one topic.
func (tx *Tx) Topic(id automations.ID) (*automations.Topic, error) {
	return record[automations.Topic](tx, topicsBucket, id[:])
}

// Topics lists topics.
func (tx *Tx) Topics(page Page) ([]*automations.Topic, Rest, error) {
	return list[automations.Topic](tx, topicsBucket, nil, page, nil)
}

// SaveTopic stores a new or changed topic.
func (tx *Tx) SaveTopic(t *automations.Topic) error { return tx.putRecord(topicsBucket, t.ID[:], t) }

// DeleteTopic removes a topic; ErrNotFound when there is none. What contacts
// chose for it means nothing from then on.
func (tx *Tx) DeleteTopic(id automations.ID) error {
	if _, err := tx.Topic(id); err != nil {
		return err
	}
	return tx.delete(topicsBucket, id[:])
}

// maxChoosers is how many contacts Choices counts.
const maxChoosers = 1000

// Choices counts what contacts have chosen for topics, of the newest contacts;
// bounded says that there are others.
func (tx *Tx) Choices() (counts map[automations.ID]map[automations.Subscription]int, bounded bool, err error) {
	chose := func(record []byte) bool { return bytes.Contains(record, []byte(`":"opt_`)) } // as topics are stored
	contacts, rest, err := listNear(tx, contactsBucket, Page{Limit: maxChoosers}, chose, func(c *automations.Contact) bool { return len(c.Topics) > 0 })
	counts = map[automations.ID]map[automations.Subscription]int{}
	for _, c := range contacts {
		for topic, choice := range c.Topics {
			if counts[topic] == nil {
				counts[topic] = map[automations.Subscription]int{}
			}
			counts[topic][choice]++
		}
	}
	return counts, rest.More, err
}
