// Package storage keeps everything opensend knows in one bbolt file, behind
// typed transactions.
//
// # Promise
//
// A change is durable when [DB.Update] has returned nil, and has left nothing
// behind when it returned an error. Concurrent updates share one transaction
// and one fsync. Values are copied out of the file: nothing read stays tied to
// its transaction.
//
// # Layout
//
// Every value, empty ones included, is enveloped: a format byte, the CRC-32C
// of key and body, the body (see envelope.go). Keys are tuples of parts with a
// fixed width: ids of 16 bytes, times as 8 bytes of milliseconds, numbers as 4
// bytes, all big-endian, and hashes. Whatever a user can size is hashed, or
// carries its length in 2 bytes. Ids are UUIDv7, so rows lie in order of time
// and new ones are appended; an event dirties few pages.
//
//	meta              "schema"       layout version, 4 bytes; see migrate.go
//	                  "program"      version of the program that gave the file this layout
//	                  "epoch"        id of this file's life: restored copies get a new one
//	                  "secret"       32 random bytes: key of the dedup HMAC
//	                  "place"        where the file was served from, or when it was made as a backup: see [DB.Claim]
//	                  "held"         Held; only while nothing moves because the file is a copy
//	                  "backup"       Backup, the last one
//	                  "alerts"       list of Alert: those that last or are still to be told
//	                  "probe"        nothing; written to see whether the file takes writes
//	contacts          contact                        Contact
//	contact_emails    len address                    contact
//	segments          segment                        Segment
//	segment_members   segment contact                –
//	topics            topic                          Topic
//	contact_properties  property                     ContactProperty
//	contact_property_keys  sha256(key)               property
//	event_types       event type                     EventType
//	event_type_names  sha256(name)                   event type
//	workflows         workflow                       Workflow
//	revisions         workflow number                Revision
//	deliveries        delivery                       Delivery, verdicts included
//	runs              workflow run                   Run
//	run_counts        workflow len status            number of runs, 8 bytes
//	                  workflow 0 number              the same for a revision
//	wakes             time workflow run              –          a run due at the time
//	waits             contact hash(name) workflow run  –        a run that waits, or will wait, for the event
//	arrivals          workflow run delivery          –          an event that came before its wait was reached
//	emails            email                          Email
//	email_contents    email                          EmailContent
//	outbox            time email                     –          a mail due at the time
//	sending           email                          –          a mail in the hands of a worker
//	mail_counts       day                            number of mails to leave that day, 8 bytes
//	templates         template                       Template
//	template_aliases  sha256(alias)                  template
//	suppressions      suppression                    Suppression
//	suppression_hashes  hmac(address)                suppression
//	api_keys          api key                        APIKey
//	api_key_hashes    sha256(token)                  api key
//	webhooks          webhook                        Webhook
//	webhook_deliveries  webhook delivery             WebhookDelivery
//	webhook_due       webhook time delivery          –          a delivery due at the time
//	dedup             tier slot / hmac               delivery, accepted at, window end
//	idempotency       tier slot / sha256(door, key)  IdempotentAnswer
//	erasures          contact                        how far the erasure has come
//	users             user                           User
//	user_names        sha256(name)                   user
//	sessions          sha256(secret)                 Session
//	invitations       sha256(secret)                 Invitation
//	tallies           time workflow kind             number of things in half an hour, 8 bytes
//	audit             change                         Change: who changed what
//
// Records are the nouns in package automations: contacts, deliveries and runs as
// their fields one after the other (see codec.go), so that an event writes
// little, and the others as JSON. A run has a wake while it is due at a time, and
// a mail has a row in outbox or sending until it is settled: both are kept in
// step by [Tx.SaveRun] and [Tx.SaveEmail] alone.
// What webhooks want to be told is queued for them by the method that stores
// the thing itself: saving and telling are one.
//
// Records that expire (dedup, idempotency) lie in one nested bucket for each
// slot of time: writes of one moment touch neighbouring pages, and expiry drops
// whole buckets instead of searching for rows.
//
// # Limits
//
// One process at a time opens a file. The file system must honour fsync.
package storage
