package cmd

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	netmail "net/mail"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

var sendCrashes = flag.Int("send-crashes", 200, "how often TestSendStorm kills the server")

// ledger is a mail server that counts what it takes. It hesitates before it
// takes a message and before it says so.
type ledger struct {
	mu    sync.Mutex
	taken map[string]int // by Message-ID
}

func (l *ledger) NewSession(*smtp.Conn) (smtp.Session, error) { return l, nil }
func (l *ledger) Reset()                                      {}
func (l *ledger) Logout() error                               { return nil }
func (l *ledger) Mail(string, *smtp.MailOptions) error        { return nil }
func (l *ledger) Rcpt(string, *smtp.RcptOptions) error        { return nil }
func (l *ledger) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err // the final dot has not come
	}
	message, err := netmail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	hesitate(2 * time.Millisecond)
	l.mu.Lock()
	l.taken[strings.Trim(message.Header.Get("Message-ID"), "<>")]++
	l.mu.Unlock()
	hesitate(2 * time.Millisecond)
	return nil
}

func hesitate(most time.Duration) { <-time.After(rand.N(most)) }

// TestSendStorm kills the real binary at random moments while it sends with
// eight workers. In the end no mail has been sent twice, every mail that is
// called sent was taken, and only mail in hand at a kill is in doubt: nearly all
// of it arrived.
func TestSendStorm(t *testing.T) {
	sum := sendStorm(t, "hold", *sendCrashes)
	if sum.twice+sum.lost > 0 || sum.sent+sum.unconfirmed != sum.mails || sum.unconfirmed > 8*sum.kills || sum.arrived < sum.unconfirmed*9/10 {
		t.Errorf("%+v", sum)
	}
}

// When mail in doubt is sent again nothing is in doubt, and what arrives twice
// is what the other policy holds back: the storm finds it.
func TestSendStormFindsDuplicates(t *testing.T) {
	sum := sendStorm(t, "resend", 10)
	if sum.twice == 0 || sum.lost > 0 || sum.sent != sum.mails {
		t.Errorf("%+v", sum)
	}
}

// mailSum is what became of the mails of a storm.
type mailSum struct {
	kills, mails, sent, unconfirmed int // as the file says
	arrived                         int // unconfirmed ones that the mail server took
	twice, lost                     int // taken more than once; called sent and not taken
}

func sendStorm(t *testing.T, onUnconfirmed string, kills int) mailSum {
	box := &ledger{taken: map[string]int{}}
	s := startLive(t, strings.Replace(serveSMTP(t, box), "mail: {", "mail: {on_unconfirmed: "+onUnconfirmed+", ", 1))
	s.post("/automations", mailAutomation, http.StatusCreated)
	const each = 40
	for n := range kills {
		var batch []string
		for i := range each {
			batch = append(batch, fmt.Sprintf(`{"event":"go","email":"c%d@example.com","payload":{"n":%d}}`, i, n*each+i))
		}
		s.post("/events/send/batch", "["+strings.Join(batch, ",")+"]", http.StatusAccepted)
		hesitate(30 * time.Millisecond)
		s.server.Process.Kill()
		s.server.Wait()
		s.start()
	}
	for s.underWay() && !t.Failed() {
		hesitate(50 * time.Millisecond)
	}
	s.server.Process.Signal(os.Interrupt)
	if err := s.server.Wait(); err != nil {
		t.Fatal(err)
	}
	defer s.start()
	sum := s.auditMail(box)
	sum.kills, sum.mails = kills, kills*each
	t.Logf("%+v", sum)
	return sum
}

// underWay reports whether there is mail that is still to be settled.
func (s *liveServer) underWay() bool {
	for _, status := range []string{"queued", "sending"} {
		if !bytes.Contains(s.call(http.MethodGet, "/emails?limit=1&status="+status, "", http.StatusOK), []byte(`"data":[]`)) {
			return true
		}
	}
	return false
}

// auditMail compares the file with what the mail server has taken.
func (s *liveServer) auditMail(box *ledger) (sum mailSum) {
	db, err := storage.Open(filepath.Join(s.dir, "opensend.db"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	err = db.View(func(tx *storage.Tx) error {
		for page, more := (storage.Page{Limit: 1000}), true; more; {
			rows, rest, err := tx.Emails(page, nil)
			if err != nil {
				return err
			}
			for _, email := range rows {
				sum.count(email.Status, box.taken[email.MessageID])
				page.After = email.ID
			}
			more = rest.More
		}
		return tx.Check()
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return sum
}

func (sum *mailSum) count(status automations.EmailStatus, taken int) {
	switch status {
	case automations.EmailSent:
		sum.sent++
		if taken == 0 {
			sum.lost++
		}
	case automations.EmailUnconfirmed:
		sum.unconfirmed++
		if taken > 0 {
			sum.arrived++
		}
	}
	if taken > 1 {
		sum.twice++
	}
}
