package engine

import (
	"cmp"
	"errors"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// refusals names the recipients that must not be written to although the mail
// was queued: what has become true meanwhile counts.
func refusals(tx *storage.Tx, email *automations.Email) (barred []automations.Settled, err error) {
	if email.Alert {
		return nil, nil // it is for the operator, who asked for it in the configuration
	}
	withdrawn, err := withdrawal(tx, email)
	if err != nil {
		return nil, err
	}
	for _, address := range email.Recipients() {
		why := withdrawn
		if why == "" {
			if why, err = refusal(tx, email, address); err != nil {
				return nil, err
			}
		}
		if why != "" {
			barred = append(barred, automations.Settled{Address: address, Status: automations.EmailSuppressed, Reason: why})
		}
	}
	return barred, nil
}

// withdrawal says why a run's mail must not leave any more: the run was cancelled
// while it waited for the mail, or its automation was deleted. A mail that was in
// hand at that moment and is to be tried again comes by here.
func withdrawal(tx *storage.Tx, email *automations.Email) (string, error) {
	run, err := tx.Run(email.Run)
	if errors.Is(err, storage.ErrNotFound) { // none, or its time to be kept is over
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if step := run.Steps[email.StepKey]; step != nil && step.Visit == email.Visit && step.Status == automations.StepCancelled {
		return withdrawnBecause(run.FailureReason), nil
	}
	if _, err = tx.Workflow(run.WorkflowID); errors.Is(err, storage.ErrNotFound) && run.EmailID == email.ID {
		return withdrawnBecause(automations.CancelledWorkflowDeleted), nil
	}
	return "", nil
}

func withdrawnBecause(reason string) string { return "run cancelled: " + reason }

// refusal says why an address must not get the mail; it is empty when nothing
// speaks against it. Mail of a run stands under the contact's wishes. Mail
// asked for over the API is transactional: it stops at suppressed addresses
// and, when it belongs to a topic, at contacts that do not want that.
func refusal(tx *storage.Tx, email *automations.Email, address string) (string, error) {
	if tx.Suppressed(address) {
		return automations.SkippedSuppressed, nil
	}
	ofRun := email.Run != automations.RunRef{}
	c, err := tx.ContactByEmail(address)
	if ofRun {
		c, err = tx.Contact(email.ContactID)
	}
	switch {
	case errors.Is(err, storage.ErrNotFound) && ofRun:
		return automations.CancelledContactDeleted, nil
	case err != nil && !errors.Is(err, storage.ErrNotFound):
		return "", err
	case c != nil && c.Unsubscribed && (ofRun || email.TopicID != automations.ID{}):
		return automations.SkippedUnsubscribed, nil
	case email.TopicID == automations.ID{}:
		return "", nil
	}
	topic, err := tx.Topic(email.TopicID)
	switch {
	case errors.Is(err, storage.ErrNotFound): // deleted since: nobody can have opted out
		return "", nil
	case err != nil:
		return "", err
	case topic.Subscription(cmp.Or(c, &automations.Contact{})) == automations.OptOut:
		return automations.SkippedTopic, nil
	}
	return "", nil
}
