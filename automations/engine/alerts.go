package engine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/mail"
	"github.com/opensend/opensend/storage"
)

// AlertPlan says who is told when something is wrong with this program. The log
// and [Engine.Alerts] are told in any case.
type AlertPlan struct {
	Email   string // an address; none when empty
	Webhook string // an http or https URL; none when empty
	Secret  []byte // signs what is posted there; unsigned when empty
}

// The kinds of alerts.
const (
	AlertRunsOverdue  = "runs_overdue"
	AlertMailFailing  = "mail_failing"
	AlertBackupMissed = "backup_missed"
	AlertDiskLow      = "disk_low"
	AlertWritesFail   = "writes_failing"
	AlertFileFailed   = "file_failed"
)

// AlertKinds lists every kind of alert.
func AlertKinds() []string {
	return []string{AlertRunsOverdue, AlertMailFailing, AlertBackupMissed, AlertDiskLow, AlertWritesFail, AlertFileFailed}
}

const (
	watchEvery   = time.Minute
	overdueAfter = time.Minute      // a run is late
	mailAfter    = 15 * time.Minute // without the mail server taking anything
	backupAfter  = time.Hour        // behind the plan
	// calmFor is how long something must have been well before its alert ends,
	// so that what comes and goes makes two messages and not hundreds.
	calmFor = 5 * time.Minute
)

// watch is what the alert loop remembers. The alerts themselves are in the file
// too: after a restart nothing is told twice.
type watch struct {
	alerts  []storage.Alert
	wrongAt map[string]time.Time // when each kind was last seen wrong
	unsaved bool
	began   time.Time
	posts   map[automations.ID]*posting
}

// Alerts are those that last, the oldest first.
func (e *Engine) Alerts() []storage.Alert {
	if all := e.alerts.Load(); all != nil {
		return *all
	}
	return nil
}

// alertLoop looks once a minute whether something is wrong, and tells of what has
// begun and ended.
func (e *Engine) alertLoop(ctx context.Context) error {
	w, err := e.newWatch()
	if err != nil {
		return err
	}
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			e.look(ctx, w)
			continue
		case <-e.db.Failure():
		case <-ctx.Done():
		}
		if cause := e.db.Failed(); cause != nil {
			e.fileFailed(context.WithoutCancel(ctx), w, cause)
		}
		return e.db.Failed()
	}
}

// newWatch takes up what was going on when the program ended.
func (e *Engine) newWatch() (*watch, error) {
	w := &watch{wrongAt: map[string]time.Time{}, began: now(), posts: map[automations.ID]*posting{}}
	err := e.db.View(func(tx *storage.Tx) (err error) {
		w.alerts, err = tx.Alerts()
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, a := range w.alerts {
		if w.wrongAt[a.Kind] = w.began; a.Kind == AlertMailFailing && a.EndedAt.IsZero() {
			e.handovers.failingSince.Store(a.Since.Add(-mailAfter).UnixMilli())
		}
	}
	e.rememberFailure(w)
	e.show(w)
	return w, nil
}

// look is one round. What cannot be read is tried again in the next.
func (e *Engine) look(ctx context.Context, w *watch) {
	wrong, err := e.wrong(w)
	if err != nil {
		e.log.Error("looking for what is wrong", "error", err)
		return
	}
	at := now()
	for _, kind := range AlertKinds() {
		text := wrong[kind]
		if text != "" {
			w.wrongAt[kind] = at
		}
		switch open := w.open(kind); {
		case open == nil && text != "":
			e.log.Warn("alert", "kind", kind, "text", text)
			e.startAlert(w, storage.Alert{Kind: kind, Since: at, Text: text}, true)
		case open != nil && text == "" && at.Sub(w.wrongAt[kind]) >= calmFor:
			e.log.Info("alert passed", "kind", kind, "since", open.Since)
			open.EndedAt = at
			e.tell(w, open, e.telling(kind, at, true, true))
		}
	}
	e.deliverAlerts(ctx, w)
	e.show(w)
}

func (w *watch) open(kind string) *storage.Alert {
	i := slices.IndexFunc(w.alerts, func(a storage.Alert) bool { return a.Kind == kind && a.EndedAt.IsZero() })
	if i < 0 {
		return nil
	}
	return &w.alerts[i]
}

// show makes Alerts tell what lasts.
func (e *Engine) show(w *watch) {
	var open []storage.Alert
	for _, a := range w.alerts {
		if a.EndedAt.IsZero() {
			a.Untold = nil
			open = append(open, a)
		}
	}
	e.alerts.Store(&open)
}

// wrong says in words what is wrong, by kind.
func (e *Engine) wrong(w *watch) (map[string]string, error) {
	wrong := map[string]string{}
	var backup storage.Backup
	err := e.db.View(func(tx *storage.Tx) (err error) {
		if backup, err = tx.LastBackup(); err != nil || e.Held() != nil {
			return err
		}
		late := e.clock.today().Add(-overdueAfter)
		if due, _ := tx.DueRuns(late, 1); len(due) > 0 {
			wrong[AlertRunsOverdue] = "runs are overdue since " + clockTime(due[0].At) + ": opensend is behind with its work, or stuck"
		}
		if _, next := tx.DueEmails(time.Time{}, 0); !next.IsZero() {
			wrong[AlertMailFailing] = e.mailFailing()
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	wrong[AlertBackupMissed] = e.backupMissed(w, backup)
	left, low, err := e.db.LowRoom()
	if err != nil {
		return nil, err
	}
	if low {
		wrong[AlertDiskLow] = fmt.Sprintf("room for %d MiB is left before new events, mail and contacts are refused: make room on the disk, raise storage.max_size, or keep less by retention", left>>20)
	}
	if e.db.Meter().FailingSince().IsZero() || e.db.Update(func(tx *storage.Tx) error { return tx.Probe() }) == nil {
		return wrong, nil
	}
	wrong[AlertWritesFail] = "the data file takes no writes since " + clockTime(e.db.Meter().FailingSince()) + "; its disk is full"
	return wrong, nil
}

func clockTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// mailFailing says that the mail server has not taken or refused anything for too
// long, for more than one recipient; empty when it has.
func (e *Engine) mailFailing() string {
	ms := e.handovers.failingSince.Load()
	if since := time.UnixMilli(ms); ms != 0 && time.Since(since) >= mailAfter {
		return "the mail server takes no mail since " + clockTime(since) + ": opensend doctor looks at it; mail waits and is tried again"
	}
	return ""
}

func (e *Engine) backupMissed(w *watch, last storage.Backup) string {
	plan := e.cfg.Backup
	due := last.At.Add(plan.Every)
	if due.Before(w.began) { // the program was not running
		due = w.began
	}
	switch {
	case plan.Dir == "":
		return ""
	case !last.FailedAt.IsZero():
		return "the last try to make a backup failed at " + clockTime(last.FailedAt) + ": the log says why"
	case now().After(due.Add(backupAfter)):
		return "the backup that was due at " + clockTime(due) + " has not been made"
	}
	return ""
}

// startAlert takes up an alert; with post it is posted to the webhook.
func (e *Engine) startAlert(w *watch, a storage.Alert, post bool) {
	w.alerts = append(w.alerts, a)
	e.tell(w, &w.alerts[len(w.alerts)-1], e.telling(a.Kind, a.Since, false, post))
}

// telling is a message about an alert. That no mail leaves is not mailed.
func (e *Engine) telling(kind string, at time.Time, ended, post bool) storage.Telling {
	return storage.Telling{
		ID: newID(), At: at, Ended: ended,
		Mail: e.cfg.Alerts.Email != "" && (ended || kind != AlertMailFailing), Webhook: e.cfg.Alerts.Webhook != "" && post,
	}
}

func (e *Engine) tell(w *watch, a *storage.Alert, t storage.Telling) {
	a.Untold = append(a.Untold, t)
	w.unsaved = true
}

// deliverAlerts queues mail in the transaction that remembers that, and posts to
// the webhook. What does not work is left to the next round.
func (e *Engine) deliverAlerts(ctx context.Context, w *watch) {
	err := e.saveAlerts(w)
	e.postAlerts(ctx, w)
	if err == nil {
		err = e.saveAlerts(w)
	}
	if err != nil {
		e.log.Error("alerts cannot be remembered", "error", err)
	}
}

// saveAlerts stores the alerts as far as they have changed, with the mail about
// them.
func (e *Engine) saveAlerts(w *watch) error {
	if !w.unsaved {
		return nil
	}
	var left []storage.Alert
	mailed := false
	err := e.db.Update(func(tx *storage.Tx) error {
		left, mailed = nil, false
		for _, a := range w.alerts {
			var untold []storage.Telling
			for _, t := range a.Untold {
				if t.Mail {
					if err := e.mailAlert(tx, &a, t); err != nil {
						return err
					}
					t.Mail, mailed = false, true
				}
				if t.Webhook {
					untold = append(untold, t)
				}
			}
			if a.Untold = untold; a.EndedAt.IsZero() || len(untold) > 0 {
				left = append(left, a)
			}
		}
		return tx.SaveAlerts(left)
	})
	if err != nil {
		return err
	}
	w.alerts, w.unsaved = left, false
	if mailed {
		kick(e.outboxKick)
	}
	return nil
}

// alertWords are the subject and the text of a message.
func (e *Engine) alertWords(a *storage.Alert, t storage.Telling) (subject, text string) {
	if t.Ended {
		return "[opensend] passed: " + a.Kind, fmt.Sprintf("This has passed at %s. It began at %s:\n\n%s\n\n%s\n", clockTime(t.At), clockTime(a.Since), a.Text, e.cfg.BaseURL)
	}
	return "[opensend] " + a.Kind, fmt.Sprintf("Since %s:\n\n%s\n\nOne message more comes when it has passed.\n\n%s\n", clockTime(a.Since), a.Text, e.cfg.BaseURL)
}

// mailAlert queues mail about an alert. It is nobody's but the operator's: it
// counts for no quota and in no chart, and no webhook is told of it.
func (e *Engine) mailAlert(tx *storage.Tx, a *storage.Alert, t storage.Telling) error {
	from, err := e.sender("", "")
	if err != nil {
		return err
	}
	subject, text := e.alertWords(a, t)
	id, at := newID(), now()
	return tx.InsertEmail(&automations.Email{
		ID: id, Status: automations.EmailQueued, Alert: true, From: from.String(), To: []string{e.cfg.Alerts.Email}, Subject: subject,
		MessageID: mail.MessageID(from.Domain(), id), NextAttemptAt: at, CreatedAt: at, UpdatedAt: at,
	}, &automations.EmailContent{Text: text})
}

// checkAlerts refuses a webhook that cannot be reached.
func (e *Engine) checkAlerts() error {
	if e.cfg.Alerts.Webhook == "" {
		return nil
	}
	if err := e.CheckEndpoint(e.cfg.Alerts.Webhook); err != nil {
		return fmt.Errorf("alerts.webhook: %w", err)
	}
	return nil
}
