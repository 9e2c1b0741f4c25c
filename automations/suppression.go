package automations

import "time"

// SuppressionOrigin says why an address must not be written to.
type SuppressionOrigin string

// The origins of a Suppression.
const (
	OriginBounce    SuppressionOrigin = "bounce"
	OriginComplaint SuppressionOrigin = "complaint"
	OriginManual    SuppressionOrigin = "manual"
)

// SuppressionOrigins lists every SuppressionOrigin.
func SuppressionOrigins() []SuppressionOrigin {
	return []SuppressionOrigin{OriginBounce, OriginComplaint, OriginManual}
}

// Suppression keeps mail from an address, whatever contact it belongs to. It
// outlives the contact: once that is erased only the hash of the address is
// left.
type Suppression struct {
	ID        ID                `json:"id"`
	Hash      []byte            `json:"hash"`            // keyed hash of the address
	Email     string            `json:"email,omitempty"` // empty once the contact is erased
	Origin    SuppressionOrigin `json:"origin"`
	SourceID  ID                `json:"source_id,omitzero"` // the mail that bounced or was complained of
	CreatedAt time.Time         `json:"created_at"`
}
