// Package inbound reads what mail servers and providers tell of mail after it
// has left: that it bounced, is delayed, or was called spam.
//
// # Promise
//
// [Parse] reads the messages that servers send: delivery reports (RFC 3464) and
// complaints (RFC 5965). [Providers] reads the webhooks of Amazon SES, Postmark
// and Mailgun, and of these only what the provider has signed, or what carries
// the secret that it was given. What cannot be understood is refused and never
// guessed at.
//
// # Model
//
// A [Report] is about one recipient of one mail. Anybody can write a message
// that looks like a delivery report; so a Report says how the mail was named,
// and whether who reports is known. A message proves that it is about a mail of
// ours by naming its Message-ID, which nobody knows but those who got the mail.
//
// # Limits
//
// A message is read up to [MaxMessage] bytes, four levels of parts, 50 parts,
// 64 KiB of each and 100 recipients. The package knows nothing of what becomes
// of reports.
package inbound
