package engine

import (
	"context"
	"log/slog"

	"github.com/opensend/opensend/automations"
)

// logRuns tells what became of runs, once that is on disk: of failed ones always,
// of others to a log of every detail. Each line names the event that started the
// run; by it the lines of its request, its mail and the run itself belong
// together.
func (e *Engine) logRuns(what string, runs ...*automations.Run) {
	detailed := e.log.Enabled(context.Background(), slog.LevelDebug)
	for _, r := range runs {
		if r.Status == automations.RunFailed {
			e.log.Warn("run failed", "event", r.TriggerEventID, "run", r.ID, "automation", r.WorkflowID, "step", r.FailedStep, "reason", r.FailureReason)
		} else if detailed {
			e.log.Debug(what, "event", r.TriggerEventID, "run", r.ID, "automation", r.WorkflowID, "status", r.Status, "step", r.CurrentStep)
		}
	}
}
