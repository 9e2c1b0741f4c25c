package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/opensend/opensend/automations"
)

// checks is what is looked at in each bucket. A bucket that is not here fails a
// test.
var checks = [bucketCount]check{
	metaBucket:                {row: (*checker).metaRow},
	contactsBucket:            {record: contactEntries},
	contactEmailsBucket:       {owner: bodyNames(contactsBucket)},
	segmentsBucket:            {record: plain((*Tx).Segment)},
	segmentMembersBucket:      {owner: keyNames(contactsBucket, 16, 32)},
	topicsBucket:              {record: plain((*Tx).Topic)},
	contactPropertiesBucket:   {record: contactPropertyEntries},
	contactPropertyKeysBucket: {owner: bodyNames(contactPropertiesBucket)},
	eventTypesBucket:          {record: eventTypeEntries},
	eventTypeNamesBucket:      {owner: bodyNames(eventTypesBucket)},
	workflowsBucket:           {record: plain((*Tx).Workflow)},
	revisionsBucket:           {row: (*checker).revisionRow},
	deliveriesBucket:          {record: plain((*Tx).Delivery)},
	runsBucket:                {record: runEntries, row: (*checker).runRow},
	runCountsBucket:           {row: (*checker).numberRow},
	wakesBucket:               {owner: keyNames(runsBucket, 8, 40)},
	waitsBucket:               {owner: keyNames(runsBucket, 32, 64)},
	arrivalsBucket:            {row: (*checker).arrivalRow},
	emailsBucket:              {record: emailEntries},
	emailContentsBucket:       {row: (*checker).contentRow},
	outboxBucket:              {owner: keyNames(emailsBucket, 8, 24)},
	sendingBucket:             {owner: keyNames(emailsBucket, 0, 16)},
	mailCountsBucket:          {row: (*checker).numberRow},
	templatesBucket:           {record: templateEntries},
	templateAliasesBucket:     {owner: bodyNames(templatesBucket)},
	suppressionsBucket:        {record: suppressionEntries},
	suppressionHashesBucket:   {owner: bodyNames(suppressionsBucket)},
	apiKeysBucket:             {record: apiKeyEntries},
	apiKeyHashesBucket:        {owner: bodyNames(apiKeysBucket)},
	webhooksBucket:            {record: plain((*Tx).Webhook)},
	webhookDeliveriesBucket:   {record: webhookDeliveryEntries, row: (*checker).webhookDeliveryRow},
	webhookDueBucket:          {owner: webhookDueOwner},
	dedupBucket:               {slot: (*checker).dedupRow},
	idempotencyBucket:         {slot: (*checker).answerRow},
	erasuresBucket:            {row: (*checker).erasureRow},
	usersBucket:               {record: userEntries},
	userNamesBucket:           {owner: bodyNames(usersBucket)},
	sessionsBucket:            {row: (*checker).sessionRow},
	invitationsBucket:         {row: (*checker).invitationRow},
	talliesBucket:             {row: (*checker).numberRow},
	auditBucket:               {record: plain((*Tx).Change)},
}

// bodyNames is for an index whose body is the id of its record.
func bodyNames(b bucket) func(key, body []byte) (bucket, []byte) {
	return func(_, body []byte) (bucket, []byte) { return b, body }
}

// keyNames is for an index whose key holds the key of its record.
func keyNames(b bucket, from, to int) func(key, body []byte) (bucket, []byte) {
	return func(key, _ []byte) (bucket, []byte) { return b, key[from:to] }
}

// plain is for records without index rows.
func plain[T any](read func(*Tx, automations.ID) (*T, error)) func(*checker, []byte) ([]entry, error) {
	return func(c *checker, key []byte) ([]entry, error) {
		_, err := read(c.tx, automations.ID(key))
		return nil, err
	}
}

func contactEntries(c *checker, key []byte) ([]entry, error) {
	contact, err := c.tx.Contact(automations.ID(key))
	if err != nil {
		return nil, err
	}
	entries := []entry{{contactEmailsBucket, tuple(contact.Email), contact.ID[:]}}
	for _, id := range contact.Segments {
		entries = append(entries, entry{segmentMembersBucket, tuple(id, contact.ID), nil})
	}
	return entries, nil
}

func contactPropertyEntries(c *checker, key []byte) ([]entry, error) {
	p, err := c.tx.ContactProperty(automations.ID(key))
	if err != nil {
		return nil, err
	}
	return []entry{{contactPropertyKeysBucket, nameHash(p.Key), p.ID[:]}}, nil
}

func eventTypeEntries(c *checker, key []byte) ([]entry, error) {
	t, err := c.tx.EventType(automations.ID(key))
	if err != nil {
		return nil, err
	}
	return []entry{{eventTypeNamesBucket, nameHash(t.Name), t.ID[:]}}, nil
}

func templateEntries(c *checker, key []byte) ([]entry, error) {
	t, err := c.tx.Template(automations.ID(key))
	if err != nil || t.Alias == "" {
		return nil, err
	}
	return []entry{{templateAliasesBucket, nameHash(t.Alias), t.ID[:]}}, nil
}

func suppressionEntries(c *checker, key []byte) ([]entry, error) {
	s, err := c.tx.Suppression(automations.ID(key))
	if err != nil {
		return nil, err
	}
	return []entry{{suppressionHashesBucket, s.Hash, s.ID[:]}}, nil
}

func apiKeyEntries(c *checker, key []byte) ([]entry, error) {
	k, err := c.tx.APIKey(automations.ID(key))
	if err != nil {
		return nil, err
	}
	return []entry{{apiKeyHashesBucket, k.Hash, k.ID[:]}}, nil
}

func emailEntries(c *checker, key []byte) ([]entry, error) {
	e, err := c.tx.Email(automations.ID(key))
	if err != nil {
		return nil, err
	}
	switch e.Status {
	case automations.EmailQueued:
		return []entry{{outboxBucket, tuple(e.NextAttemptAt, e.ID), nil}}, nil
	case automations.EmailSending:
		return []entry{{sendingBucket, e.ID[:], nil}}, nil
	}
	return nil, nil
}

func webhookDeliveryEntries(c *checker, key []byte) ([]entry, error) {
	d, err := c.tx.WebhookDelivery(automations.ID(key[:16]), automations.ID(key[16:]))
	if err != nil || d.NextAttemptAt.IsZero() {
		return nil, err
	}
	return []entry{{webhookDueBucket, tuple(d.WebhookID, d.NextAttemptAt, d.ID), nil}}, nil
}

func webhookDueOwner(key, _ []byte) (bucket, []byte) {
	return webhookDeliveriesBucket, slices.Concat(key[:16], key[24:])
}

func runEntries(c *checker, key []byte) ([]entry, error) {
	ref, _ := splitRef(key)
	run, err := c.tx.Run(ref)
	if err != nil {
		return nil, err
	}
	var entries []entry
	if !run.WakeAt.IsZero() {
		entries = append(entries, entry{wakesBucket, tuple(run.WakeAt, ref), nil})
	}
	if run.Status.Final() || c.erasing(run.ContactID) {
		return entries, nil
	}
	names, err := c.waitNames(run.Run)
	for _, name := range names {
		entries = append(entries, entry{waitsBucket, waitKey(run.Run, name), nil})
	}
	return entries, err
}

// erasing reports whether a contact is being erased: its waits go first, and
// its runs a little later.
func (c *checker) erasing(contact automations.ID) bool { return c.tx.has(erasuresBucket, contact[:]) }

// forgiven reports whether an index row without its record will soon be gone.
func (c *checker) forgiven(e entry) bool {
	return e.bucket == waitsBucket && c.erasing(automations.ID(e.key))
}

// waitNames are the events that a run's revision waits for.
func (c *checker) waitNames(r *automations.Run) ([]string, error) {
	key := string(tuple(r.WorkflowID, r.Revision))
	if names, ok := c.flows[key]; ok {
		return names, nil
	}
	revision, err := c.tx.Revision(r.WorkflowID, r.Revision)
	if err != nil {
		return nil, fmt.Errorf("its revision %d: %v", r.Revision, err)
	}
	flow, err := automations.Compile(revision.Definition)
	if err != nil {
		return nil, fmt.Errorf("its revision %d: %v", r.Revision, err)
	}
	c.flows[key] = flow.WaitNames()
	return c.flows[key], nil
}

// runRow: a run that is not over has exactly one thing that will move it: a
// wake, a mail on its way, or an event it waits for.
func (c *checker) runRow(key, _ []byte) {
	ref, _ := splitRef(key)
	run, err := c.tx.Run(ref)
	if err != nil {
		return // reported
	}
	c.counted[runCount{workflow: run.WorkflowID, status: run.Status}]++
	c.counted[runCount{workflow: run.WorkflowID, revision: run.Revision}]++
	wakes, mails := !run.WakeAt.IsZero(), run.EmailID != automations.ID{}
	step := run.Steps[run.CurrentStep]
	waits := !mails && run.Status == automations.RunWaiting && step != nil && step.Status == automations.StepWaiting && step.ScheduledFor.IsZero()
	switch {
	case run.Status.Final() && (wakes || mails):
		c.repairable(func(tx *Tx) error { return tx.settleRun(ref) }, "forget what it expects", "run %s is %s and still expects something", run.ID, run.Status)
	case run.Status.Final():
	case wakes && mails:
		c.repairable(func(tx *Tx) error { return tx.unwake(ref) }, "drop the wake; the mail moves it", "run %s has a wake and a mail at once", run.ID)
	case mails:
		c.runsMail(run)
	case !wakes && !waits:
		c.repairable(func(tx *Tx) error { return tx.wakeRun(ref) }, "wake it now", "run %s is %s and nothing will move it", run.ID, run.Status)
	}
	if run.Status.Final() {
		return
	}
	if _, err := c.tx.Delivery(run.TriggerEventID); errors.Is(err, ErrNotFound) {
		c.fault("run %s is %s and the event that started it is gone: cancel the run", run.ID, run.Status)
	}
}

// runsMail: the mail that a run waits for is there and on its way.
func (c *checker) runsMail(run *RunRow) {
	e, err := c.tx.Email(run.EmailID)
	switch {
	case errors.Is(err, ErrNotFound):
		c.fault("run %s waits for mail %s, which is gone: cancel the run", run.ID, run.EmailID)
	case err != nil: // reported
	case e.Status == automations.EmailCancelled:
		c.fault("run %s waits for mail %s, which was cancelled: cancel the run", run.ID, run.EmailID)
	case e.Status != automations.EmailQueued && e.Status != automations.EmailSending && e.Status != automations.EmailUnconfirmed:
		c.repairable(func(tx *Tx) error { return tx.tellRun(run.Ref()) }, "tell the run of its mail, and wake it",
			"run %s waits for mail %s, which is %s", run.ID, run.EmailID, e.Status)
	}
}

// arrivalRow: an event is kept for a run that is not over.
func (c *checker) arrivalRow(key, _ []byte) {
	ref, rest := splitRef(key)
	run, err := c.tx.Run(ref)
	if err == nil && !run.Status.Final() || err != nil && !errors.Is(err, ErrNotFound) {
		if _, err = c.tx.Delivery(automations.ID(rest)); !errors.Is(err, ErrNotFound) {
			return
		}
	}
	delivery := automations.ID(rest)
	c.repairable(func(tx *Tx) error { return tx.DropArrival(ref, delivery) }, "drop the row",
		"event %s is kept for run %s, and one of the two is over or gone", delivery, ref.RunID)
}

// webhookDeliveryRow: a delivery is due at some time while it is pending.
func (c *checker) webhookDeliveryRow(key, _ []byte) {
	webhook, id := automations.ID(key[:16]), automations.ID(key[16:])
	d, err := c.tx.WebhookDelivery(webhook, id)
	if err == nil && (d.Status == automations.NoticePending) == d.NextAttemptAt.IsZero() {
		c.fault("webhook delivery %s is %s and its next attempt does not fit that: replay it over the API", id, d.Status)
	}
}

func (c *checker) contentRow(key, _ []byte) {
	id := automations.ID(key)
	if _, err := c.tx.EmailContent(id); err != nil {
		c.fault("the content of mail %s cannot be read: %w", id, err)
	}
	if _, err := c.tx.Email(id); errors.Is(err, ErrNotFound) {
		c.fault("there is content of mail %s and no such mail", id)
	}
}

func (c *checker) revisionRow(key, _ []byte) {
	workflow, number := automations.ID(key), int(binary.BigEndian.Uint32(key[16:]))
	if _, err := c.tx.Revision(workflow, number); err != nil {
		c.fault("revision %d of automation %s cannot be read: %w", number, workflow, err)
	}
}

func (c *checker) numberRow(key, body []byte) {
	if len(body) != 8 {
		c.fault("the count %x is not a number", key)
	}
}

func (c *checker) erasureRow(key, _ []byte) {
	if _, err := record[Erasure](c.tx, erasuresBucket, key); err != nil {
		c.fault("erasure %s cannot be read: %w", keyText(key), err)
	}
	if c.tx.has(contactsBucket, key) {
		c.fault("contact %s is being erased and still there: delete it again over the API", keyText(key))
	}
}

// metaRow: what the program cannot start without has its size.
func (c *checker) metaRow(key, body []byte) {
	if want, ok := map[string]int{"schema": 4, "epoch": 16, "secret": 32}[string(key)]; ok && len(body) != want {
		c.fault("meta %s has %d bytes instead of %d", key, len(body), want)
	}
}

// dedupRow: a record has expired when its slot is dropped.
func (c *checker) dedupRow(slot, key, body []byte) {
	if len(body) != 32 {
		c.fault("a record of dedup (key %x) has %d bytes", key, len(body))
		return
	}
	c.expires(dedupBucket, slot, key, millis(body[24:]))
}

func (c *checker) answerRow(slot, key, body []byte) {
	a, err := decode[IdempotentAnswer](idempotencyBucket, key, body)
	if err != nil {
		c.fault("a kept answer cannot be read: %w", err)
		return
	}
	c.expires(idempotencyBucket, slot, key, a.CreatedAt.Add(IdempotencyLife))
}

func (c *checker) expires(b bucket, slot, key []byte, until time.Time) {
	if len(slot) != 9 || int(slot[0]) >= len(tiers) {
		c.fault("%s has a slot %x that is none of time", b, slot)
		return
	}
	number := time.Duration(binary.BigEndian.Uint64(slot[1:]))
	if dropped := time.UnixMilli(0).Add((number + 2) * tiers[slot[0]]); until.After(dropped) {
		c.fault("a record of %s (key %x) expires at %s, after its slot is dropped", b, key, until.UTC().Format(time.RFC3339))
	}
}

// keyText is a key as people see it: an id, or hexadecimal.
func keyText(key []byte) string {
	if len(key) == 16 {
		return automations.ID(key).String()
	}
	if len(key) == 32 {
		return automations.ID(key[16:]).String()
	}
	return fmt.Sprintf("%x", key)
}

func countBody(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

func userEntries(c *checker, key []byte) ([]entry, error) {
	u, err := c.tx.User(automations.ID(key))
	if err != nil {
		return nil, err
	}
	return []entry{{userNamesBucket, userKey(u.Name), u.ID[:]}}, nil
}

func (c *checker) sessionRow(key, _ []byte) {
	if s, err := record[automations.Session](c.tx, sessionsBucket, key); err != nil || !c.tx.has(usersBucket, s.UserID[:]) {
		key = bytes.Clone(key)
		c.repairable(func(tx *Tx) error { return tx.delete(sessionsBucket, key) }, "end the session", "a session cannot be read or belongs to nobody")
	}
}

func (c *checker) invitationRow(key, _ []byte) {
	if _, err := record[automations.Invitation](c.tx, invitationsBucket, key); err != nil {
		key = bytes.Clone(key)
		c.repairable(func(tx *Tx) error { return tx.delete(invitationsBucket, key) }, "drop the invitation", "an invitation cannot be read")
	}
}
