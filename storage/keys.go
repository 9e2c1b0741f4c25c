package storage

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"time"

	"github.com/opensend/opensend/automations"
)

// tuple builds a key from parts: ids, times and numbers have a fixed width,
// strings carry their length, byte slices (hashes) are of a length the bucket
// fixes.
func tuple(parts ...any) []byte {
	key := make([]byte, 0, 64)
	for _, part := range parts {
		switch p := part.(type) {
		case automations.ID:
			key = append(key, p[:]...)
		case automations.RunRef:
			key = append(append(key, p.WorkflowID[:]...), p.RunID[:]...)
		case time.Time:
			key = binary.BigEndian.AppendUint64(key, uint64(p.UnixMilli()))
		case int:
			key = binary.BigEndian.AppendUint32(key, uint32(p))
		case string:
			key = binary.BigEndian.AppendUint16(key, uint16(len(p)))
			key = append(key, p...)
		case []byte:
			key = append(key, p...)
		default:
			panic("storage: a key has no parts of this type")
		}
	}
	return key
}

// splitTime takes a leading time off a key.
func splitTime(key []byte) (time.Time, []byte) {
	return time.UnixMilli(int64(binary.BigEndian.Uint64(key))).UTC(), key[8:]
}

// splitRef takes a leading workflow and run off a key.
func splitRef(key []byte) (automations.RunRef, []byte) {
	return automations.RunRef{WorkflowID: automations.ID(key[:16]), RunID: automations.ID(key[16:32])}, key[32:]
}

// nameHash is what a name of any size and case is looked up by.
func nameHash(name string) []byte {
	sum := sha256.Sum256([]byte(name))
	return sum[:]
}

// waitHash is nameHash without case, shortened: whoever finds a row compares
// the names themselves.
func waitHash(name string) []byte { return nameHash(strings.ToLower(name))[:16] }
