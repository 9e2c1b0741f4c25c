package automations

import (
	"strings"
	"time"
)

// Change is one line of the log of who changed what. It holds nothing of what
// was sent, and no address of a contact.
type Change struct {
	ID     ID        `json:"id"`
	At     time.Time `json:"at"`
	By     string    `json:"by"` // "user NAME", "key NAME", or "command"
	KeyID  ID        `json:"key_id,omitzero"`
	Method string    `json:"method"`
	Route  string    `json:"route"` // as the API describes it, such as /contacts/{id}
	Path   string    `json:"path"`  // as it was asked for; see ChangePath
}

// ChangePath is a path as the log keeps it: without addresses, which would
// outlive the erasure of those whom they belong to.
func ChangePath(path string) string {
	parts := strings.Split(path, "/")
	for i, part := range parts {
		if strings.Contains(part, "@") {
			parts[i] = "[address]"
		}
	}
	return strings.Join(parts, "/")
}
