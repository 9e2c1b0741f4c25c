package engine

import (
	"context"
	"time"

	"github.com/opensend/opensend/storage"
)

const (
	// sweepRows is how many records one transaction looks at. Each deletes two
	// keys at most, so that it succeeds on a disk that is nearly full.
	sweepRows = 250
	// Passes are at least an hour apart, and at most a day: then what was passed
	// over because a run needed it is looked at again.
	sweepSoonest = time.Hour
	sweepLatest  = 24 * time.Hour
)

// sweepLoop deletes records that are older than Config.Retention says. It
// sleeps until the oldest falls due.
func (e *Engine) sweepLoop(ctx context.Context) error {
	for {
		pass, err := e.sweep(ctx)
		if err != nil {
			if err := e.survive(ctx, "deleting old records", err); err != nil {
				return err
			}
			continue
		}
		if pass.Deleted > 0 {
			e.log.Info("deleted old records", "records", pass.Deleted)
		}
		wait := sweepLatest
		if !pass.Next.IsZero() {
			wait = min(max(time.Until(pass.Next), sweepSoonest), sweepLatest)
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-t.C:
		}
	}
}

// sweep makes one pass, in transactions that others share. When ctx ends it
// stops where it stands.
func (e *Engine) sweep(ctx context.Context) (pass storage.Sweep, err error) {
	for !pass.Done && ctx.Err() == nil {
		var after storage.Sweep
		err := e.db.Update(func(tx *storage.Tx) (err error) {
			after, err = tx.SweepSome(pass, e.cfg.Retention, now(), sweepRows)
			return err
		})
		if err != nil {
			return pass, err
		}
		pass = after
	}
	return pass, nil
}
