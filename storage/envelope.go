package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// format1 marks a body in the form that doc.go gives for its bucket.
const format1 = 1

const envelopeSize = 5

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// CorruptError says that a stored value is not what was written.
type CorruptError struct {
	Bucket string
	Key    []byte
}

func (e *CorruptError) Error() string {
	return "the data file is damaged: " + e.fault() + "; restore a backup"
}

func (e *CorruptError) fault() string {
	return fmt.Sprintf("a record in %s (key %x) fails its checksum", e.Bucket, e.Key)
}

// isDamage reports whether an error is about one record that cannot be read.
func isDamage(err error) bool {
	_, damaged := errors.AsType[*CorruptError](err)
	return damaged
}

// envelope is an empty envelope, with room for a body of the size: append that,
// then seal it.
func envelope(room int) []byte {
	return append(make([]byte, 0, envelopeSize+room), format1, 0, 0, 0, 0)
}

// seal binds a filled envelope to its key, so that neither a flipped bit nor a
// value under the wrong key goes unnoticed.
func seal(key, value []byte) []byte {
	binary.BigEndian.PutUint32(value[1:], checksum(value[0], key, value[envelopeSize:]))
	return value
}

// sealed is a body in its envelope.
func sealed(key, body []byte) []byte { return seal(key, append(envelope(len(body)), body...)) }

// open returns the body of an envelope without copying it; false when it is
// damaged or of an unknown format.
func open(key, value []byte) ([]byte, bool) {
	if len(value) < envelopeSize || value[0] != format1 {
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
