package server

import "github.com/opensend/opensend/automations"

// wireHealth is the body of /healthz and /readyz.
type wireHealth struct {
	Status string `json:"status"`
}

// health answers as long as the process does.
func (s *Server) health(r *request) (answer, error) {
	return ok(wireHealth{Status: "ok"})
}

// ready answers 200 when the file takes writes and runs are not overdue, and
// 503 while the server stops. A held server takes events and sends nothing.
func (s *Server) ready(r *request) (answer, error) {
	if s.stopping.Load() {
		return answer{}, automations.Errorf(automations.KindUnavailable, "stopping", "the server is stopping")
	}
	if err := s.engine.Ready(); err != nil {
		s.log.Warn("not ready", "error", err)
		return answer{}, automations.Errorf(automations.KindUnavailable, "not_ready", "the server cannot take work now; see its log")
	}
	if s.engine.Held() != nil {
		return ok(wireHealth{Status: "held"})
	}
	return ok(wireHealth{Status: "ready"})
}
