package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

const (
	postAlertFor  = 24 * time.Hour // then a message is given up
	lastPostWait  = time.Hour
	lastWordsTime = 5 * time.Second // for what is posted when the program must end
)

// posting is how often a message was posted in vain, and when it is tried again.
type posting struct {
	tries int
	next  time.Time
}

// postAlerts posts what is to be posted and due: after a minute again, then twice
// as long each time up to an hour.
func (e *Engine) postAlerts(ctx context.Context, w *watch) {
	for i := range w.alerts {
		a := &w.alerts[i]
		for j := range a.Untold {
			t := &a.Untold[j]
			if !t.Webhook {
				continue
			}
			p := w.posts[t.ID]
			if p == nil {
				p = &posting{}
			}
			if now().Before(p.next) || ctx.Err() != nil {
				break // the next of this alert would overtake it
			}
			err := e.postAlert(ctx, a, *t)
			if err != nil && now().Sub(t.At) < postAlertFor {
				p.next = now().Add(min(watchEvery<<min(p.tries, 10), lastPostWait))
				p.tries++
				w.posts[t.ID] = p
				e.log.Warn("an alert could not be posted", "kind", a.Kind, "error", err)
				break
			}
			if err != nil {
				e.log.Error("an alert was not posted and is given up", "kind", a.Kind, "error", err)
			}
			t.Webhook, w.unsaved = false, true
			delete(w.posts, t.ID)
		}
	}
}

// postAlert posts one message to the webhook, as notices to other webhooks are.
func (e *Engine) postAlert(ctx context.Context, a *storage.Alert, t storage.Telling) error {
	kind := automations.AlertBeganNotice
	data := map[string]any{"kind": a.Kind, "text": a.Text, "since": clockTime(a.Since), "server": e.cfg.BaseURL}
	if t.Ended {
		kind, data["ended_at"] = automations.AlertEndedNotice, clockTime(t.At)
	}
	body, err := json.Marshal(automations.NewNotice(kind, t.At, data))
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, e.cfg.Alerts.Webhook, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "opensend")
	if len(e.cfg.Alerts.Secret) > 0 {
		sign(r.Header, t.ID, now(), body, [][]byte{e.cfg.Alerts.Secret})
	}
	code, _, err := e.outbound.do(r)
	if code == 0 {
		return err
	}
	if code < 200 || code >= 300 {
		return fmt.Errorf("answered %d", code)
	}
	return nil
}

// lastWords is what lies beside a data file that failed, until the program has
// started again: the file itself takes no more writes.
type lastWords struct {
	At     time.Time `json:"at"`
	Posted bool      `json:"posted"`
}

func (e *Engine) lastWordsPath() string { return e.db.Path() + ".failed" }

// fileFailed tells that the file has failed, which ends the program: the webhook
// at once, everybody else after the next start. While the alert lasts it tells
// nobody again, however often the program is started.
func (e *Engine) fileFailed(ctx context.Context, w *watch, cause error) {
	e.log.Error("the data file failed; the program ends and must be started again", "error", cause)
	if _, err := os.Stat(e.lastWordsPath()); w.open(AlertFileFailed) != nil || err == nil {
		return
	}
	last := lastWords{At: now()}
	if e.cfg.Alerts.Webhook != "" {
		ctx, cancel := context.WithTimeout(ctx, lastWordsTime)
		defer cancel()
		a := e.failureAlert(last.At)
		err := e.postAlert(ctx, &a, storage.Telling{ID: newID(), At: last.At})
		if last.Posted = err == nil; err != nil {
			e.log.Warn("an alert could not be posted", "kind", a.Kind, "error", err)
		}
	}
	raw, _ := json.Marshal(last)
	if err := os.WriteFile(e.lastWordsPath(), raw, 0o600); err != nil {
		e.log.Error("that the data file failed cannot be remembered", "error", err)
	}
}

func (e *Engine) failureAlert(at time.Time) storage.Alert {
	return storage.Alert{Kind: AlertFileFailed, Since: at, Text: "a write to the data file failed and opensend ended: look at the system's log and the disk, and run opensend check"}
}

// rememberFailure takes up that the file failed before this start.
func (e *Engine) rememberFailure(w *watch) {
	raw, err := os.ReadFile(e.lastWordsPath())
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var last lastWords
	if err != nil || json.Unmarshal(raw, &last) != nil {
		last.At = w.began
	}
	w.wrongAt[AlertFileFailed] = w.began
	if w.open(AlertFileFailed) == nil {
		e.startAlert(w, e.failureAlert(last.At), !last.Posted)
	}
	if err := e.saveAlerts(w); err != nil {
		e.log.Error("alerts cannot be remembered", "error", err)
		return
	}
	if err := os.Remove(e.lastWordsPath()); err != nil {
		e.log.Warn("a note that the data file failed cannot be removed", "path", e.lastWordsPath(), "error", err)
	}
}
