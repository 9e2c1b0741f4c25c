package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// lines gathers a log of JSON lines.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// find is the first line with the message and, at a key, the value.
func (l *lines) find(t *testing.T, msg, key, value string) map[string]any {
	t.Helper()
	for line := range strings.Lines(l.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		if m["msg"] == msg && m[key] == value {
			return m
		}
	}
	t.Fatalf("no line %q with %s=%s in\n%s", msg, key, value, l)
	return nil
}

// grumpy is a mail server that wants a password and repeats the addresses that it
// does not know.
type grumpy struct{ password string }

func (g *grumpy) NewSession(*smtp.Conn) (smtp.Session, error) { return g, nil }
func (g *grumpy) AuthMechanisms() []string                    { return []string{sasl.Plain} }
func (g *grumpy) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, _, password string) error {
		if password != g.password {
			return smtp.ErrAuthFailed
		}
		return nil
	}), nil
}
func (g *grumpy) Reset()                               {}
func (g *grumpy) Logout() error                        { return nil }
func (g *grumpy) Mail(string, *smtp.MailOptions) error { return nil }
func (g *grumpy) Rcpt(to string, _ *smtp.RcptOptions) error {
	if strings.HasPrefix(to, "nobody") {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "<" + to + ">: no such user, says " + to}
	}
	return nil
}
func (g *grumpy) Data(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return err
}

// A log of every detail leads from a request to its event, run and mail, and has
// in it no key, no password, no secret, nothing of a payload and no address.
func TestLogOfAFlow(t *testing.T) {
	const password, payload = "smtp-Geheimnis-77", "Kontonummer-4711"
	cfg, err := loadText(t, serveSMTP(t, &grumpy{password})+"log: {level: debug, format: json}\n", "")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Data, cfg.SMTP.Username, cfg.SMTP.Password = filepath.Join(t.TempDir(), "x.db"), "mailer", password
	log := &lines{}
	ap, err := newAppliance(cfg, nil, newLog(cfg.Log, log))
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- ap.run(ctx, doors{public: []net.Listener{ln}}) }()
	key := ""
	call := func(method, path, body string, want int) (requestID string, answer map[string]any) {
		t.Helper()
		req, err := http.NewRequest(method, "http://"+ln.Addr().String()+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+key)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != want {
			t.Fatalf("%s %s: %d %v %v", method, path, resp.StatusCode, answer, err)
		}
		return resp.Header.Get("X-Request-Id"), answer
	}
	client := &client{http: &http.Client{Transport: handlerTransport{ap.api.Control()}}}
	var made apiKey
	if err := client.call(http.MethodPost, "/api-keys", map[string]any{"name": "x"}, &made); err != nil {
		t.Fatal(err)
	}
	key = made.Token
	_, hook := call(http.MethodPost, "/webhooks", `{"endpoint":"https://hooks.invalid/secret-path-99","events":["email.failed"]}`, http.StatusCreated)
	call(http.MethodPost, "/automations", mailAutomation, http.StatusCreated)
	call(http.MethodPost, "/events/send", `{"event":"go","email":"nobody@example.com","payload":`+payload+`}`, http.StatusBadRequest)
	flow := func(email string) (event, run string) {
		request, answer := call(http.MethodPost, "/events/send", `{"event":"go","email":"`+email+`","payload":{"n":"`+payload+`"}}`, http.StatusAccepted)
		event = answer["delivery"].(map[string]any)["id"].(string)
		run = answer["automation_runs"].([]any)[0].(map[string]any)["id"].(string)
		if line := log.find(t, "event accepted", "request_id", request); line["event"] != event || line["runs_started"] != 1.0 {
			t.Errorf("the request %s leads to %v, not to the event %s", request, line, event)
		}
		if line := log.find(t, "run started", "event", event); line["run"] != run {
			t.Errorf("the event %s leads to %v, not to the run %s", event, line, run)
		}
		return event, run
	}
	_, sent := flow("ada@example.com")
	event, failed := flow("nobody@example.com")
	ended := eventually(func() bool {
		return strings.Contains(log.String(), `"run failed"`) && strings.Contains(log.String(), `"status":"sent"`)
	})
	if !ended {
		t.Fatalf("the runs do not end:\n%s", log)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if line := log.find(t, "run failed", "run", failed); line["level"] != "WARN" || line["event"] != event || !strings.Contains(line["reason"].(string), "550 5.1.1 <[address]>: no such user, says [address]") {
		t.Errorf("%v", line)
	}
	if line := log.find(t, "mail moved", "run", sent); line["status"] != "sent" {
		t.Errorf("%v", line)
	}
	secrets := []string{key, key[3:20], password, payload, "example.com", "@", hook["signing_secret"].(string), "secret-path"}
	for _, secret := range secrets {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log has %q in it:\n%s", secret, log)
		}
	}
}

// A duration has its unit in every format.
func TestLogOfDurations(t *testing.T) {
	for format, want := range map[string]string{"json": `"took":"1m30.5s"`, "text": "took=1m30.5s"} {
		var out bytes.Buffer
		newLog(LogConfig{Level: "info", Format: format}, &out).Info("m", "took", 90*time.Second+500*time.Millisecond)
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s has no %s", out.String(), want)
		}
	}
}

// What a log line says is searched for addresses wherever it stands.
func TestLogWithoutAddresses(t *testing.T) {
	for text, want := range map[string]string{
		"550 5.1.1 <ada@example.com>: unknown": "550 5.1.1 <[address]>: unknown",
		"mailto:Ada@example.com,bob@[1.2.3.4]": "mailto:[address],[address]",
		"a=b rcpt=ada+x@example.com;":          "a=b rcpt=[address];",
		"nothing @ all":                        "nothing @ all",
	} {
		var out bytes.Buffer
		newLog(LogConfig{Level: "info", Format: "json"}, &out).Info("m", "text", text, "error", io.ErrUnexpectedEOF)
		var line struct{ Text, Error string }
		if err := json.Unmarshal(out.Bytes(), &line); err != nil || line.Text != want || line.Error != io.ErrUnexpectedEOF.Error() {
			t.Errorf("%s became %+v %v", text, line, err)
		}
	}
	if log := newLog(LogConfig{Level: "warn"}, io.Discard); log.Enabled(t.Context(), slog.LevelInfo) {
		t.Error("level warn tells what is of level info")
	}
}
