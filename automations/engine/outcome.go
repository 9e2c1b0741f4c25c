package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/mail"
)

const (
	firstRetry = 30 * time.Second
	lastRetry  = time.Hour
)

// result sets a mail's status after an attempt to reach the recipients in to.
func (e *Engine) result(email *automations.Email, to []string, reply mail.Reply, err error) {
	if err == nil {
		e.taken(email, to, reply)
		return
	}
	email.LastError = err.Error()
	unconfirmed := classOf(err) == mail.Unknown && !e.cfg.ResendUnconfirmed
	if len(to) > 1 { // the others may still get it
		email.Settled = append(email.Settled, turnedDown(reply, unconfirmed)...)
	}
	switch {
	case classOf(err) == mail.Permanent:
		giveUp(email)
	case unconfirmed:
		email.Status = automations.EmailUnconfirmed
	default:
		e.retryLater(email)
	}
	e.log.Warn("mail not sent", "email", email.ID, "status", email.Status, "attempt", email.Attempts, "error", email.LastError)
}

// classOf is the class of a failure to hand mail over; what has none is
// temporary.
func classOf(err error) mail.Class {
	if failure, ok := errors.AsType[*mail.SendError](err); ok {
		return failure.Class
	}
	return mail.Temporary
}

// bounces are the recipients that the server says do not exist.
func bounces(reply mail.Reply) (addresses []string) {
	for _, r := range reply.Refused {
		if r.Err.Bounced {
			addresses = append(addresses, r.Address)
		}
	}
	return addresses
}

// turnedDown are the recipients that the server will never take mail for. When
// the mail is not tried again they are all that it refused: who confirms that
// it arrived knows nothing of these.
func turnedDown(reply mail.Reply, all bool) (settled []automations.Settled) {
	for _, r := range reply.Refused {
		if all || r.Err.Class == mail.Permanent {
			settled = append(settled, automations.Settled{Address: r.Address, Status: automations.EmailFailed, Reason: r.Err.Error()})
		}
	}
	return settled
}

// taken records that the server took the mail, for all recipients or for all
// but some: to those it may take later the mail is sent again.
func (e *Engine) taken(email *automations.Email, to []string, reply mail.Reply) {
	email.SentAt, email.LastReply, email.LastError = now(), fmt.Sprintf("%d %s", reply.Code, reply.Text), ""
	again := false
	refused := map[string]*mail.SendError{}
	for _, r := range reply.Refused {
		refused[r.Address], email.LastError = r.Err, r.Err.Error()
	}
	for _, address := range to {
		switch failure := refused[address]; {
		case failure == nil && len(refused)+len(email.Settled) > 0:
			email.Settled = append(email.Settled, automations.Settled{Address: address, Status: automations.EmailSent})
		case failure != nil && failure.Class == mail.Permanent:
			email.Settled = append(email.Settled, automations.Settled{Address: address, Status: automations.EmailFailed, Reason: failure.Error()})
		case failure != nil:
			again = true
		}
	}
	if email.Status = automations.EmailSent; again {
		e.retryLater(email)
	}
}

// giveUp ends a mail that will not reach its remaining recipients.
func giveUp(email *automations.Email) {
	var failed []automations.Settled
	for _, address := range email.Recipients() {
		failed = append(failed, automations.Settled{Address: address, Status: automations.EmailFailed, Reason: email.LastError})
	}
	end(email, automations.EmailFailed, failed)
}

// end ends a mail with what became of its remaining recipients. It counts as
// sent when others have got it.
func end(email *automations.Email, status automations.EmailStatus, rest []automations.Settled) {
	email.Status = status
	if len(email.Settled) > 0 {
		email.Settled = append(email.Settled, rest...)
	}
	if slices.ContainsFunc(email.Settled, func(s automations.Settled) bool { return s.Status == automations.EmailSent }) {
		email.Status = automations.EmailSent
	}
}

// retryLater queues a mail again: after half a minute, then twice as long each
// time up to an hour, each spread by a quarter so that a recovering server is
// not met by everything at once. What counts against RetryFor begins with the first
// attempt: a mail may have waited for its time, its quota or its turn.
func (e *Engine) retryLater(email *automations.Email) {
	wait := min(firstRetry<<min(email.Attempts-1, 10), lastRetry)
	wait += time.Duration(rand.Int64N(int64(wait / 4)))
	at := now().Add(wait)
	if at.Sub(email.TriedSince) > e.cfg.RetryFor {
		email.LastError = fmt.Sprintf("given up after %d attempts: %s", email.Attempts, email.LastError)
		giveUp(email)
		return
	}
	email.Status, email.NextAttemptAt = automations.EmailQueued, at
}
