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
	sweepRetry   = time.Minute // after an error, as of a disk that is full
)

// sweepLoop deletes records that are older than Config.Retention says. It
// sleeps until the oldest falls due. Before it believes a clock that was set, or
// that it starts with, it gives people an hour to set it right.
func (e *Engine) sweepLoop(ctx context.Context) error {
	wait, set := sweepSoonest, e.clock.setBy()
	for !pause(ctx, wait) {
		if by := e.clock.setBy(); (by - set).Abs() > time.Minute {
			e.log.Warn("the clock was set; nothing is deleted for an hour", "by", (by - set).Round(time.Second))
			wait, set = sweepSoonest, by
			continue
		}
		pass, err := e.sweep(ctx)
		if err != nil {
			if err := e.survive(ctx, "deleting old records", err); err != nil {
				return err
			}
			wait = sweepRetry
			continue
		}
		if pass.Deleted > 0 {
			e.log.Info("deleted old records", "records", pass.Deleted)
		}
		if wait = sweepLatest; !pass.Next.IsZero() {
			wait = min(max(pass.Next.Sub(e.clock.today()), sweepSoonest), sweepLatest)
		}
	}
	return nil
}

// pause waits, and reports whether ctx has ended.
func pause(ctx context.Context, wait time.Duration) (ended bool) {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return true
	case <-t.C:
		return false
	}
}

// sweep makes one pass, in transactions that others share. When ctx ends it
// stops where it stands.
func (e *Engine) sweep(ctx context.Context) (pass storage.Sweep, err error) {
	for !pass.Done && ctx.Err() == nil {
		var after storage.Sweep
		err := e.db.Update(func(tx *storage.Tx) (err error) {
			after, err = tx.SweepSome(pass, e.cfg.Retention, e.clock.today(), sweepRows)
			return err
		})
		if err != nil {
			return pass, err
		}
		pass = after
	}
	return pass, nil
}
