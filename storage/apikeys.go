package storage

import (
	"errors"
	"time"

	"github.com/opensend/opensend/automations"
)

// APIKey reads one API key.
func (tx *Tx) APIKey(id automations.ID) (*automations.APIKey, error) {
	return record[automations.APIKey](tx, apiKeysBucket, id[:])
}

// APIKeyByHash reads the API key whose token has the SHA-256 hash.
func (tx *Tx) APIKeyByHash(hash []byte) (*automations.APIKey, error) {
	id, err := tx.idAt(apiKeyHashesBucket, hash)
	if err != nil {
		return nil, err
	}
	return tx.APIKey(id)
}

// APIKeys lists API keys.
func (tx *Tx) APIKeys(page Page) ([]*automations.APIKey, Rest, error) {
	return list[automations.APIKey](tx, apiKeysBucket, nil, page, nil)
}

// CreateAPIKey stores a new API key.
func (tx *Tx) CreateAPIKey(k *automations.APIKey) error {
	if err := tx.claimName(apiKeyHashesBucket, k.Hash, k.ID); err != nil {
		return err
	}
	tx.apiKeysChanged()
	return tx.putRecord(apiKeysBucket, k.ID[:], k)
}

// NoteAPIKeyUse writes when an API key was last used; ErrNotFound when it was
// revoked.
func (tx *Tx) NoteAPIKeyUse(id automations.ID, at time.Time) error {
	k, err := tx.APIKey(id)
	if err != nil {
		return err
	}
	k.LastUsedAt = at
	return tx.putRecord(apiKeysBucket, id[:], k)
}

// RenameAPIKey changes an API key's name; ErrNotFound when there is none.
func (tx *Tx) RenameAPIKey(id automations.ID, name string) (*automations.APIKey, error) {
	k, err := tx.APIKey(id)
	if err != nil {
		return nil, err
	}
	tx.apiKeysChanged()
	k.Name = name
	return k, tx.putRecord(apiKeysBucket, id[:], k)
}

// DeleteAPIKey revokes an API key; ErrNotFound when there is none.
func (tx *Tx) DeleteAPIKey(id automations.ID) error {
	k, err := tx.APIKey(id)
	if err != nil {
		return err
	}
	tx.apiKeysChanged()
	return errors.Join(tx.delete(apiKeyHashesBucket, k.Hash), tx.delete(apiKeysBucket, id[:]))
}
