package server

import (
	"errors"
	"net/http"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/engine"
	"github.com/opensend/opensend/automations/inbound"
	"github.com/opensend/opensend/storage"
)

// wireReport is what was told of a mail to one recipient.
type wireReport struct {
	Kind          automations.ReportKind `json:"kind"`
	Address       string                 `json:"address"`
	NoSuchAddress bool                   `json:"no_such_address"`
	Status        *string                `json:"status"` // RFC 3463
	Text          *string                `json:"text"`
	Source        string                 `json:"source"`
	At            wireTime               `json:"at"`
}

func renderReport(r automations.Report) wireReport {
	return wireReport{r.Kind, r.Address, r.NoSuchAddress, orNull(r.Status), orNull(r.Text), r.Source, wireTime(r.At)}
}

func renderReports(reports []automations.Report) []wireReport {
	return listOf(reports, storage.Rest{}, renderReport).Data
}

// wireReportResult is a report with what became of it.
type wireReportResult struct {
	Object string `json:"object"`
	wireReport
	Outcome engine.ReportOutcome `json:"outcome"`
	EmailID *automations.ID      `json:"email_id"` // null when it is about no mail of ours
}

func renderReportResults(results []engine.ReportResult) wireList[wireReportResult] {
	return listOf(results, storage.Rest{}, func(r engine.ReportResult) wireReportResult {
		return wireReportResult{"mail_report", renderReport(r.Report), r.Outcome, idOrNull(r.EmailID)}
	})
}

// receiveReport takes a delivery report or a complaint as it came by mail.
func (s *Server) receiveReport(r *request) (answer, error) {
	reports, err := inbound.Parse(r.body)
	if err != nil {
		return answer{}, err
	}
	results, _, err := s.engine.Report(reports, nil)
	if err != nil {
		return answer{}, err
	}
	return ok(renderReportResults(results))
}

func (s *Server) receiveSES(r *request) (answer, error) {
	d, err := s.providers.SES(r.Context(), r.body, r.now)
	return s.receive(r, d, err)
}

// receivePostmark takes the secret as the password of basic authentication or,
// for those who cannot send that, from the address.
func (s *Server) receivePostmark(r *request) (answer, error) {
	_, secret, found := r.BasicAuth()
	if !found {
		secret = r.URL.Query().Get("secret")
	}
	d, err := s.providers.Postmark(secret, r.body)
	return s.receive(r, d, err)
}

func (s *Server) receiveMailgun(r *request) (answer, error) {
	d, err := s.providers.Mailgun(r.body, r.now)
	return s.receive(r, d, err)
}

// receive does what a provider's webhook says, once for each key that it has.
func (s *Server) receive(r *request, d inbound.Delivery, err error) (answer, error) {
	if err != nil {
		return answer{}, err
	}
	var idem *engine.Idempotency[[]engine.ReportResult]
	if d.Key != "" {
		idem = &engine.Idempotency[[]engine.ReportResult]{
			Door: r.URL.Path, Key: d.Key, BodyHash: d.Hash,
			Render: func(results []engine.ReportResult) (int, []byte) {
				return http.StatusOK, encode(renderReportResults(results))
			},
		}
	}
	results, replayed, err := s.engine.Report(d.Reports, idem)
	if refused, isOurs := errors.AsType[*automations.Error](err); isOurs && refused.Kind == automations.KindKeyConflict {
		return answer{}, automations.Errorf(automations.KindConflict, "webhook_replayed", "a webhook with this signature has been taken, and it said something else")
	}
	if err != nil {
		return answer{}, err
	}
	if replayed != nil {
		return answer{status: replayed.Status, raw: replayed.Answer, header: map[string]string{"Idempotent-Replayed": "true"}}, nil
	}
	return ok(renderReportResults(results))
}
