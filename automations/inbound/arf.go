package inbound

import (
	"strings"

	"github.com/emersion/go-message/textproto"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/mail"
)

// complaints reads the fields of a feedback report (RFC 5965, section 3). Many
// providers leave out who complains.
func complaints(fields textproto.Header) []Report {
	kind := strings.ToLower(strings.TrimSpace(fields.Get("Feedback-Type")))
	if !isComplaint(kind) {
		return nil
	}
	said := "feedback of type " + kind
	if who := strings.TrimSpace(fields.Get("User-Agent")); who != "" {
		said += " from " + who
	}
	report := automations.Report{Kind: automations.ReportComplained, Source: "arf", Text: mail.Printable(said)}
	var reports []Report
	for _, text := range fields.Values("Original-Rcpt-To") {
		if to := identities(text); to != nil && len(reports) < maxRecipients {
			reports = append(reports, Report{Report: report, Recipients: to})
		}
	}
	if reports == nil {
		return []Report{{Report: report}}
	}
	return reports
}

// isComplaint tells the types of feedback by which a recipient wants no more
// mail. What servers find (auth-failure, dmarc) and what says that a mail was
// wanted after all (not-spam) are none.
func isComplaint(kind string) bool {
	switch kind {
	case "abuse", "fraud", "virus", "opt-out", "opt-out-list":
		return true
	}
	return false
}
