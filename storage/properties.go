package storage

import (
	"errors"

	"github.com/opensend/opensend/automations"
)

// ContactProperty reads one declared property.
func (tx *Tx) ContactProperty(id automations.ID) (*automations.ContactProperty, error) {
	return record[automations.ContactProperty](tx, contactPropertiesBucket, id[:])
}

// ContactPropertyByKey reads the declared property with exactly that key.
func (tx *Tx) ContactPropertyByKey(key string) (*automations.ContactProperty, error) {
	id, err := tx.idAt(contactPropertyKeysBucket, nameHash(key))
	if err != nil {
		return nil, err
	}
	return tx.ContactProperty(id)
}

// ContactProperties lists declared properties.
func (tx *Tx) ContactProperties(page Page) ([]*automations.ContactProperty, Rest, error) {
	return list[automations.ContactProperty](tx, contactPropertiesBucket, nil, page, nil)
}

// SaveContactProperty stores a new or changed property; ErrTaken when another
// has its key.
func (tx *Tx) SaveContactProperty(p *automations.ContactProperty) error {
	if err := tx.claimName(contactPropertyKeysBucket, nameHash(p.Key), p.ID); err != nil {
		return err
	}
	return tx.putRecord(contactPropertiesBucket, p.ID[:], p)
}

// DeleteContactProperty removes a declaration; contacts keep their values.
func (tx *Tx) DeleteContactProperty(id automations.ID) error {
	p, err := tx.ContactProperty(id)
	if err != nil {
		return err
	}
	return errors.Join(
		tx.delete(contactPropertyKeysBucket, nameHash(p.Key)),
		tx.delete(contactPropertiesBucket, id[:]),
	)
}
