// Package mail makes messages and hands them to a mail server: it renders
// stored text, builds RFC 5322 messages, and speaks SMTP submission.
//
// # Promise
//
// Rendering has no logic: placeholders are replaced by values, once, and a
// value never becomes markup, a header or another placeholder. The same
// [Message] always makes the same bytes. [SMTP.Send] says of every failure
// whether the server cannot have taken the message, will not take it, or may
// have.
//
// # Limits
//
// A template has at most 512 KiB, a rendered part 1 MiB. The package knows
// nothing of the rest of the program.
package mail
