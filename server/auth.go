package server

import (
	"crypto/subtle"
	"errors"
	"strings"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// Codes of authentication errors.
const (
	missingKey = "missing_api_key"
	invalidKey = "invalid_api_key"
	narrowKey  = "insufficient_api_key_permission"
	testKey    = "test_api_key"
)

// usedEvery is how often a key's last_used_at is written at most.
const usedEvery = time.Minute

// authorize checks that the request carries a key that opens the route, and
// returns it; nil where none is needed.
func (s *Server) authorize(r *request, need access) (*automations.APIKey, error) {
	if need == accessNone || need == accessProvider {
		return nil, nil
	}
	scheme, token, found := strings.Cut(strings.TrimSpace(r.Header.Get("Authorization")), " ")
	if !found || !strings.EqualFold(scheme, "Bearer") || strings.TrimSpace(token) == "" {
		return nil, automations.Errorf(automations.KindUnauthorized, missingKey, "no API key; send the header Authorization: Bearer os_…")
	}
	key, err := s.findKey(strings.TrimSpace(token), r.now)
	if err != nil {
		return nil, err
	}
	if !opens(key.Permission, need) {
		return nil, automations.Errorf(automations.KindForbidden, narrowKey, "this API key has %s, which does not cover this route; use a key with %s", key.Permission, automations.FullAccess)
	}
	if key.Test && need == accessLive {
		return nil, automations.Errorf(automations.KindForbidden, testKey, "this is a test key, and this could make mail leave; use a key that is not for tests, or the command line")
	}
	s.noteUse(key, r.now)
	return key, nil
}

func opens(p automations.Permission, need access) bool {
	switch p {
	case automations.FullAccess:
		return true
	case automations.SendingAccess:
		return need == accessSending
	case automations.EventsAccess:
		return need == accessEvents
	case automations.MetricsAccess:
		return need == accessMetrics
	}
	return false
}

// knownKey is an API key as it was when the keys had the mark.
type knownKey struct {
	mark int64
	*automations.APIKey
}

// findKey finds the key of a token. Keys are remembered until one is created,
// renamed or revoked.
func (s *Server) findKey(token string, now time.Time) (key *automations.APIKey, err error) {
	hash, ok := automations.HashToken(token)
	if !ok {
		return nil, errInvalidKey()
	}
	if known, met := s.keys.Load(string(hash)); met && known.(knownKey).mark == s.db.Marks().APIKeys {
		key = known.(knownKey).APIKey
	} else {
		err = s.db.View(func(tx *storage.Tx) error {
			if key, err = tx.APIKeyByHash(hash); err == nil {
				s.keys.Store(string(hash), knownKey{tx.Marks().APIKeys, key})
			}
			return err
		})
	}
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil, errInvalidKey()
	case err != nil:
		return nil, err
	case subtle.ConstantTimeCompare(key.Hash, hash) != 1 || key.Expired(now):
		return nil, errInvalidKey()
	}
	return key, nil
}

func errInvalidKey() error {
	return automations.Errorf(automations.KindUnauthorized, invalidKey, "the API key is unknown, revoked or expired; create one with: opensend apikeys create --name NAME")
}

// noteUse writes last_used_at, at most once a minute for each key. A file that
// takes no writes does not keep the caller out.
func (s *Server) noteUse(key *automations.APIKey, now time.Time) {
	last, known := s.lastUsed.LoadOrStore(key.ID, now)
	switch {
	case known && (now.Sub(last.(time.Time)) < usedEvery || !s.lastUsed.CompareAndSwap(key.ID, last, now)):
		return // written lately, or by another request right now
	case !known && now.Sub(key.LastUsedAt) < usedEvery:
		return
	}
	err := s.db.Update(func(tx *storage.Tx) error { return tx.NoteAPIKeyUse(key.ID, now) })
	if err != nil && !errors.Is(err, storage.ErrNotFound) { // not found: revoked this very moment
		s.log.Warn("last use of an API key not noted", "key", key.ID, "error", err)
	}
}
