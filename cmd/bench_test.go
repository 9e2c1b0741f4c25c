package cmd

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
)

func percentile(sorted []time.Duration, p float64) float64 {
	return float64(sorted[min(int(float64(len(sorted))*p), len(sorted)-1)].Microseconds()) / 1000
}

// BenchmarkEventToSMTP measures, on an idle server, from posting an event to
// the mail server receiving the first byte of the mail.
func BenchmarkEventToSMTP(b *testing.B) {
	box := &mailbox{arrived: make(chan arrival)}
	s := startLive(b, box.serve(b))
	s.post("/automations", `{"name":"bench","status":"enabled","steps":[{"key":"t","type":"trigger","config":{"event_name":"bench"}},{"key":"m","type":"send_email","config":{"subject":"Hi","html":"<p>{{event.n}}</p>"}}]}`, http.StatusCreated)
	var took []time.Duration
	b.ResetTimer()
	for n := range b.N {
		begin := time.Now()
		s.post("/events/send", fmt.Sprintf(`{"event":"bench","email":"c%d@example.com","payload":{"n":%d}}`, n, n), http.StatusAccepted)
		mail := <-box.arrived
		close(mail.answer)
		took = append(took, mail.at.Sub(begin))
	}
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(percentile(took, 0.5), "p50-ms")
	b.ReportMetric(percentile(took, 0.99), "p99-ms")
}

// counter is a mail server that takes everything at once and says how much.
type counter struct {
	left atomic.Int64
	all  chan struct{} // closed when nothing is left
}

func (c *counter) NewSession(*smtp.Conn) (smtp.Session, error) { return c, nil }
func (c *counter) Reset()                                      {}
func (c *counter) Logout() error                               { return nil }
func (c *counter) Mail(string, *smtp.MailOptions) error        { return nil }
func (c *counter) Rcpt(string, *smtp.RcptOptions) error        { return nil }
func (c *counter) Data(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	if c.left.Add(-1) == 0 {
		close(c.all)
	}
	return err
}

// BenchmarkMails measures mails handed over in a second, over one connection
// and over eight: from posting the events to the mail server having them all.
func BenchmarkMails(b *testing.B) {
	for _, workers := range []int{1, 8} {
		b.Run(fmt.Sprintf("connections=%d", workers), func(b *testing.B) {
			box := &counter{all: make(chan struct{})}
			box.left.Store(int64(b.N))
			s := startLive(b, strings.Replace(serveSMTP(b, box), "mail: {", fmt.Sprintf("mail: {workers: %d, ", workers), 1))
			s.post("/automations", mailAutomation, http.StatusCreated)
			b.ResetTimer()
			for posted := 0; posted < b.N; {
				var batch []string
				for ; len(batch) < 500 && posted < b.N; posted++ {
					batch = append(batch, fmt.Sprintf(`{"event":"go","email":"c%d@example.com","payload":{"n":%d}}`, posted%10_000, posted))
				}
				s.post("/events/send/batch", "["+strings.Join(batch, ",")+"]", http.StatusAccepted)
			}
			<-box.all
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "mails/s")
		})
	}
}
