package server

import (
	"strings"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

func (s *Server) listRuns(r *request) (answer, error) {
	keep, err := runFilter(r.URL.Query().Get("status"))
	if err != nil {
		return answer{}, err
	}
	return respondList(r, func(tx *storage.Tx, page storage.Page) ([]*automations.Run, storage.Rest, error) {
		w, _, err := automation(tx, r)
		if err != nil {
			return nil, storage.Rest{}, err
		}
		return tx.Runs(w.ID, page, keep)
	}, func(run *automations.Run) wireRun { return renderRun(r, run) })
}

// runFilter reads a comma list of statuses. "running" finds all that is in
// flight.
func runFilter(list string) (func(*automations.Run) bool, error) {
	if list == "" {
		return nil, nil
	}
	var p automations.Problems
	wanted := map[automations.RunStatus]bool{}
	for word := range strings.SplitSeq(list, ",") {
		status := automations.RunStatus(strings.TrimSpace(word))
		oneOf(&p, "status", status, automations.RunStatuses())
		wanted[status] = true
	}
	if wanted[automations.RunRunning] {
		wanted[automations.RunQueued], wanted[automations.RunWaiting] = true, true
	}
	return func(run *automations.Run) bool { return wanted[run.Status] }, p.Err()
}

// wireMetrics counts an automation's runs by status.
type wireMetrics struct {
	Object       string                          `json:"object"`
	AutomationID automations.ID                  `json:"automation_id"`
	Total        int64                           `json:"total"`
	ByStatus     map[automations.RunStatus]int64 `json:"by_status"`
}

func (s *Server) runMetrics(r *request) (answer, error) {
	metrics := wireMetrics{Object: "automation_run_metrics"}
	err := s.db.View(func(tx *storage.Tx) error {
		w, _, err := automation(tx, r)
		if err != nil {
			return err
		}
		metrics.AutomationID = w.ID
		metrics.ByStatus = tx.RunCounts(w.ID)
		return nil
	})
	if err != nil {
		return answer{}, err
	}
	for _, n := range metrics.ByStatus {
		metrics.Total += n
	}
	return ok(metrics)
}

// runRef reads the run that the path names and makes sure that its automation
// exists.
func (s *Server) runRef(r *request) (ref automations.RunRef, err error) {
	if ref.WorkflowID, err = r.pathID("id", "automation"); err != nil {
		return ref, err
	}
	if ref.RunID, err = r.pathID("run", "run"); err != nil {
		return ref, err
	}
	err = s.db.View(func(tx *storage.Tx) error {
		_, err := tx.Workflow(ref.WorkflowID)
		return err
	})
	return ref, orNotFound(err, "automation", ref.WorkflowID.String())
}

// respondRun answers with a run as it is stored now.
func (s *Server) respondRun(r *request, ref automations.RunRef) (answer, error) {
	var detail wireRunDetail
	err := s.db.View(func(tx *storage.Tx) error {
		row, err := tx.Run(ref)
		if err != nil {
			return orNotFound(err, "run", ref.RunID.String())
		}
		revision, err := tx.Revision(ref.WorkflowID, row.Revision)
		if err != nil {
			return err
		}
		flow, err := automations.Compile(revision.Definition)
		if err != nil {
			return err
		}
		detail = renderRunDetail(r, row.Run, flow)
		return nil
	})
	if err != nil {
		return answer{}, err
	}
	return ok(detail)
}

func (s *Server) getRun(r *request) (answer, error) {
	ref, err := s.runRef(r)
	if err != nil {
		return answer{}, err
	}
	return s.respondRun(r, ref)
}

const maxReason = 255

// cancelRun takes an optional body {reason}.
func (s *Server) cancelRun(r *request) (answer, error) {
	ref, err := s.runRef(r)
	if err != nil {
		return answer{}, err
	}
	reason := "cancelled"
	if len(r.body) > 0 {
		f, err := r.fields()
		if err != nil {
			return answer{}, err
		}
		var p automations.Problems
		f.Unknown(&p, "reason")
		if text := f.String(&p, "reason"); text != "" {
			automations.CheckText(&p, "reason", text, maxReason)
			reason = text
		}
		if err := p.Err(); err != nil {
			return answer{}, err
		}
	}
	if _, err := s.engine.CancelRun(ref, reason, r.note); err != nil {
		return answer{}, orNotFound(err, "run", ref.RunID.String())
	}
	return s.respondRun(r, ref)
}

func (s *Server) retryRun(r *request) (answer, error) {
	ref, err := s.runRef(r)
	if err != nil {
		return answer{}, err
	}
	if _, err := s.engine.RetryRun(ref, r.note); err != nil {
		return answer{}, orNotFound(err, "run", ref.RunID.String())
	}
	return s.respondRun(r, ref)
}

func (s *Server) skipRunWait(r *request) (answer, error) {
	ref, err := s.runRef(r)
	if err != nil {
		return answer{}, err
	}
	if _, err := s.engine.SkipWait(ref, r.note); err != nil {
		return answer{}, orNotFound(err, "run", ref.RunID.String())
	}
	return s.respondRun(r, ref)
}
