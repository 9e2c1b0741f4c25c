package cmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

var crashes = flag.Int("crashes", 100, "how often TestCrashStorm kills the server")

// storm is a server that is killed again and again, and the ledger of its
// clients: what they sent and what was acknowledged.
type storm struct {
	t    *testing.T
	dir  string
	base string
	key  string

	mu    sync.Mutex
	sent  map[int]bool
	acked map[string]ack // by delivery
}

type ack struct {
	seq  int
	runs []string
}

// TestCrashStorm kills the real binary at random moments while clients post,
// and starts it again on the same file. In the end everything acknowledged is
// there, whole and once, and nothing that nobody sent.
func TestCrashStorm(t *testing.T) {
	s := &storm{t: t, dir: t.TempDir(), sent: map[int]bool{}, acked: map[string]ack{}}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.base = "http://" + ln.Addr().String()
	ln.Close()
	out, err := s.command("apikeys", "create", "--name", "storm").Output()
	if err != nil {
		t.Fatal(err)
	}
	s.key = strings.TrimSpace(string(out))
	seq := 0
	for cycle := range *crashes {
		seq = s.cycle(cycle, seq)
	}
	s.audit()
}

func (s *storm) command(args ...string) *exec.Cmd {
	cmd := exec.Command("opensend", args...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "OPENSEND_BASE_URL="+s.base)
	return cmd
}

const stormAutomation = `{"name":"storm","status":"enabled","steps":[
	{"key":"t","type":"trigger","config":{"event_name":"storm"}},
	{"key":"c","type":"condition","config":{"type":"rule","field":"event.n","operator":"gte","value":0}},
	{"key":"w","type":"wait_for_event","config":{"event_name":"calm","timeout":"30 days"}}],
	"connections":[{"from":"t","to":"c"},{"from":"c","to":"w","type":"condition_met"}]}`

// cycle runs the server under load for a moment and kills it.
func (s *storm) cycle(cycle, seq int) int {
	server := s.command("serve")
	var stderr bytes.Buffer
	server.Stderr = &stderr
	if err := server.Start(); err != nil {
		s.t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	for tries := 0; ; tries++ {
		if resp, err := client.Get(s.base + "/healthz"); err == nil {
			resp.Body.Close()
			break
		}
		if tries == 2000 {
			s.t.Fatalf("cycle %d: the server does not start: %s", cycle, stderr.String())
		}
		<-time.After(5 * time.Millisecond)
	}
	if cycle == 0 {
		if status, body := s.post(client, "/automations", stormAutomation); status != http.StatusCreated {
			s.t.Fatalf("%d %s", status, body)
		}
	}
	stop := make(chan struct{})
	var posters sync.WaitGroup
	next := make(chan int)
	for range 8 + rand.IntN(57) {
		posters.Go(func() {
			for n := range next {
				s.send(client, n)
			}
		})
	}
	go func() {
		defer close(next)
		for {
			select {
			case next <- seq:
				seq++
			case <-stop:
				return
			}
		}
	}()
	<-time.After(time.Duration(10+rand.IntN(60)) * time.Millisecond)
	server.Process.Kill()
	close(stop)
	posters.Wait()
	var exit *exec.ExitError
	if err := server.Wait(); !errors.As(err, &exit) || exit.Exited() {
		s.t.Fatalf("cycle %d: the server ended by itself: %v %s", cycle, err, stderr.String())
	}
	return seq
}

func (s *storm) post(client *http.Client, path, body string) (int, []byte) {
	req, err := http.NewRequest(http.MethodPost, s.base+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+s.key)
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil // killed before it answered
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil
	}
	return resp.StatusCode, raw
}

// send posts one event and notes what was acknowledged. An answer with a 2xx
// status that was read whole counts.
func (s *storm) send(client *http.Client, seq int) {
	s.mu.Lock()
	s.sent[seq] = true
	s.mu.Unlock()
	status, raw := s.post(client, "/events/send", fmt.Sprintf(`{"event":"storm","email":"c%d@example.com","payload":{"n":%d}}`, seq%500, seq))
	if status == 0 {
		return
	}
	var answer struct {
		Delivery struct{ ID string }
		Runs     []struct{ ID string } `json:"automation_runs"`
	}
	if status != http.StatusAccepted || json.Unmarshal(raw, &answer) != nil {
		s.t.Errorf("event %d: %d %s", seq, status, raw)
		return
	}
	a := ack{seq: seq}
	for _, run := range answer.Runs {
		a.runs = append(a.runs, run.ID)
	}
	s.mu.Lock()
	s.acked[answer.Delivery.ID] = a
	s.mu.Unlock()
}

// audit compares the file with the ledger.
func (s *storm) audit() {
	db, err := storage.Open(filepath.Join(s.dir, "opensend.db"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	stored, seen := map[string]*automations.Delivery{}, map[int]bool{}
	err = db.View(func(tx *storage.Tx) error {
		page := storage.Page{Limit: 1000}
		for {
			rows, rest, err := tx.Deliveries(page, nil)
			if err != nil {
				return err
			}
			for _, d := range rows {
				var payload struct{ N int }
				if json.Unmarshal(d.Payload, &payload) != nil || !s.sent[payload.N] || seen[payload.N] {
					s.t.Errorf("delivery %s of event %d was not sent, or is there twice", d.ID, payload.N)
				}
				seen[payload.N] = true
				stored[d.ID.String()] = d
				s.auditDelivery(tx, d)
			}
			if !rest.More {
				return nil
			}
			page.After = rows[len(rows)-1].ID
		}
	})
	if err != nil {
		s.t.Fatal(err)
	}
	lost := 0
	for id, a := range s.acked {
		d := stored[id]
		if d == nil || len(d.Verdicts) != len(a.runs) || d.Verdicts[0].RunID.String() != a.runs[0] {
			lost++
		}
	}
	s.t.Logf("%d kills, %d events sent, %d acknowledged, %d stored, %d acknowledgements lost", *crashes, len(s.sent), len(s.acked), len(stored), lost)
	if lost > 0 || len(s.acked) == 0 {
		s.t.Errorf("%d of %d acknowledgements were lost", lost, len(s.acked))
	}
	if err := db.View(func(tx *storage.Tx) error { return tx.Check() }); err != nil {
		s.t.Error(err)
	}
}

// auditDelivery makes sure that what belongs to a delivery is all there.
func (s *storm) auditDelivery(tx *storage.Tx, d *automations.Delivery) {
	if c, err := tx.Contact(d.ContactID); err != nil || c.Email != d.Email {
		s.t.Errorf("the contact of delivery %s: %v", d.ID, err)
	}
	for _, v := range d.Verdicts {
		run, err := tx.Run(automations.RunRef{WorkflowID: v.WorkflowID, RunID: v.RunID})
		if err != nil || run.TriggerEventID != d.ID || run.Status.Final() {
			s.t.Errorf("the run of delivery %s: %v", d.ID, err)
		}
	}
}
