package cmd

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
)

// benchServer is the real binary on a temporary file, and a client of it.
type benchServer struct {
	b      *testing.B
	dir    string
	base   string
	key    string
	client *http.Client
	server *exec.Cmd
}

func startBench(b *testing.B, config string) *benchServer {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := &benchServer{b: b, dir: b.TempDir(), base: "http://" + ln.Addr().String(), client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2048}}}
	ln.Close()
	if err := os.WriteFile(filepath.Join(s.dir, "config.yaml"), []byte(config), 0o600); err != nil {
		b.Fatal(err)
	}
	out, err := s.command("apikeys", "create", "--name", "bench").Output()
	if err != nil {
		b.Fatal(err)
	}
	s.key = strings.TrimSpace(string(out))
	s.server = s.command("serve")
	if err := s.server.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		s.server.Process.Signal(os.Interrupt)
		s.server.Wait()
		s.client.CloseIdleConnections()
	})
	for range 1000 {
		if resp, err := s.client.Get(s.base + "/healthz"); err == nil {
			resp.Body.Close()
			return s
		}
		<-time.After(5 * time.Millisecond)
	}
	b.Fatal("the server does not start")
	return nil
}

func (s *benchServer) command(args ...string) *exec.Cmd {
	cmd := exec.Command("opensend", args...)
	cmd.Dir, cmd.Env = s.dir, append(os.Environ(), "OPENSEND_BASE_URL="+s.base)
	return cmd
}

func (s *benchServer) post(path, body string, want int) {
	req, err := http.NewRequest(http.MethodPost, s.base+path, strings.NewReader(body))
	if err != nil {
		s.b.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+s.key)
	resp, err := s.client.Do(req)
	if err != nil {
		s.b.Error(err)
		return
	}
	raw, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || resp.StatusCode != want {
		s.b.Errorf("%s: %d %s %v", path, resp.StatusCode, raw, err)
	}
}

// rss is the server's resident memory in MiB, zero where the system does not
// tell.
func (s *benchServer) rss() (mib float64) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.server.Process.Pid))
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(status), "VmRSS:")
	fmt.Sscan(after, &mib)
	return mib / 1024
}

func percentile(sorted []time.Duration, p float64) float64 {
	return float64(sorted[min(int(float64(len(sorted))*p), len(sorted)-1)].Microseconds()) / 1000
}

// BenchmarkHTTP posts events to the real binary over keep-alive connections,
// with a key, at an automation that starts a run with a delay for each. Server
// and clients share the machine. Run BenchmarkBareBolt of the engine beside it.
func BenchmarkHTTP(b *testing.B) {
	for _, clients := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			s := startBench(b, "")
			s.post("/automations", `{"name":"bench","status":"enabled","steps":[{"key":"t","type":"trigger","config":{"event_name":"bench"}},{"key":"d","type":"delay","config":{"duration":"30 days"}}]}`, http.StatusCreated)
			took := make([]time.Duration, b.N)
			var next atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			for range clients {
				wg.Go(func() {
					for n := next.Add(1) - 1; n < int64(b.N); n = next.Add(1) - 1 {
						begin := time.Now()
						s.post("/events/send", fmt.Sprintf(`{"event":"bench","email":"c%d@example.com","payload":{"plan":"pro","n":%d}}`, n%10_000, n), http.StatusAccepted)
						took[n] = time.Since(begin)
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			slices.Sort(took)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(percentile(took, 0.5), "p50-ms")
			b.ReportMetric(percentile(took, 0.99), "p99-ms")
			b.ReportMetric(s.rss(), "rss-MiB")
			if info, err := os.Stat(filepath.Join(s.dir, "opensend.db")); err == nil {
				b.ReportMetric(float64(info.Size())/float64(b.N), "file-B/event")
			}
		})
	}
}

// mailbox is an SMTP server that tells when a message arrives.
type mailbox struct{ arrived chan time.Time }

func (m *mailbox) NewSession(*smtp.Conn) (smtp.Session, error) { return m, nil }
func (m *mailbox) Reset()                                      {}
func (m *mailbox) Logout() error                               { return nil }
func (m *mailbox) Mail(string, *smtp.MailOptions) error        { return nil }
func (m *mailbox) Rcpt(string, *smtp.RcptOptions) error        { return nil }
func (m *mailbox) Data(r io.Reader) error {
	m.arrived <- time.Now()
	_, err := io.Copy(io.Discard, r)
	return err
}

// BenchmarkEventToSMTP measures, on an idle server, from posting an event to
// the mail server receiving the first byte of the mail.
func BenchmarkEventToSMTP(b *testing.B) {
	box := &mailbox{arrived: make(chan time.Time, 1)}
	server := smtp.NewServer(box)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go server.Serve(ln)
	defer server.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	s := startBench(b, "mail: {from: hello@example.com}\nsmtp: {host: 127.0.0.1, tls: none, port: "+port+"}\n")
	s.post("/automations", `{"name":"bench","status":"enabled","steps":[{"key":"t","type":"trigger","config":{"event_name":"bench"}},{"key":"m","type":"send_email","config":{"subject":"Hi","html":"<p>{{event.n}}</p>"}}]}`, http.StatusCreated)
	var took []time.Duration
	b.ResetTimer()
	for n := range b.N {
		begin := time.Now()
		s.post("/events/send", fmt.Sprintf(`{"event":"bench","email":"c%d@example.com","payload":{"n":%d}}`, n, n), http.StatusAccepted)
		took = append(took, (<-box.arrived).Sub(begin))
	}
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(percentile(took, 0.5), "p50-ms")
	b.ReportMetric(percentile(took, 0.99), "p99-ms")
}
