package engine

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/mail"
	"github.com/opensend/opensend/storage"
)

// Figures is how things stand at one moment, for those who watch. Reading it
// costs the same whatever has gathered: an index row or two, a count for each
// automation and status, and up to storage.MaxBacklog rows of what is due.
type Figures struct {
	At     time.Time // the clock by which things are due
	Wakes  storage.Backlog
	Mail   storage.Backlog
	Notice storage.Backlog
	Runs   map[automations.RunStatus]int64
	Backup storage.Backup
	Room   storage.Room
}

// Figures reads how things stand.
func (e *Engine) Figures() (f Figures, err error) {
	f.At = e.clock.today()
	err = e.db.View(func(tx *storage.Tx) (err error) {
		f.Wakes, f.Mail, f.Notice = tx.DueWakes(f.At), tx.DueMail(f.At), tx.DueNotices(f.At)
		f.Runs = tx.RunsByStatus()
		f.Backup, err = tx.LastBackup()
		return err
	})
	if err == nil {
		f.Room, err = e.db.Room()
	}
	return f, err
}

// Handovers counts what became of attempts to hand mail to the mail server.
type Handovers struct {
	Taken     atomic.Int64 // for all recipients
	Partly    atomic.Int64 // for some of them
	Temporary atomic.Int64 // not taken; tried again
	Permanent atomic.Int64 // not taken, and never will be
	Unknown   atomic.Int64 // the server did not say

	failingSince atomic.Int64 // the first temporary failure since the server last decided that is not about alone, in Unix milliseconds

	mu    sync.Mutex
	alone string // the one recipient whom the server put off since then; empty when it put off none
}

// Handovers tells what became of the attempts since the program started.
func (e *Engine) Handovers() *Handovers { return &e.handovers }

// count counts an attempt to reach the recipients in to.
func (h *Handovers) count(to []string, reply mail.Reply, err error) {
	of := &h.Taken
	switch class := classOf(err); {
	case err == nil && len(reply.Refused) > 0:
		of = &h.Partly
	case err == nil:
	case class == mail.Permanent:
		of = &h.Permanent
	case class == mail.Unknown:
		h.Unknown.Add(1) // says nothing about the next
		return
	default:
		h.Temporary.Add(1)
		h.fails(putOff(to, reply))
		return
	}
	of.Add(1)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.alone = ""
	h.failingSince.Store(0)
}

// fails notes a failure that may pass. As long as only one recipient was put off,
// as one whose mailbox is full, it says nothing about mail to others.
func (h *Handovers) fails(recipient string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if recipient != "" && (h.alone == "" || h.alone == recipient) {
		h.alone = recipient
		return
	}
	h.failingSince.CompareAndSwap(0, time.Now().UnixMilli())
}

// putOff is the recipient whom alone the server put off; empty when it put off
// several, or the mail as a whole, or did not answer.
func putOff(to []string, reply mail.Reply) (one string) {
	if len(reply.Refused) < len(to) {
		return ""
	}
	for _, r := range reply.Refused {
		switch {
		case r.Err.Class != mail.Temporary:
		case one != "":
			return ""
		default:
			one = r.Address
		}
	}
	return one
}
