package server

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/opensend/opensend/automations/engine"
	"github.com/opensend/opensend/storage"
	"github.com/opensend/opensend/storage/storagetest"
)

// rig is a whole server without its network: real file, real engine, real
// handlers.
type rig struct {
	t      testing.TB
	db     *storage.DB
	engine *engine.Engine
	public http.Handler
	trust  http.Handler
	key    string // full access
	from   string // where requests come from; empty for one address
	madeUp bool   // requests may have parameters that nobody reads
}

// inBubble runs a test in virtual time on a rig whose engine runs.
func inBubble(t *testing.T, test func(*testing.T, *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newRig(t)) })
}

func newRig(t testing.TB) *rig { return newRigWith(t, Config{}) }

func newRigWith(t testing.TB, cfg Config, change ...func(*engine.Config)) *rig {
	t.Helper()
	db := storagetest.Open(t)
	ec := engine.Config{DB: db, BaseURL: "https://opensend.example", From: "Example <hello@example.com>", Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	for _, c := range change {
		c(&ec)
	}
	e, err := engine.New(ec)
	if err != nil {
		t.Fatal(err)
	}
	cfg.DB, cfg.Engine = db, e
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- e.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	r := &rig{t: t, db: db, engine: e, public: s.Handler(), trust: s.Control()}
	r.key = r.newKey("full_access")
	return r
}

func (r *rig) newKey(permission string) string { return r.keyWith(permission, "false") }

// testKey makes a key whose mail is captured.
func (r *rig) testKey(permission string) string { return r.keyWith(permission, "true") }

func (r *rig) keyWith(permission, test string) string {
	r.t.Helper()
	a := r.send(r.trust, "", http.MethodPost, "/api-keys", `{"name":"test","permission":"`+permission+`","test":`+test+`}`)
	return a.want(201).text("token")
}

// reply is what came back.
type reply struct {
	t      testing.TB
	call   string
	status int
	header http.Header
	raw    []byte
	body   map[string]any
}

func (r *rig) send(h http.Handler, key, method, path, body string, header ...string) *reply {
	r.t.Helper()
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.from != "" {
		req.RemoteAddr = r.from
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	before, _ := r.newest()
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	checkExchange(r.t, req, body, rec)
	if rec.Code < 300 && !r.madeUp {
		checkQuery(r.t, req)
	}
	raw, err := io.ReadAll(rec.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	a := &reply{t: r.t, call: method + " " + path + " " + body, status: rec.Code, header: rec.Header(), raw: raw}
	if len(a.call) > 300 {
		a.call = a.call[:300] + "…"
	}
	if bytes.HasPrefix(raw, []byte("{")) {
		a.decode()
	}
	r.checkNoted(req, before, a)
	return a
}

func (a *reply) decode() {
	a.t.Helper()
	dec := json.NewDecoder(bytes.NewReader(a.raw))
	dec.UseNumber()
	if err := dec.Decode(&a.body); err != nil {
		a.t.Fatalf("%s: %v in %s", a.call, err, a.raw)
	}
}

// do calls the public API with full access.
func (r *rig) do(method, path, body string, header ...string) *reply {
	r.t.Helper()
	return r.send(r.public, r.key, method, path, body, header...)
}

// want fails the test unless the answer has the status.
func (a *reply) want(status int) *reply {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("%s\nanswered %d %s\nwant %d", a.call, a.status, a.raw, status)
	}
	return a
}

// at walks along a dotted path; list indices count.
func (a *reply) at(path string) any {
	var v any = a.body
	for part := range strings.SplitSeq(path, ".") {
		switch at := v.(type) {
		case map[string]any:
			v = at[part]
		case []any:
			i := int(part[0] - '0')
			if i >= len(at) {
				return nil
			}
			v = at[i]
		default:
			return nil
		}
	}
	return v
}

func (a *reply) text(path string) string {
	a.t.Helper()
	s, ok := a.at(path).(string)
	if !ok {
		a.t.Fatalf("%s\nanswered %s\nwithout a text at %s", a.call, a.raw, path)
	}
	return s
}

// has fails the test unless the value at path is the given one.
func (a *reply) has(path string, want any) *reply {
	a.t.Helper()
	if n, ok := want.(int); ok {
		want = json.Number(strconv.Itoa(n))
	}
	if got := a.at(path); got != want {
		a.t.Fatalf("%s\nanswered %s\n%s is %v, want %v", a.call, a.raw, path, got, want)
	}
	return a
}

// seed reads one of the examples of the documents that the doors follow.
func seed(t *testing.T, file, path string) any {
	t.Helper()
	raw, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	a := &reply{t: t, raw: raw}
	a.decode()
	return a.at(path)
}

func seedJSON(t *testing.T, file, path string) string { return string(encode(seed(t, file, path))) }

// automation creates an enabled automation from steps and connections.
func (r *rig) automation(name, steps, connections string, more ...string) string {
	r.t.Helper()
	body := `{"name":"` + name + `","status":"enabled","steps":` + steps
	if connections != "" {
		body += `,"connections":` + connections
	}
	return r.do(http.MethodPost, "/automations", body+strings.Join(more, "")+"}").want(201).text("id")
}
