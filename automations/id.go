package automations

import (
	"strings"

	"github.com/google/uuid"
)

// ID names a stored thing: a UUIDv7, so that the order of keys in the file is
// the order of creation. Its text is lower case. The zero ID means none.
type ID = uuid.UUID

// ParseID reads the canonical 36-character text of an ID in any case.
// Anything else, the other spellings of a UUID included, is not an ID.
func ParseID(s string) (ID, bool) {
	if len(s) != 36 {
		return ID{}, false
	}
	id, err := uuid.Parse(strings.ToLower(s))
	return id, err == nil
}
