package storage

import "github.com/opensend/opensend/automations"

// AddChange adds a line to the log of changes.
func (tx *Tx) AddChange(c *automations.Change) error { return tx.putRecord(auditBucket, c.ID[:], c) }

// Change reads one line of the log of changes.
func (tx *Tx) Change(id automations.ID) (*automations.Change, error) {
	return record[automations.Change](tx, auditBucket, id[:])
}

// Changes lists the log of changes; keep, when not nil, filters.
func (tx *Tx) Changes(page Page, keep func(*automations.Change) bool) ([]*automations.Change, Rest, error) {
	return list(tx, auditBucket, nil, page, keep)
}

func (s *sweeping) change(key []byte) error {
	c, err := s.tx.Change(automations.ID(key))
	if err != nil || s.young(key, 0, c.At, s.keep.Changes) {
		return err
	}
	return s.delete(auditBucket, key)
}
