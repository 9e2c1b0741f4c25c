package automations

// Tally is a kind of thing that is counted by the half hour, for charts.
type Tally byte

// The tallies. Those of runs are also counted for each workflow.
const (
	TallyEvents       Tally = iota + 1 // accepted
	TallyDeduplicated                  // of them: started nothing because they repeat another
	TallyUnmatched                     // of them: nothing listened
	TallyRejected                      // refused; not stored
	TallyRunsStarted
	TallyRunsCompleted
	TallyRunsFailed
	TallyMailSent
	TallyMailCaptured
	TallyMailFailed
	TallyMailSuppressed
	TallyMailUnconfirmed
	TallyRunsCancelled
	TallyRunsSkipped
)

// TallyOf is what an event counts as beside TallyEvents; false when it is
// nothing.
func (d *Delivery) TallyOf() (Tally, bool) {
	deduplicated := false
	for _, v := range d.Verdicts {
		switch v.Reason {
		case Unmatched, NearMiss:
			return TallyUnmatched, true
		case Deduplicated:
			deduplicated = true
		case Started, Resumed, Kept:
			return 0, false
		}
	}
	return TallyDeduplicated, deduplicated
}

// Tally is what a run counts as when it has come to the status.
func (s RunStatus) Tally() (Tally, bool) {
	switch s {
	case RunCompleted:
		return TallyRunsCompleted, true
	case RunFailed:
		return TallyRunsFailed, true
	case RunCancelled:
		return TallyRunsCancelled, true
	case RunSkipped:
		return TallyRunsSkipped, true
	}
	return 0, false
}

// Tally is what a mail counts as when it has come to the status.
func (s EmailStatus) Tally() (Tally, bool) {
	switch s {
	case EmailSent:
		return TallyMailSent, true
	case EmailCaptured:
		return TallyMailCaptured, true
	case EmailFailed:
		return TallyMailFailed, true
	case EmailSuppressed:
		return TallyMailSuppressed, true
	case EmailUnconfirmed:
		return TallyMailUnconfirmed, true
	}
	return 0, false
}
