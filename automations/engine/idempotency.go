package engine

import (
	"bytes"
	"errors"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// Idempotency asks that a request take effect once: the answer to its result T
// is kept, in the transaction of the effect, and given again for the same key.
type Idempotency[T any] struct {
	Door     string // keys of different doors have nothing to do with each other
	Key      string // 1..256 printable characters
	BodyHash []byte // SHA-256 of the request body
	// Render makes the answer to keep. An answer of 400 and above is not kept.
	Render func(T) (status int, body []byte)
}

// once does something in a transaction, unless it was done for the same key
// before: then replayed is the answer of then. idem may be nil. The result is
// set only when this call did it.
func once[T any](e *Engine, idem *Idempotency[T], do func(*storage.Tx) (T, error)) (result T, replayed *storage.IdempotentAnswer, err error) {
	var none, done T
	err = e.db.Intake(func(tx *storage.Tx) error {
		done, replayed = none, nil
		if replayed, err = idem.replay(tx, e); err != nil || replayed != nil {
			return err
		}
		if done, err = do(tx); err != nil {
			return err
		}
		return idem.keep(tx, e, done)
	})
	if err != nil {
		e.noteFull(err)
		return none, nil, err
	}
	return done, replayed, nil
}

// noteFull tells the operator, once a minute, that callers are turned away.
func (e *Engine) noteFull(err error) {
	refused, ok := errors.AsType[*automations.Error](err)
	if !ok || refused.Code != storage.CodeFull {
		return
	}
	last, now := e.toldFull.Load(), time.Now().UnixMilli()
	if time.Duration(now-last)*time.Millisecond >= time.Minute && e.toldFull.CompareAndSwap(last, now) {
		e.log.Error("there is no room for new events and mail, and they are refused: free disk space, raise storage.max_size or keep less by retention")
	}
}

func (idem *Idempotency[T]) replay(tx *storage.Tx, e *Engine) (*storage.IdempotentAnswer, error) {
	if idem == nil {
		return nil, nil
	}
	kept, err := tx.IdempotentAnswer(idem.Door, idem.Key, e.clock.now())
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil
	}
	if err == nil && !bytes.Equal(kept.BodyHash, idem.BodyHash) {
		return nil, automations.Errorf(automations.KindKeyConflict, "idempotency_conflict",
			"this Idempotency-Key was used for a different body; use a new key for a new request")
	}
	return kept, err
}

func (idem *Idempotency[T]) keep(tx *storage.Tx, e *Engine, result T) error {
	if idem == nil {
		return nil
	}
	status, body := idem.Render(result)
	if status >= 400 {
		return nil
	}
	return tx.AddIdempotentAnswer(idem.Door, idem.Key, &storage.IdempotentAnswer{
		BodyHash: idem.BodyHash, Status: status, Answer: body, CreatedAt: e.clock.now(),
	})
}
