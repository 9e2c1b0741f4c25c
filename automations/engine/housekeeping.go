package engine

import (
	"context"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

const (
	eraseRows      = 2000             // looked at in one transaction
	eraseWait      = 5 * time.Second  // how long a deletion waits for its erasure
	dropMembers    = 250              // taken out of a deleted segment in one transaction
	expireEvery    = 10 * time.Minute // expired deduplication and idempotency records are deleted this often
	expireAtATime  = 4                // slots deleted in one transaction
	eraseRetryTime = time.Minute
)

// DeleteContact deletes a contact, cancels its runs and erases what other
// records say about it. Large files take longer than this waits: the rest is
// done in the background, and goes on after a restart.
func (e *Engine) DeleteContact(id automations.ID, notes ...Note) error {
	err := e.update(notes, func(tx *storage.Tx) error { return tx.DeleteContact(id) })
	if err != nil {
		return err
	}
	_, err = e.forAWhile(e.eraseSome)
	return err
}

// EraseAddress erases everything about a normalised address, whether a contact
// has it or not, but the hash that keeps it suppressed. When it has not
// finished in a few seconds it says so: the rest is done in the background,
// and by calling it again.
func (e *Engine) EraseAddress(email string, notes ...Note) (finished bool, err error) {
	err = e.update(notes, func(tx *storage.Tx) error { return tx.EraseAddress(email, newID()) })
	if err != nil {
		return false, err
	}
	return e.forAWhile(e.eraseSome)
}

// DeleteSegment deletes a segment and takes its contacts out of it. Many take
// longer than this waits, and none can be taken out while the file is full: the
// rest is done in the background, and goes on after a restart.
func (e *Engine) DeleteSegment(id automations.ID, notes ...Note) error {
	if err := e.update(notes, func(tx *storage.Tx) error { return tx.DeleteSegment(id) }); err != nil {
		return err
	}
	if _, err := e.forAWhile(e.dropSomeMembers); err != nil {
		kick(e.eraseKick)
	}
	return nil
}

func (e *Engine) dropSomeMembers() (more bool, err error) {
	err = e.db.Update(func(tx *storage.Tx) (err error) {
		more, err = tx.DropMembers(dropMembers)
		return err
	})
	return more, err
}

// forAWhile repeats a step of a deletion until nothing is left to it. What takes
// too long is left to eraseLoop.
func (e *Engine) forAWhile(step func() (more bool, err error)) (finished bool, err error) {
	for started := time.Now(); time.Since(started) < eraseWait; {
		if more, err := step(); err != nil || !more {
			return !more, err
		}
	}
	kick(e.eraseKick)
	return false, nil
}

func (e *Engine) eraseSome() (more bool, err error) {
	err = e.db.Update(func(tx *storage.Tx) (err error) {
		more, err = tx.EraseSome(now(), eraseRows)
		return err
	})
	if more {
		kick(e.wakeKick) // runs of others may go on without a mail that is gone
	}
	return more, err
}

// eraseLoop finishes erasures, and deletions of segments, that were left
// unfinished.
func (e *Engine) eraseLoop(ctx context.Context) error {
	for {
		more, err := e.eraseSome()
		if err == nil && !more {
			more, err = e.dropSomeMembers()
		}
		switch {
		case err != nil:
			if err := e.survive(ctx, "finishing a deletion", err); err != nil {
				return err
			}
			if sleep(ctx, e.eraseKick, time.Now().Add(eraseRetryTime)) {
				return nil
			}
		case !more && sleep(ctx, e.eraseKick, time.Time{}):
			return nil
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}

// expireLoop deletes deduplication and idempotency records that have expired.
func (e *Engine) expireLoop(ctx context.Context) error {
	ticker := time.NewTicker(expireEvery)
	defer ticker.Stop()
	for {
		var more bool
		err := e.db.Update(func(tx *storage.Tx) (err error) {
			more, err = tx.DropExpired(e.clock.now(), expireAtATime)
			return err
		})
		if err != nil {
			if err := e.survive(ctx, "deleting expired records", err); err != nil {
				return err
			}
		}
		if more && ctx.Err() == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}
