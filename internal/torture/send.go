package main

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	netmail "net/mail"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

func sendLane() lane {
	return lane{
		name: "send", cycles: 200, run: (*rig).send,
		controlCycles: 20, controls: []mutant{
			{name: "sends again what is in doubt", edits: []edit{{"automations/engine/outbox.go", "|| e.cfg.ResendUnconfirmed", "|| true"}}},
			{name: "marks nothing", edits: []edit{{"automations/engine/marker.go", "known := map[sending]mail.Stage{}", "return nil\n\tknown := map[sending]mail.Stage{}"}}},
			{name: "forgets what was in hand", edits: []edit{{"storage/emails.go", "ids = append(ids, automations.ID(key))\n\t\treturn true", "return false"}}},
		},
	}
}

// mailServer counts what it takes. It hesitates before it takes a message and
// before it says so.
type mailServer struct {
	mu    sync.Mutex
	taken map[string]int // by Message-ID
}

func (m *mailServer) NewSession(*smtp.Conn) (smtp.Session, error) { return m, nil }
func (m *mailServer) Reset()                                      {}
func (m *mailServer) Logout() error                               { return nil }
func (m *mailServer) Mail(string, *smtp.MailOptions) error        { return nil }
func (m *mailServer) Rcpt(string, *smtp.RcptOptions) error        { return nil }
func (m *mailServer) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err // the final dot has not come
	}
	message, err := netmail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	between(0, 2*time.Millisecond)
	m.mu.Lock()
	m.taken[strings.Trim(message.Header.Get("Message-ID"), "<>")]++
	m.mu.Unlock()
	between(0, 2*time.Millisecond)
	return nil
}

// count is how many messages it has taken.
func (m *mailServer) count() (all int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, times := range m.taken {
		all += times
	}
	return all
}

const (
	mailAutomation = `{"name":"mail","status":"enabled","steps":[{"key":"t","type":"trigger","config":{"event_name":"go"}},
		{"key":"m","type":"send_email","config":{"subject":"Hi {{event.n}}","html":"<p>{{event.n}}</p>"}}]}`
	mailsPerKill = 40
	mailWorkers  = 8
)

// send ends the server at random moments while it sends, and compares the file
// with what the mail server has taken: nothing twice, nothing called sent that
// was not, and in doubt only what was in hand, nearly all of which arrived.
func (r *rig) send() (result, error) {
	box := &mailServer{taken: map[string]int{}}
	server := smtp.NewServer(box)
	server.ErrorLog = log.New(io.Discard, "", 0)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return result{}, err
	}
	go server.Serve(ln)
	defer server.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	config := fmt.Sprintf("mail: {from: Example <hello@example.com>, workers: %d}\nsmtp: {host: 127.0.0.1, tls: none, port: %s}\n", mailWorkers, port)
	p, err := r.install(r.dir, config, mailAutomation)
	if err != nil {
		return result{}, err
	}
	for n := range r.cycles {
		if err := p.start(); err != nil {
			return result{}, err
		}
		if err := postMails(p, n*mailsPerKill); err != nil {
			return result{}, err
		}
		between(0, 30*time.Millisecond)
		if err := p.kill(); err != nil {
			return result{}, err
		}
	}
	if err := p.start(); err != nil {
		return result{}, err
	}
	if err := p.settle(box.count); err != nil {
		return result{}, err
	}
	if err := p.stop(); err != nil {
		return result{}, err
	}
	return box.audit(p.data(), r.cycles)
}

func postMails(p *program, from int) error {
	var batch []string
	for n := from; n < from+mailsPerKill; n++ {
		batch = append(batch, fmt.Sprintf(`{"event":"go","email":"c%d@example.com","payload":{"n":%d}}`, n%500, n))
	}
	if status, body, err := p.post("/events/send/batch", "["+strings.Join(batch, ",")+"]"); err != nil || status != http.StatusAccepted {
		return fmt.Errorf("posting events: %d %s %w", status, body, err)
	}
	return nil
}

// settle waits until no mail is under way, or none has been taken for long: what
// is left then was forgotten.
func (p *program) settle(taken func() int) error {
	before := -1
	for deadline := time.Now().Add(standstill); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		_, queued, err := p.call(http.MethodGet, "/emails?limit=1&status=queued", "")
		if err != nil {
			return err
		}
		_, sending, err := p.call(http.MethodGet, "/emails?limit=1&status=sending", "")
		if err != nil {
			return err
		}
		none := []byte(`"data":[]`)
		if bytes.Contains(queued, none) && bytes.Contains(sending, none) {
			return nil
		}
		if now := taken(); now != before {
			before, deadline = now, time.Now().Add(standstill)
		}
	}
	return nil
}

// audit compares a data file with what was taken.
func (m *mailServer) audit(path string, kills int) (r result, err error) {
	db, err := storage.Open(path)
	if err != nil {
		return r, err
	}
	defer db.Close()
	count := map[automations.EmailStatus]int{}
	twice, lost, arrived := 0, 0, 0
	err = db.View(func(tx *storage.Tx) error {
		err := eachEmail(tx, func(email *automations.Email) {
			count[email.Status]++
			switch taken := m.taken[email.MessageID]; {
			case taken > 1:
				twice++
			case taken == 0 && email.Status == automations.EmailSent:
				lost++
			case taken == 1 && email.Status == automations.EmailUnconfirmed:
				arrived++
			}
		})
		if err != nil {
			return err
		}
		if err := tx.Check(); err != nil {
			r.fault("check: %v", err)
		}
		return nil
	})
	sent, unconfirmed := count[automations.EmailSent], count[automations.EmailUnconfirmed]
	r.Acknowledged = kills * mailsPerKill
	switch {
	case twice > 0:
		r.fault("%d mails were sent twice", twice)
	case lost > 0:
		r.fault("%d mails are called sent and were not", lost)
	case sent+unconfirmed != r.Acknowledged:
		r.fault("of %d mails %v are accounted for", r.Acknowledged, count)
	case unconfirmed > kills*mailWorkers || arrived < unconfirmed*9/10:
		r.fault("%d mails are in doubt, %d of them arrived", unconfirmed, arrived)
	}
	r.Figures = fmt.Sprintf("%d sent, %d unconfirmed of which %d had arrived, %d twice, %d lost", sent, unconfirmed, arrived, twice, lost)
	return r, err
}
