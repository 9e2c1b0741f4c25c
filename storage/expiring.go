package storage

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/opensend/opensend/automations"
)

// tiers are the lengths of the slots of time that expiring records lie in. A
// record goes into the shortest tier that is not shorter than its life, into
// the slot it is written in; so it is found in the present or the previous
// slot of some tier, and a slot is empty of living records one tier after its
// end.
var tiers = [...]time.Duration{5 * time.Minute, time.Hour, 24 * time.Hour, automations.MaxWindow}

// slotSize is the length of a slotKey.
const slotSize = 9

func slotKey(tier int, at time.Time, back int64) []byte {
	slot := at.UnixMilli()/tiers[tier].Milliseconds() - back
	return binary.BigEndian.AppendUint64([]byte{byte(tier)}, uint64(slot))
}

// findExpiring shows the bodies that the key has to lives, until one does:
// ErrNotFound when none does. One that has expired may lie before it, in the
// slot of another tier.
func (tx *Tx) findExpiring(b bucket, key []byte, now time.Time, lives func(body []byte) bool) error {
	for tier := range tiers {
		for back := range int64(2) {
			slot := tx.bucket(b).Bucket(slotKey(tier, now, back))
			if slot == nil {
				continue
			}
			if value := slot.Get(key); value != nil {
				body, ok := open(key, value)
				if !ok {
					return &CorruptError{Bucket: b.String(), Key: bytes.Clone(key)}
				}
				if lives(body) {
					return nil
				}
			}
		}
	}
	return ErrNotFound
}

func (tx *Tx) putExpiring(b bucket, key, body []byte, now time.Time, life time.Duration) error {
	tier := 0
	for tiers[tier] < life {
		tier++
	}
	if err := tx.writing(); err != nil {
		return err
	}
	slot, err := tx.bucket(b).CreateBucketIfNotExists(slotKey(tier, now, 0))
	if err != nil {
		return err
	}
	return slot.Put(key, sealed(key, body))
}

// DropExpired deletes up to limit slots whose records have all expired, and
// reports whether there may be more.
func (tx *Tx) DropExpired(now time.Time, limit int) (more bool, err error) {
	for _, b := range []bucket{dedupBucket, idempotencyBucket} {
		for tier := range tiers {
			first, end := []byte{byte(tier)}, slotKey(tier, now, 1)
			for key, _ := tx.bucket(b).Cursor().Seek(first); key != nil && bytes.Compare(key, end) < 0; {
				if limit == 0 {
					return true, nil
				}
				limit--
				if err := tx.writing(); err != nil {
					return false, err
				}
				if err := tx.bucket(b).DeleteBucket(bytes.Clone(key)); err != nil {
					return false, err
				}
				key, _ = tx.bucket(b).Cursor().Seek(first)
			}
		}
	}
	return false, nil
}

// Dedup is the mark that an event has started a run.
type Dedup struct {
	DeliveryID automations.ID
	Since      time.Time // when the window began
	Until      time.Time // when it ends; at this instant it is over
}

// DedupKey hashes what makes two events the same for one workflow. The parts
// may hold personal data, so the hash is keyed.
func (tx *Tx) DedupKey(workflow, contact automations.ID, parts ...string) []byte {
	mac := hmac.New(sha256.New, tx.db.secret)
	mac.Write(tuple(workflow, contact))
	for _, part := range parts {
		mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		mac.Write([]byte(part))
	}
	return mac.Sum(nil)
}

// Dedup finds the window that is open for the key at now; ErrNotFound when
// none is.
func (tx *Tx) Dedup(key []byte, now time.Time) (d Dedup, err error) {
	err = tx.findExpiring(dedupBucket, key, now, func(body []byte) bool {
		d = Dedup{DeliveryID: automations.ID(body), Since: millis(body[16:]), Until: millis(body[24:])}
		return !now.Before(d.Since) && now.Before(d.Until)
	})
	if err != nil {
		return Dedup{}, err
	}
	return d, nil
}

// AddDedup opens a window for the key.
func (tx *Tx) AddDedup(key []byte, d Dedup) error {
	return tx.putExpiring(dedupBucket, key, tuple(d.DeliveryID, d.Since, d.Until), d.Since, d.Until.Sub(d.Since))
}

// IdempotencyLife is how long an answer is kept for its Idempotency-Key.
const IdempotencyLife = 24 * time.Hour

// IdempotentAnswer is what was answered to a request with an Idempotency-Key.
type IdempotentAnswer struct {
	BodyHash  []byte    `json:"body_hash"` // SHA-256 of the request body
	Status    int       `json:"status"`
	Answer    []byte    `json:"answer"`
	CreatedAt time.Time `json:"created_at"`
}

// IdempotentAnswer finds the answer kept for a key at one door; ErrNotFound
// when there is none any more.
func (tx *Tx) IdempotentAnswer(door, key string, now time.Time) (a *IdempotentAnswer, err error) {
	k := idempotencyKey(door, key)
	missing := tx.findExpiring(idempotencyBucket, k, now, func(body []byte) bool {
		a, err = decode[IdempotentAnswer](idempotencyBucket, k, body)
		return err != nil || now.Sub(a.CreatedAt) < IdempotencyLife
	})
	if missing != nil {
		return nil, missing
	}
	return a, err
}

// AddIdempotentAnswer keeps an answer for its key.
func (tx *Tx) AddIdempotentAnswer(door, key string, a *IdempotentAnswer) error {
	body, err := json.Marshal(a)
	if err != nil {
		return err
	}
	return tx.putExpiring(idempotencyBucket, idempotencyKey(door, key), body, a.CreatedAt, IdempotencyLife)
}

func idempotencyKey(door, key string) []byte { return nameHash(string(tuple(door, key))) }

// dropAnswersNaming looks at the next rows of the kept answers, forgets those that
// name the address and were given before its erasure began, and tells where to
// go on: nil at the end.
func (tx *Tx) dropAnswersNaming(of *Erasure, rows int) (next []byte, err error) {
	m, b := of.mention(), tx.bucket(idempotencyBucket)
	var in, from []byte
	if of.Next != nil {
		in, from = of.Next[:slotSize], of.Next[slotSize:]
	}
	slots := b.Cursor()
	for name, _ := slots.Seek(in); name != nil && next == nil && err == nil; name, _ = slots.Next() {
		if !bytes.Equal(name, in) { // that one has expired, or was looked at
			from = nil
		}
		slot := b.Bucket(name)
		var keys [][]byte
		c := slot.Cursor()
		for k, v := c.Seek(from); k != nil; k, v = c.Next() {
			if rows == 0 {
				next = slices.Concat(name, k)
				break
			}
			rows--
			if of.isIn(m, k, v) {
				keys = append(keys, bytes.Clone(k))
			}
		}
		err = tx.deleteAll(slot, keys)
	}
	return next, err
}

// isIn reports whether a kept answer is one to forget. A damaged one expires.
func (of *Erasure) isIn(m automations.Mention, key, value []byte) bool {
	body, ok := open(key, value)
	if !ok {
		return false
	}
	a, err := decode[IdempotentAnswer](idempotencyBucket, key, body)
	return err == nil && m.Near(a.Answer) && m.InJSON(a.Answer) && !of.spares(automations.ID{}, a.CreatedAt)
}

func (tx *Tx) deleteAll(b *bolt.Bucket, keys [][]byte) error {
	for _, k := range keys {
		if err := tx.writing(); err != nil {
			return err
		}
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

// millis reads a time of a tuple.
func millis(b []byte) time.Time { return time.UnixMilli(int64(binary.BigEndian.Uint64(b))).UTC() }
