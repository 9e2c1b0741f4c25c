package storage

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"strings"
	"time"

	"github.com/opensend/opensend/automations"
)

// User reads one user.
func (tx *Tx) User(id automations.ID) (*automations.User, error) {
	return record[automations.User](tx, usersBucket, id[:])
}

// UserByName reads the user of a name in any case.
func (tx *Tx) UserByName(name string) (*automations.User, error) {
	id, err := tx.idAt(userNamesBucket, userKey(name))
	if err != nil {
		return nil, err
	}
	return tx.User(id)
}

// Users lists users.
func (tx *Tx) Users(page Page) ([]*automations.User, Rest, error) {
	return list[automations.User](tx, usersBucket, nil, page, nil)
}

// AnyUser reports whether there is a user.
func (tx *Tx) AnyUser() bool {
	key, _ := tx.bucket(usersBucket).Cursor().First()
	return key != nil
}

// CreateUser stores a new user; ErrTaken when the name is another's.
func (tx *Tx) CreateUser(u *automations.User) error {
	if err := tx.claimName(userNamesBucket, userKey(u.Name), u.ID); err != nil {
		return err
	}
	return tx.UpdateUser(u)
}

// UpdateUser stores a user whose name has not changed.
func (tx *Tx) UpdateUser(u *automations.User) error { return tx.putRecord(usersBucket, u.ID[:], u) }

// DeleteUser removes a user and ends its sessions; ErrNotFound when there is
// none.
func (tx *Tx) DeleteUser(id automations.ID) error {
	u, err := tx.User(id)
	if err != nil {
		return err
	}
	return errors.Join(tx.delete(userNamesBucket, userKey(u.Name)), tx.delete(usersBucket, id[:]), tx.EndSessions(id))
}

func userKey(name string) []byte { return nameHash(strings.ToLower(name)) }

// secretKey is what a session or an invitation is stored under: the file does
// not give away the secret itself.
func secretKey(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

// Session reads the session of a secret.
func (tx *Tx) Session(secret string) (*automations.Session, error) {
	return record[automations.Session](tx, sessionsBucket, secretKey(secret))
}

// SaveSession stores a new or changed session.
func (tx *Tx) SaveSession(secret string, s *automations.Session) error {
	return tx.putRecord(sessionsBucket, secretKey(secret), s)
}

// EndSession forgets one session.
func (tx *Tx) EndSession(secret string) error { return tx.delete(sessionsBucket, secretKey(secret)) }

// EndSessions forgets all sessions of a user.
func (tx *Tx) EndSessions(user automations.ID) error {
	return tx.dropSessions(func(s *automations.Session) bool { return s.UserID == user })
}

// EndOldSessions forgets the sessions that are over.
func (tx *Tx) EndOldSessions(now time.Time) error {
	return tx.dropSessions(func(s *automations.Session) bool { return s.Over(now) })
}

// dropSessions looks at all sessions: there are few.
func (tx *Tx) dropSessions(drop func(*automations.Session) bool) error {
	var keys [][]byte
	var failed error
	tx.each(sessionsBucket, nil, func(key []byte) bool {
		s, err := record[automations.Session](tx, sessionsBucket, key)
		if err == nil && drop(s) {
			keys = append(keys, bytes.Clone(key))
		}
		failed = errors.Join(failed, err)
		return true
	})
	return errors.Join(failed, tx.deleteAll(tx.bucket(sessionsBucket), keys))
}

// Invite stores an invitation. A new one for the first user replaces those
// before.
func (tx *Tx) Invite(secret string, i *automations.Invitation) error {
	err := tx.dropInvitations(func(old *automations.Invitation) bool { return old.UserID == i.UserID || old.Over(i.CreatedAt) })
	return errors.Join(err, tx.putRecord(invitationsBucket, secretKey(secret), i))
}

// Invitation reads the invitation of a secret.
func (tx *Tx) Invitation(secret string) (*automations.Invitation, error) {
	return record[automations.Invitation](tx, invitationsBucket, secretKey(secret))
}

// UseInvitation forgets an invitation.
func (tx *Tx) UseInvitation(secret string) error {
	return tx.delete(invitationsBucket, secretKey(secret))
}

func (tx *Tx) dropInvitations(drop func(*automations.Invitation) bool) error {
	var keys [][]byte
	tx.each(invitationsBucket, nil, func(key []byte) bool {
		if i, err := record[automations.Invitation](tx, invitationsBucket, key); err != nil || drop(i) {
			keys = append(keys, bytes.Clone(key))
		}
		return true
	})
	return tx.deleteAll(tx.bucket(invitationsBucket), keys)
}

// SessionsOf counts the sessions of a user that have not ended at now.
func (tx *Tx) SessionsOf(user automations.ID, now time.Time) (n int, err error) {
	tx.each(sessionsBucket, nil, func(key []byte) bool {
		s, readErr := record[automations.Session](tx, sessionsBucket, key)
		if readErr == nil && s.UserID == user && !s.Over(now) {
			n++
		}
		err = errors.Join(err, readErr)
		return true
	})
	return n, err
}
