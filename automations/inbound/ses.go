package inbound

import (
	"strings"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/mail"
)

// sesMessage is what SES publishes: notifications, or events of a configuration
// set, which are the same but for the name of their type.
type sesMessage struct {
	NotificationType, EventType string
	Mail                        struct {
		MessageID     string
		Headers       []struct{ Name, Value string }
		CommonHeaders struct{ MessageID string }
	}
	Bounce struct {
		BounceType, BounceSubType string
		BouncedRecipients         []sesRecipient
	}
	Complaint struct {
		ComplainedRecipients  []sesRecipient
		ComplaintFeedbackType string
	}
	DeliveryDelay struct{ DelayedRecipients []sesRecipient }
}

type sesRecipient struct{ EmailAddress, Status, DiagnosticCode string }

func (r sesRecipient) outcome() outcome {
	return outcome{status: r.Status, words: afterType(r.DiagnosticCode)}
}

// sesReports reads what SES says; nothing when it is about something else, as
// the words with which it tries a topic out.
func sesReports(text []byte) (reports []Report) {
	var m sesMessage
	if !decode(text, &m) {
		return nil
	}
	add := func(r automations.Report, recipient sesRecipient) {
		if to := identities(recipient.EmailAddress); to != nil && len(reports) < maxRecipients {
			reports = append(reports, Report{Report: r, Recipients: to, MessageIDs: m.messageIDs(), Signed: true, ProviderID: m.Mail.MessageID})
		}
	}
	switch m.NotificationType + m.EventType {
	case "Bounce":
		permanent := m.Bounce.BounceType == "Permanent"
		gone := m.Bounce.BounceSubType == "NoEmail" || m.Bounce.BounceSubType == "Suppressed" // it bounced before, by SES's own list
		for _, recipient := range m.Bounce.BouncedRecipients {
			r := recipient.outcome().report(automations.ReportBounced, "ses")
			r.NoSuchAddress = permanent && (gone || r.NoSuchAddress)
			add(r, recipient)
		}
	case "Complaint":
		if m.Complaint.ComplaintFeedbackType == "not-spam" {
			return nil
		}
		for _, recipient := range m.Complaint.ComplainedRecipients {
			add(automations.Report{Kind: automations.ReportComplained, Source: "ses", Text: mail.Printable(m.Complaint.ComplaintFeedbackType)}, recipient)
		}
	case "DeliveryDelay":
		for _, recipient := range m.DeliveryDelay.DelayedRecipients {
			add(recipient.outcome().report(automations.ReportDelayed, "ses"), recipient)
		}
	}
	return reports
}

// messageIDs is the Message-ID that the mail had when SES took it. SES gives it
// another, and has the first only where it is told to keep original headers.
func (m *sesMessage) messageIDs() []string {
	id := m.Mail.CommonHeaders.MessageID
	for _, h := range m.Mail.Headers {
		if id == "" && strings.EqualFold(h.Name, "Message-ID") {
			id = h.Value
		}
	}
	return messageID.FindAllString(id, 1)
}
