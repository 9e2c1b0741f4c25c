package server

import (
	"crypto/sha256"
	"strings"
	"unicode"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/engine"
	"github.com/opensend/opensend/storage"
)

const maxIdempotentKey = 256

// answerOnce does what a request asks for and answers with its result, once
// for each Idempotency-Key of the door: a repeat gets the kept answer, byte for
// byte. Test keys have doors of their own.
func answerOnce[T any](r *request, door string, render func(T) (int, any), do func(*engine.Idempotency[T]) (T, *storage.IdempotentAnswer, error)) (answer, error) {
	key, err := r.idempotencyKey()
	if err != nil {
		return answer{}, err
	}
	raw := func(result T) (int, []byte) {
		status, body := render(result)
		return status, encode(body)
	}
	var idem *engine.Idempotency[T]
	if key != "" {
		if r.test {
			door += " test"
		}
		slot := [2]string{door, key}
		if _, busy := r.server.inFlight.LoadOrStore(slot, true); busy {
			return answer{}, automations.Errorf(automations.KindKeyConflict, "idempotency_conflict", "a request with this Idempotency-Key is still under way; wait for its answer")
		}
		defer r.server.inFlight.Delete(slot)
		hash := sha256.Sum256(r.body)
		idem = &engine.Idempotency[T]{Door: door, Key: key, BodyHash: hash[:], Render: raw}
	}
	result, replayed, err := do(idem)
	if err != nil {
		return answer{}, err
	}
	if replayed != nil {
		return answer{status: replayed.Status, raw: replayed.Answer, header: map[string]string{"Idempotent-Replayed": "true"}}, nil
	}
	status, body := raw(result)
	return answer{status: status, raw: body}, nil
}

// idempotencyKey reads the header; empty when there is none.
func (r *request) idempotencyKey() (string, error) {
	keys, sent := r.Header["Idempotency-Key"]
	if !sent {
		return "", nil
	}
	if n := len(keys[0]); n < 1 || n > maxIdempotentKey || strings.ContainsFunc(keys[0], func(c rune) bool { return !unicode.IsPrint(c) }) {
		return "", automations.Errorf(automations.KindKeyInvalid, "", "the Idempotency-Key must have 1 to %d printable characters", maxIdempotentKey)
	}
	return keys[0], nil
}
