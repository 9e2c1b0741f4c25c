package storage

import (
	"crypto/hmac"
	"crypto/sha256"

	"github.com/opensend/opensend/automations"
)

const tokenMAC = 16 // bytes

// keyed is the keyed hash of a text for one purpose.
func (tx *Tx) keyed(purpose string, text []byte) []byte {
	mac := hmac.New(sha256.New, tx.db.secret)
	mac.Write([]byte(purpose + "\x00"))
	mac.Write(text)
	return mac.Sum(nil)
}

// UnsubscribeToken names a contact, and a topic unless that is zero, in a way
// that nobody else can make up.
func (tx *Tx) UnsubscribeToken(contact, topic automations.ID) []byte {
	text := contact[:]
	if topic != (automations.ID{}) {
		text = tuple(contact, topic)
	}
	return append(text[:len(text):len(text)], tx.keyed("unsubscribe", text)[:tokenMAC]...)
}

// ParseUnsubscribeToken reads a token back; ErrNotFound when it is not one of
// this file's.
func (tx *Tx) ParseUnsubscribeToken(token []byte) (contact, topic automations.ID, err error) {
	n := len(token) - tokenMAC
	if n != 16 && n != 32 || !hmac.Equal(token[n:], tx.keyed("unsubscribe", token[:n])[:tokenMAC]) {
		return contact, topic, ErrNotFound
	}
	copy(contact[:], token)
	copy(topic[:], token[16:n])
	return contact, topic, nil
}
