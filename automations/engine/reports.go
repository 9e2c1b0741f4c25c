package engine

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/inbound"
	"github.com/opensend/opensend/automations/mail"
	"github.com/opensend/opensend/storage"
)

// ReportOutcome says what became of a report.
type ReportOutcome string

// The outcomes of a report.
const (
	ReportSuppressed ReportOutcome = "suppressed" // kept with its mail, and the address gets no more
	ReportRecorded   ReportOutcome = "recorded"   // kept with its mail
	ReportKnown      ReportOutcome = "known"      // the mail has it already, or has enough
	ReportUnmatched  ReportOutcome = "unmatched"  // about no mail that was sent to that address; nothing was done
)

// ReportResult is a report with what became of it.
type ReportResult struct {
	automations.Report
	Outcome ReportOutcome
	EmailID automations.ID // zero when it is unmatched
}

// lookBack is how many of the newest mails are looked at for a report that
// names no Message-ID.
const lookBack = 20_000

// Report keeps what was told of mail with the mail, and suppresses the addresses
// that do not exist or complain, but not the operator's own for what was told of
// an alert. A report that does not prove to be about a
// mail that was sent to the address changes nothing: anybody can write one.
func (e *Engine) Report(reports []inbound.Report, idem *Idempotency[[]ReportResult]) ([]ReportResult, *storage.IdempotentAnswer, error) {
	likely, err := e.likelyMails(reports)
	if err != nil {
		return nil, nil, err
	}
	results, replayed, err := once(e, idem, func(tx *storage.Tx) ([]ReportResult, error) {
		results := make([]ReportResult, len(reports))
		for i, r := range reports {
			var err error
			if results[i], err = keepReport(tx, r, likely[i]); err != nil {
				return nil, err
			}
		}
		return results, nil
	})
	for _, r := range results {
		e.log.Info("report on mail", "kind", r.Kind, "source", r.Source, "outcome", r.Outcome, "email", r.EmailID, "status", r.Status)
	}
	return results, replayed, err
}

// likelyMails finds, for each report of a provider that names no Message-ID, a
// mail by the address: the one that the provider's own id stands in the reply
// to, or the newest. It is no part of the writing transaction, which would keep
// others waiting.
func (e *Engine) likelyMails(reports []inbound.Report) ([]automations.ID, error) {
	found := make([]automations.ID, len(reports))
	return found, e.db.View(func(tx *storage.Tx) error {
		for i, r := range reports {
			if !r.Signed || len(r.MessageIDs) > 0 || len(r.Recipients) == 0 {
				continue
			}
			to := r.Recipients[0]
			err := tx.EmailsTo(to, lookBack, func(email *automations.Email) bool {
				named := r.ProviderID != "" && strings.Contains(email.LastReply, r.ProviderID)
				if email.Left(to) && (named || found[i] == automations.ID{}) {
					found[i] = email.ID
				}
				return !named && (r.ProviderID != "" || found[i] == automations.ID{})
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// keepReport keeps one report with the mail that it names, or the one that it
// is likely about.
func keepReport(tx *storage.Tx, r inbound.Report, likely automations.ID) (ReportResult, error) {
	result := ReportResult{Report: r.Report, Outcome: ReportUnmatched}
	result.At = now()
	if len(r.Recipients) > 0 {
		result.Address = r.Recipients[0]
	}
	row, err := reportedMail(tx, r, likely)
	if err != nil || row == nil {
		return result, err
	}
	address := reportedAddress(row.Email, r)
	if address == "" {
		return result, nil
	}
	result.Address, result.EmailID, result.Outcome = address, row.ID, ReportKnown
	if !row.Note(result.Report) {
		return result, nil
	}
	result.Outcome = ReportRecorded
	if err := tx.SaveEmail(row); err != nil {
		return result, err
	}
	if result.Suppresses() && !row.Alert {
		result.Outcome = ReportSuppressed
		_, created, err := tx.Suppress(&automations.Suppression{ID: newID(), Email: address, Origin: result.Origin(), SourceID: row.ID, CreatedAt: result.At})
		if err != nil || created { // webhooks are told with the suppression
			return result, err
		}
	}
	return result, tx.TellReport(row.Email, result.Report)
}

// reportedMail is the mail whose Message-ID the report names, or the likely one;
// nil when it is neither.
func reportedMail(tx *storage.Tx, r inbound.Report, likely automations.ID) (*storage.EmailRow, error) {
	for _, messageID := range r.MessageIDs {
		id, ok := mail.ParseMessageID(messageID)
		if !ok {
			continue
		}
		row, err := tx.Email(id)
		if err == nil && strings.EqualFold(row.MessageID, messageID) {
			return row, nil
		}
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			return nil, err
		}
	}
	row, err := tx.Email(likely)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil
	}
	return row, err
}

// reportedAddress is the recipient of the mail that the report is about; empty
// when the mail was not sent to any that it may be.
func reportedAddress(e *automations.Email, r inbound.Report) string {
	candidates := r.Recipients
	if len(candidates) == 0 {
		candidates = []string{e.OnlyRecipient()}
	}
	for _, address := range candidates {
		if e.Left(address) {
			return address
		}
	}
	return ""
}

// Fetch gets an https address of the public Internet, whatever private networks
// webhooks may be in. The error may be shown to users.
func (e *Engine) Fetch(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	status, body, err := e.public.do(req)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("the answer was %d", status)
	}
	return body, err
}
