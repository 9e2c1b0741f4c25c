package storage

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// formatJSON marks a body that is JSON of a noun, an id, a number or nothing.
const formatJSON = 1

const envelopeSize = 5

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// CorruptError says that a stored value is not what was written.
type CorruptError struct {
	Bucket string
	Key    []byte
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("the data file is damaged: a record in %s (key %x) fails its checksum; restore a backup", e.Bucket, e.Key)
}

// seal puts body into an envelope bound to its key, so that neither a flipped
// bit nor a value under the wrong key goes unnoticed.
func seal(key, body []byte) []byte {
	out := make([]byte, envelopeSize+len(body))
	out[0] = formatJSON
	copy(out[envelopeSize:], body)
	binary.BigEndian.PutUint32(out[1:], checksum(out[0], key, body))
	return out
}

// open returns the body of an envelope without copying it; false when it is
// damaged or of an unknown format.
func open(key, value []byte) ([]byte, bool) {
	if len(value) < envelopeSize || value[0] != formatJSON {
		return nil, false
	}
	body := value[envelopeSize:]
	return body, binary.BigEndian.Uint32(value[1:]) == checksum(value[0], key, body)
}

func checksum(format byte, key, body []byte) uint32 {
	sum := crc32.Update(0, castagnoli, []byte{format})
	sum = crc32.Update(sum, castagnoli, key)
	return crc32.Update(sum, castagnoli, body)
}
