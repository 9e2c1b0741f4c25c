package engine

import (
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// quotaFor counts a mail that is to leave at the time, or refuses it when the
// day or the month is full. A test leaves at no time.
func (e *Engine) quotaFor(tx *storage.Tx, email *automations.Email, at time.Time) error {
	if email.Captures() {
		return nil
	}
	full := e.fullUntil(tx, at)
	if full == nil {
		return tx.CountMail(at)
	}
	return &automations.Error{Kind: automations.KindRateLimited, Code: full.code, Msg: full.msg, Wait: full.until.Sub(now())}
}

// giveQuotaBack undoes quotaFor of a mail that is not to leave when it was.
func giveQuotaBack(tx *storage.Tx, email *automations.Email) error {
	if email.Captures() {
		return nil
	}
	return tx.UncountMail(email.NextAttemptAt)
}

// nextFree counts a mail at the first time from at on that its quotas leave
// room for, and returns that time.
func (e *Engine) nextFree(tx *storage.Tx, at time.Time) (time.Time, error) {
	for {
		full := e.fullUntil(tx, at)
		if full == nil {
			return at, tx.CountMail(at)
		}
		at = full.until
	}
}

// quotaFull says which quota a day is over.
type quotaFull struct {
	code, msg string
	until     time.Time
}

// fullUntil tells when there is room again after the time; nil when there is
// room then.
func (e *Engine) fullUntil(tx *storage.Tx, at time.Time) *quotaFull {
	year, month, day := at.UTC().Date()
	today := time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
	if e.cfg.EmailsPerDay > 0 {
		if tx.MailCount(today, today.AddDate(0, 0, 1)) >= int64(e.cfg.EmailsPerDay) {
			return &quotaFull{"daily_quota_exceeded", "the mails that limits.emails_per_day allows are used up; try again after midnight UTC", today.AddDate(0, 0, 1)}
		}
	}
	if e.cfg.EmailsPerMonth > 0 {
		first := today.AddDate(0, 0, 1-day)
		if tx.MailCount(first, first.AddDate(0, 1, 0)) >= int64(e.cfg.EmailsPerMonth) {
			return &quotaFull{"monthly_quota_exceeded", "the mails that limits.emails_per_month allows are used up; try again next month", first.AddDate(0, 1, 0)}
		}
	}
	return nil
}
