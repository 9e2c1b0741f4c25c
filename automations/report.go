package automations

import (
	"slices"
	"time"
)

// ReportKind says what is told of a mail after a mail server has taken it.
type ReportKind string

// The kinds of reports.
const (
	ReportDelayed    ReportKind = "delayed"    // not delivered so far; the servers go on trying
	ReportBounced    ReportKind = "bounced"    // it will not be delivered
	ReportComplained ReportKind = "complained" // the recipient calls it spam
)

// Report is what a mail server or a provider says of a mail to one recipient,
// after the mail has left.
type Report struct {
	Kind          ReportKind `json:"kind"`
	Address       string     `json:"address"`                   // of the recipient, as its identity
	NoSuchAddress bool       `json:"no_such_address,omitempty"` // it bounced for good because the address does not exist
	Status        string     `json:"status,omitempty"`          // RFC 3463, such as 5.1.1
	Text          string     `json:"text,omitempty"`            // in the words of who reports
	Source        string     `json:"source"`                    // who reports: dsn, arf, ses, postmark or mailgun
	At            time.Time  `json:"at"`                        // when it came
}

// Suppresses reports whether the address must not be written to any more:
// after a complaint, and when it does not exist. Whatever may pass, as a full
// mailbox, and what is about the mail or its sender suppresses nothing.
func (r Report) Suppresses() bool { return r.Kind == ReportComplained || r.NoSuchAddress }

// Origin is the origin of the suppression that follows.
func (r Report) Origin() SuppressionOrigin {
	if r.Kind == ReportComplained {
		return OriginComplaint
	}
	return OriginBounce
}

// MaxReports is how many reports a mail keeps.
const MaxReports = 50

// Note keeps a report with its mail, unless it says nothing new or there are
// too many, which it reports.
func (e *Email) Note(r Report) bool {
	known := slices.ContainsFunc(e.Reports, func(k Report) bool {
		return k.Kind == r.Kind && k.Address == r.Address && k.NoSuchAddress == r.NoSuchAddress && k.Status == r.Status
	})
	if known || len(e.Reports) >= MaxReports {
		return false
	}
	e.Reports = append(e.Reports, r)
	return true
}

// LastReport is the gravest thing reported of the mail: a complaint before a
// bounce before a delay, the newest of these; nil when nothing is.
func (e *Email) LastReport() *Report {
	var last *Report
	for _, kind := range []ReportKind{ReportDelayed, ReportBounced, ReportComplained} {
		for i := range e.Reports {
			if e.Reports[i].Kind == kind {
				last = &e.Reports[i]
			}
		}
	}
	return last
}

// Left reports whether the mail server took the mail for the address, given as
// its identity, or may have.
func (e *Email) Left(identity string) bool {
	for _, s := range e.Settled {
		if s.Address == identity {
			return s.Status == EmailSent
		}
	}
	switch e.Status {
	case EmailSent, EmailSending, EmailUnconfirmed:
		return e.Names(identity)
	}
	return false
}

// OnlyRecipient is the one address that the mail is for; empty when there are
// several, or none any more.
func (e *Email) OnlyRecipient() string {
	all := Email{To: e.To, CC: e.CC, BCC: e.BCC}
	if addresses := all.Recipients(); len(addresses) == 1 {
		return addresses[0]
	}
	return ""
}
