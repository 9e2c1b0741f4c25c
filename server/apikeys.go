package server

import (
	"crypto/rand"
	"time"

	"github.com/google/uuid"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// wireAPIKey is an API key without its token.
type wireAPIKey struct {
	Object     string                 `json:"object"`
	ID         automations.ID         `json:"id"`
	Name       string                 `json:"name"`
	Permission automations.Permission `json:"permission"`
	Test       bool                   `json:"test"`
	CreatedAt  wireTime               `json:"created_at"`
	ExpiresAt  wireTime               `json:"expires_at"`
	LastUsedAt wireTime               `json:"last_used_at"`
}

func renderAPIKey(k *automations.APIKey) wireAPIKey {
	return wireAPIKey{"api_key", k.ID, k.Name, k.Permission, k.Test, wireTime(k.CreatedAt), wireTime(k.ExpiresAt), wireTime(k.LastUsedAt)}
}

// wireNewAPIKey is the one answer that has the token.
type wireNewAPIKey struct {
	wireAPIKey
	Token string `json:"token"`
}

func (s *Server) createAPIKey(r *request) (answer, error) {
	f, err := r.fields()
	if err != nil {
		return answer{}, err
	}
	var p automations.Problems
	f.Unknown(&p, "name", "permission", "test", "expires_at")
	key := &automations.APIKey{
		ID: uuid.Must(uuid.NewV7()), Name: readName(f, &p), Permission: readWord(f, &p, automations.Permissions(), "permission"), CreatedAt: r.now,
	}
	if key.Permission == "" {
		key.Permission = automations.FullAccess
	}
	if test := f.Bool(&p, "test"); test != nil {
		key.Test = *test
	}
	if text := f.String(&p, "expires_at"); text != "" {
		if key.ExpiresAt, err = time.Parse(time.RFC3339, text); err != nil || !key.ExpiresAt.After(r.now) {
			p.Add("", "expires_at", "expires_at must be a time to come, such as 2030-01-31T12:00:00Z")
		}
	}
	if err := p.Err(); err != nil {
		return answer{}, err
	}
	var random [automations.TokenBytes]byte
	rand.Read(random[:])
	token := automations.NewToken(random)
	key.Hash, _ = automations.HashToken(token)
	if err := r.update(func(tx *storage.Tx) error { return tx.CreateAPIKey(key) }); err != nil {
		return answer{}, err
	}
	return created(wireNewAPIKey{renderAPIKey(key), token})
}

func (s *Server) listAPIKeys(r *request) (answer, error) {
	return respondList(r, (*storage.Tx).APIKeys, renderAPIKey)
}

// updateAPIKey renames a key; what it may do never changes.
func (s *Server) updateAPIKey(r *request) (answer, error) {
	id, err := r.pathID("id", "api_key")
	if err != nil {
		return answer{}, err
	}
	f, err := r.fields()
	if err != nil {
		return answer{}, err
	}
	var p automations.Problems
	f.Unknown(&p, "id", "name")
	name := readName(f, &p)
	if err := p.Err(); err != nil {
		return answer{}, err
	}
	var key *automations.APIKey
	err = r.update(func(tx *storage.Tx) error {
		key, err = tx.RenameAPIKey(id, name)
		return err
	})
	if err != nil {
		return answer{}, orNotFound(err, "api_key", id.String())
	}
	return ok(renderAPIKey(key))
}

func (s *Server) deleteAPIKey(r *request) (answer, error) {
	id, err := r.pathID("id", "api_key")
	if err != nil {
		return answer{}, err
	}
	err = r.update(func(tx *storage.Tx) error { return tx.DeleteAPIKey(id) })
	if err != nil {
		return answer{}, orNotFound(err, "api_key", id.String())
	}
	return ok(deleted{"api_key", id, true})
}
