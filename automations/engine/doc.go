// Package engine makes things happen: it accepts events, moves runs on when
// they are due, and hands mail to its transport.
//
// # Model
//
// [Engine.Accept] decides everything about an event in one transaction: the
// contact, the waits it ends, the runs it starts, and a verdict for each
// workflow. It never moves a run. The wake loop does: it sleeps until the next
// run is due, or until it is kicked, and advances all due runs in few
// transactions. A mail is queued in the transaction that moved its run there;
// the outbox loop hands it to the [Sender], outside any transaction, and
// records the result, which makes the run due again.
//
//	Accept ──kick──► wake loop ──kick──► outbox loop ──kick──► wake loop
//
// Webhooks are told what happens by notices, which storage queues in the
// transaction that stores what they report; the commit kicks the webhook loop.
//
// A kick is a send to a channel of one place that never blocks; what is to be
// done is always read from the file, so a lost kick or a crash loses nothing.
//
// # Limits
//
// A run enters at most 1,000 steps. A step that panics five times in a row
// fails its run; other runs are not affected. Mail is tried for
// [Config.RetryFor].
package engine
