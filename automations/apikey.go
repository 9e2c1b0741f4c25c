package automations

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"hash/crc32"
	"strings"
	"time"
)

// Permission is what an API key may do.
type Permission string

// The permissions of an APIKey.
const (
	FullAccess    Permission = "full_access"
	SendingAccess Permission = "sending_access" // the mail routes
	EventsAccess  Permission = "events_access"  // posting events: the key to put into an application
	MetricsAccess Permission = "metrics_access" // reading the metrics: the key for a monitor
)

// Permissions lists every Permission.
func Permissions() []Permission {
	return []Permission{FullAccess, SendingAccess, EventsAccess, MetricsAccess}
}

// APIKey is a stored key. The token itself is shown once and not kept.
type APIKey struct {
	ID         ID         `json:"id"`
	Name       string     `json:"name"`
	Permission Permission `json:"permission"`
	Test       bool       `json:"test,omitempty"` // mail that it asks for is captured; see Event.Test
	Hash       []byte     `json:"hash"`           // SHA-256 of the token
	CreatedAt  time.Time  `json:"created_at"`
	ExpiresAt  time.Time  `json:"expires_at,omitzero"`
	LastUsedAt time.Time  `json:"last_used_at,omitzero"`
}

// Expired reports whether the key is no longer good at now.
func (k *APIKey) Expired(now time.Time) bool {
	return !k.ExpiresAt.IsZero() && !now.Before(k.ExpiresAt)
}

const (
	tokenPrefix = "os_"
	// TokenBytes is how much randomness a token holds: 200 bits.
	TokenBytes = 25
	sumBytes   = 5
)

// tokenCoding writes 5 bits a character, in lower case: 25 bytes and a sum of
// 5 make 48 characters without padding.
var tokenCoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// NewToken spells random bytes as an API token: "os_", the bytes, and a
// checksum that tells a typing error from an unknown key.
func NewToken(random [TokenBytes]byte) string {
	return tokenPrefix + tokenCoding.EncodeToString(append(random[:], tokenSum(random[:])...))
}

// HashToken returns the hash a token is stored under; false when the text
// cannot be a token of ours.
func HashToken(token string) ([]byte, bool) {
	text, ok := strings.CutPrefix(token, tokenPrefix)
	if !ok || len(text) != tokenCoding.EncodedLen(TokenBytes+sumBytes) {
		return nil, false
	}
	raw, err := tokenCoding.DecodeString(text)
	if err != nil || string(raw[TokenBytes:]) != string(tokenSum(raw[:TokenBytes])) {
		return nil, false
	}
	sum := sha256.Sum256([]byte(token))
	return sum[:], true
}

func tokenSum(random []byte) []byte {
	sum := binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(random))
	return append(sum, byte(len(random)))
}
