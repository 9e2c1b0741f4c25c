// Package automations holds the vocabulary of opensend and its rules: what an
// event, a contact, a workflow and a run are, which of them are valid, and how
// a run moves on.
//
// The model in one breath: an [Event] that a caller sends becomes a stored
// [Delivery] of one [Contact]. Every enabled [Workflow] triggered by its name
// starts a [Run], every run waiting for it resumes, and the delivery keeps a
// [Verdict] for each workflow that was considered. [Advance] moves a run from
// step to step along the [Flow] of the revision it started with.
//
// The package does no I/O, starts no goroutine, reads no clock and logs
// nothing: the present time and everything random is passed in. Errors that a
// user may read are of type [*Error].
package automations
