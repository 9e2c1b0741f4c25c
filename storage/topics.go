package storage

import "github.com/opensend/opensend/automations"

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
