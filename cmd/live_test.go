package cmd

import (
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/opensend/opensend/internal/port"
)

// liveServer is the real binary on a temporary file, and a client of it.
type liveServer struct {
	t      testing.TB
	dir    string
	base   string
	key    string
	client *http.Client
	server *exec.Cmd
}

// patience is how long tests wait for what must come, on the slowest machine.
const patience = time.Minute

// eventually tries until it succeeds, or patience is at its end.
func eventually(try func() bool) bool {
	for end := time.Now().Add(patience); time.Now().Before(end); <-time.After(10 * time.Millisecond) {
		if try() {
			return true
		}
	}
	return false
}

// reserved is an address that is the test's alone.
func reserved(t testing.TB) string {
	t.Helper()
	address, release, err := port.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { release() })
	return address
}

// startLive starts a server with a configuration and a key.
func startLive(b testing.TB, config string) *liveServer {
	b.Helper()
	s := &liveServer{t: b, dir: b.TempDir(), base: "http://" + reserved(b), client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2048}}}
	if err := os.WriteFile(filepath.Join(s.dir, "config.yaml"), []byte(config), 0o600); err != nil {
		b.Fatal(err)
	}
	out, err := s.command("apikeys", "create", "--name", "bench").Output()
	if err != nil {
		b.Fatal(err)
	}
	s.key = strings.TrimSpace(string(out))
	s.start()
	b.Cleanup(func() {
		s.server.Process.Signal(os.Interrupt)
		s.server.Wait()
		s.client.CloseIdleConnections()
		// Whatever was done to the server, its file fits together.
		if out, err := s.command("check").CombinedOutput(); err != nil {
			b.Errorf("check: %v\n%s", err, out)
		}
	})
	return s
}

// start starts the binary and waits until it answers.
func (s *liveServer) start() {
	s.t.Helper()
	s.server = s.command("serve")
	if err := s.server.Start(); err != nil {
		s.t.Fatal(err)
	}
	up := eventually(func() bool {
		resp, err := s.client.Get(s.base + "/healthz")
		if err == nil {
			resp.Body.Close()
		}
		return err == nil
	})
	if !up {
		s.t.Fatal("the server does not start")
	}
}

func (s *liveServer) command(args ...string) *exec.Cmd {
	cmd := exec.Command("opensend", args...)
	cmd.Dir, cmd.Env = s.dir, append(os.Environ(), "OPENSEND_BASE_URL="+s.base)
	return cmd
}

func (s *liveServer) post(path, body string, want int) []byte {
	return s.call(http.MethodPost, path, body, want)
}

func (s *liveServer) call(method, path, body string, want int) []byte {
	req, err := http.NewRequest(method, s.base+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+s.key)
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Error(err)
		return nil
	}
	raw, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || resp.StatusCode != want {
		s.t.Errorf("%s: %d %s %v", path, resp.StatusCode, raw, err)
	}
	return raw
}

// mailbox is an SMTP server that hands over what it takes, and when.
type mailbox struct{ arrived chan arrival }

type arrival struct {
	at      time.Time
	message string
	answer  chan struct{} // close it to let the server answer
}

func (m *mailbox) serve(t testing.TB) (config string) { return serveSMTP(t, m) }

// serveSMTP starts a mail server and returns the configuration that leads to
// it.
func serveSMTP(t testing.TB, backend smtp.Backend) (config string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := smtp.NewServer(backend)
	server.AllowInsecureAuth = true
	server.ErrorLog = log.New(io.Discard, "", 0)
	go server.Serve(ln)
	t.Cleanup(func() { server.Close() })
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	return "mail: {from: Example <hello@example.com>}\nsmtp: {host: 127.0.0.1, tls: none, port: " + port + "}\n"
}

func (m *mailbox) NewSession(*smtp.Conn) (smtp.Session, error) { return m, nil }
func (m *mailbox) Reset()                                      {}
func (m *mailbox) Logout() error                               { return nil }
func (m *mailbox) Mail(string, *smtp.MailOptions) error        { return nil }
func (m *mailbox) Rcpt(string, *smtp.RcptOptions) error        { return nil }
func (m *mailbox) Data(r io.Reader) error {
	at := time.Now()
	raw, err := io.ReadAll(r)
	answer := make(chan struct{})
	m.arrived <- arrival{at, string(raw), answer}
	<-answer
	return err
}

const mailAutomation = `{"name":"mail","status":"enabled","steps":[{"key":"t","type":"trigger","config":{"event_name":"go"}},
	{"key":"m","type":"send_email","config":{"subject":"Hi {{event.n}}","html":"<p>{{event.n}} &amp; more</p>"}}]}`

// A mail leaves by SMTP. When the program is killed before the mail server has
// answered, the mail is neither lost nor sent twice: it is held until its run is
// retried, and is then the same mail.
func TestMailBySMTP(t *testing.T) {
	box := &mailbox{arrived: make(chan arrival)}
	s := startLive(t, box.serve(t))
	var workflow struct{ ID string }
	if err := json.Unmarshal(s.post("/automations", mailAutomation, http.StatusCreated), &workflow); err != nil {
		t.Fatal(err)
	}
	s.post("/events/send", `{"event":"go","email":"ada@example.com","payload":{"n":1}}`, http.StatusAccepted)
	first := <-box.arrived
	close(first.answer)
	for _, line := range []string{"From: \"Example\" <hello@example.com>\r\n", "To: ada@example.com\r\n", "Subject: Hi 1\r\n", "Message-ID: <", "1 & more", "<p>1 &amp; more</p>"} {
		if !strings.Contains(first.message, line) {
			t.Errorf("the mail has no %q:\n%s", line, first.message)
		}
	}

	var receipt struct {
		Runs []struct{ ID string } `json:"automation_runs"`
	}
	if err := json.Unmarshal(s.post("/events/send", `{"event":"go","email":"ada@example.com","payload":{"n":2}}`, http.StatusAccepted), &receipt); err != nil {
		t.Fatal(err)
	}
	run := "/automations/" + workflow.ID + "/runs/" + receipt.Runs[0].ID
	second := <-box.arrived // the mail server has it all, and does not answer before the next line
	s.server.Process.Kill()
	s.server.Wait()
	close(second.answer)
	s.start()
	if state := string(s.call(http.MethodGet, run, "", http.StatusOK)); !strings.Contains(state, `"status":"running"`) {
		t.Errorf("the run of a held mail: %s", state)
	}
	select {
	case again := <-box.arrived:
		t.Errorf("sent again by itself: %s", again.message)
	case <-time.After(300 * time.Millisecond):
	}
	s.post(run+"/retry", "", http.StatusOK)
	third := <-box.arrived
	close(third.answer)
	if third.message != second.message {
		t.Errorf("the retry sent another mail:\n%s\n%s", second.message, third.message)
	}
}
