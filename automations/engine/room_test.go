package engine

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// A file that has reached its bound takes nothing new in. What it has goes on:
// it is read, runs move, mail leaves, old records go, and then there is room
// again, all without a restart.
func TestFullFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = storage.MinSize
		db, err := storage.OpenWith(filepath.Join(t.TempDir(), "x.db"), storage.Options{MaxSize: limit})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		e := newEngine(t, Config{DB: db, Retention: storage.Retention{Events: days}})
		workflow(t, db, `[{"key":"t","type":"trigger","config":{"event_name":"start"}},{"key":"d","type":"delay","config":{"duration":"1 hour"}},
			{"key":"m","type":"send_email","config":{"subject":"Hi","html":"<p>x</p>"}}]`, "", nil)
		stop := e.start(t)
		started := e.mustAccept(t, event("start", "a@example.com")).Started[0]
		var first *Receipt
		full := func() error {
			ev := event("fill", "a@example.com")
			ev.Payload = json.RawMessage(`{"x":"` + strings.Repeat("x", 100_000) + `"}`)
			r, _, err := e.Accept(ev, nil)
			if first == nil {
				first = r
			}
			return err
		}
		taken := 0
		for ; err == nil && taken < 1000; taken++ {
			err = full()
			time.Sleep(time.Second)
		}
		refused, ok := errors.AsType[*automations.Error](err)
		if !ok || refused.Code != storage.CodeFull || refused.Kind != automations.KindUnavailable || refused.Wait == 0 || taken < 100 {
			t.Fatalf("after %d events: %v", taken, err)
		}
		if err := e.Ready(); err != nil {
			t.Errorf("a full server still answers: %v", err)
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if run := runOf(t, db, started); run.Status != automations.RunCompleted {
			t.Errorf("a run that went on while the file was full is %s: %s", run.Status, run.FailureReason)
		}
		if email, _ := emailOf(t, db, nil); email.Status != automations.EmailCaptured {
			t.Errorf("its mail is %s", email.Status)
		}
		if !keptDelivery(t, db, first.Delivery.ID) || full() == nil {
			t.Error("there is room before anything was deleted")
		}
		if info, err := os.Stat(db.Path()); err != nil || info.Size() > limit {
			t.Errorf("the file has %d bytes, %d are allowed: %v", info.Size(), limit, err)
		}
		time.Sleep(2 * days)
		synctest.Wait()
		if err := full(); err != nil {
			t.Errorf("when old events are gone there is room again: %v", err)
		}
		stop()
		check(t, db)
	})
}
