package storage

import (
	"bytes"
	"errors"
	"time"

	"github.com/opensend/opensend/automations"
)

// Retention says how long records are kept. Zero is for ever. Whatever a run
// still needs stays: the event that started it, the events that came early for
// it, the mail it waits for, its revision.
type Retention struct {
	Events     time.Duration // since an event was received; longer while a run that it started may move
	Runs       time.Duration // since a run ended
	Mail       time.Duration // since it was sent or captured, its content included
	FailedMail time.Duration // the same for mail that nobody got
	Webhooks   time.Duration // since a notice to a webhook was made, when it is settled
	Revisions  time.Duration // since a revision was made, when it is neither in force nor that of a run
	Changes    time.Duration // of the log of changes, since they were made
}

// mailCountLife is how long the mails of a day count: until their month is
// over.
const mailCountLife = 62 * day

// Sweep is a pass over everything that may be too old, in small transactions.
// The zero Sweep begins one.
type Sweep struct {
	Deleted int  // records so far
	Done    bool // nothing is left to look at
	// Next is when the oldest record that was too young for this pass will not
	// be any more; zero when none was.
	Next time.Time

	stage int
	from  []byte // where the stage goes on
}

// sweepStages are the buckets whose records grow old. Runs come before what
// they need.
var sweepStages = [...]struct {
	bucket bucket
	sweep  func(*sweeping, []byte) error
}{
	{runsBucket, (*sweeping).run},
	{revisionsBucket, (*sweeping).revision},
	{emailsBucket, (*sweeping).email},
	{deliveriesBucket, (*sweeping).delivery},
	{webhookDeliveriesBucket, (*sweeping).webhookDelivery},
	{mailCountsBucket, (*sweeping).mailCount},
	{talliesBucket, (*sweeping).tally},
	{auditBucket, (*sweeping).change},
}

// sweeping is a Sweep within one transaction.
type sweeping struct {
	Sweep
	tx   *Tx
	keep Retention
	now  time.Time
}

// SweepSome looks at up to rows further records of a pass, deletes those that
// are older than keep says, and returns where the pass then stands.
func (tx *Tx) SweepSome(pass Sweep, keep Retention, now time.Time, rows int) (Sweep, error) {
	s := &sweeping{pass, tx, keep, now}
	for ; rows > 0 && s.stage < len(sweepStages); rows-- {
		stage := sweepStages[s.stage]
		key, _ := tx.bucket(stage.bucket).Cursor().Seek(s.from)
		if key == nil {
			s.stage, s.from = s.stage+1, nil
			continue
		}
		key = bytes.Clone(key)
		s.from = append(bytes.Clone(key), 0)
		if err := stage.sweep(s, key); err != nil && !isDamage(err) { // Check tells of damaged ones; they must not hold up the rest
			return pass, err
		}
	}
	s.Done = s.stage == len(sweepStages)
	return s.Sweep, nil
}

// young reports whether a record made at the time is too young for a life, and
// so are those behind it: the pass goes on behind the key's prefix. Records
// from a time when the clock was ahead are passed over.
func (s *sweeping) young(key []byte, prefix int, made time.Time, life time.Duration) bool {
	due := made.Add(life)
	switch {
	case life == 0:
	case !due.After(s.now):
		return false
	case made.After(s.now):
		return true
	case s.Next.IsZero() || due.Before(s.Next):
		s.Next = due
	}
	s.from = append(bytes.Clone(key[:prefix]), bytes.Repeat([]byte{0xff}, 64)...)
	return true
}

func (s *sweeping) delete(b bucket, key []byte) error {
	s.Deleted++
	return s.tx.delete(b, key)
}

func (s *sweeping) run(key []byte) error {
	ref, _ := splitRef(key)
	row, err := s.tx.Run(ref)
	if err != nil || s.young(key, 16, row.CreatedAt, s.keep.Runs) || !row.Status.Final() || row.CompletedAt.Add(s.keep.Runs).After(s.now) {
		return err
	}
	s.tx.countRun(ref.WorkflowID, row.Status, -1)
	s.tx.countRevision(ref.WorkflowID, row.Revision, -1)
	return s.delete(runsBucket, key)
}

func (s *sweeping) revision(key []byte) error {
	r, err := record[automations.Revision](s.tx, revisionsBucket, key)
	if err != nil || s.young(key, 16, r.CreatedAt, s.keep.Revisions) {
		return err
	}
	runs, err := s.tx.runsOfRevision(r.WorkflowID, r.Number)
	if err != nil || runs > 0 {
		return err
	}
	w, err := s.tx.Workflow(r.WorkflowID)
	if err == nil && w.Revision == r.Number {
		return nil
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	return s.delete(revisionsBucket, key)
}

func (s *sweeping) email(key []byte) error {
	e, err := s.tx.Email(automations.ID(key))
	if err != nil {
		return err
	}
	least := min(s.keep.Mail, s.keep.FailedMail)
	if least == 0 {
		least = max(s.keep.Mail, s.keep.FailedMail)
	}
	life := s.keep.FailedMail
	switch {
	case s.young(key, 0, e.CreatedAt, least):
		return nil
	case e.Status == automations.EmailQueued || e.Status == automations.EmailSending:
		return nil
	case e.Status == automations.EmailSent || e.Status == automations.EmailCaptured:
		life = s.keep.Mail
	}
	if life == 0 || e.UpdatedAt.Add(life).After(s.now) {
		return nil
	}
	run, err := s.tx.Run(e.Run)
	if err == nil && run.EmailID == e.ID || err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if err := s.tx.delete(emailContentsBucket, key); err != nil {
		return err
	}
	return s.delete(emailsBucket, key)
}

func (s *sweeping) delivery(key []byte) error {
	d, err := s.tx.Delivery(automations.ID(key))
	if err != nil || s.young(key, 0, d.ReceivedAt, s.keep.Events) {
		return err
	}
	for _, v := range d.Verdicts {
		run, err := s.tx.Run(automations.RunRef{WorkflowID: v.WorkflowID, RunID: v.RunID})
		switch {
		case errors.Is(err, ErrNotFound):
		case err != nil:
			return err
		case !run.Status.Final() || run.Status == automations.RunFailed: // which may be retried
			return nil
		}
	}
	return s.delete(deliveriesBucket, key)
}

// webhookDelivery also deletes, whatever their age, the deliveries of a webhook
// that is gone.
func (s *sweeping) webhookDelivery(key []byte) error {
	row, err := s.tx.WebhookDelivery(automations.ID(key[:16]), automations.ID(key[16:]))
	if err != nil {
		return err
	}
	if s.tx.has(webhooksBucket, key[:16]) && (s.young(key, 16, row.CreatedAt, s.keep.Webhooks) || row.Status == automations.NoticePending) {
		return nil
	}
	s.Deleted++
	return s.tx.deleteWebhookDelivery(row)
}

func (s *sweeping) mailCount(key []byte) error {
	if at, _ := splitTime(key); s.young(key, 0, at, mailCountLife) {
		return nil
	}
	return s.delete(mailCountsBucket, key)
}
