package storage

// bucket indexes the top-level buckets; doc.go says what is in them.
type bucket uint8

const (
	metaBucket bucket = iota
	contactsBucket
	contactEmailsBucket
	segmentsBucket
	segmentMembersBucket
	topicsBucket
	contactPropertiesBucket
	contactPropertyKeysBucket
	eventTypesBucket
	eventTypeNamesBucket
	workflowsBucket
	revisionsBucket
	deliveriesBucket
	runsBucket
	runCountsBucket
	wakesBucket
	waitsBucket
	arrivalsBucket
	emailsBucket
	emailContentsBucket
	outboxBucket
	sendingBucket
	mailCountsBucket
	templatesBucket
	templateAliasesBucket
	suppressionsBucket
	suppressionHashesBucket
	apiKeysBucket
	apiKeyHashesBucket
	webhooksBucket
	webhookDeliveriesBucket
	webhookDueBucket
	dedupBucket
	idempotencyBucket
	erasuresBucket
	usersBucket
	userNamesBucket
	sessionsBucket
	invitationsBucket
	talliesBucket
	auditBucket
	bucketCount
)

var bucketNames = [bucketCount]string{
	"meta", "contacts", "contact_emails", "segments", "segment_members", "topics", "contact_properties", "contact_property_keys", "event_types", "event_type_names",
	"workflows", "revisions", "deliveries", "runs", "run_counts", "wakes", "waits", "arrivals", "emails",
	"email_contents", "outbox", "sending", "mail_counts", "templates", "template_aliases", "suppressions", "suppression_hashes", "api_keys", "api_key_hashes",
	"webhooks", "webhook_deliveries", "webhook_due", "dedup", "idempotency", "erasures",
	"users", "user_names", "sessions", "invitations", "tallies", "audit",
}

func (b bucket) String() string { return bucketNames[b] }

// appended tells the buckets whose rows arrive in key order: their pages are
// filled to the brim instead of being split in half.
func (b bucket) appended() bool {
	switch b {
	case deliveriesBucket, runsBucket, wakesBucket, emailsBucket, emailContentsBucket, outboxBucket, revisionsBucket, webhookDeliveriesBucket, webhookDueBucket, auditBucket:
		return true
	}
	return false
}
