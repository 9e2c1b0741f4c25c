package cmd

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/opensend/opensend/internal/port"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"opensend": func() { os.Exit(Main()) }})
}

// TestScripts runs the binary as a user types it. Beside testscript's own
// commands the scripts have:
//
//	ready                  wait until the server at $BASE answers /readyz
//	api METHOD PATH [BODY] call the API at $BASE with $KEY; the answer becomes stdout
//	until PATTERN METHOD PATH   call until the answer matches
//	setkey                 keep the last stdout as $KEY
//	grab NAME REGEXP       keep the first group of the last stdout as $NAME
//	receiver               start a receiver of webhooks at $HOOK
//	mailserver             start a mail server at $MAIL that takes mail without sign-in
//	got PATTERN            wait until the receiver has got a body with it, which becomes stdout
//	freeze FILE N          cut a file to its first N bytes
//	spoil FILE OLD NEW     replace bytes, given as in Go strings, everywhere in a file
func TestScripts(t *testing.T) {
	var receivers sync.Map // what each receiver of webhooks has got, by its URL
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			address, release, err := port.Reserve()
			if err != nil {
				return err
			}
			env.Defer(func() { release() })
			env.Setenv("LISTEN", address)
			env.Setenv("BASE", "http://"+address)
			env.Setenv("OPENSEND_BASE_URL", "http://"+address)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ready": func(ts *testscript.TestScript, _ bool, _ []string) {
				poll(ts, func() bool { status, _, err := call(ts, "GET", "/readyz", ""); return err == nil && status == 200 })
			},
			"api": func(ts *testscript.TestScript, neg bool, args []string) {
				body := ""
				if len(args) > 2 {
					body = args[2]
					if name, ok := strings.CutPrefix(body, "@"); ok {
						body = ts.ReadFile(name)
					}
				}
				status, answer, err := call(ts, args[0], args[1], body)
				ts.Check(err)
				fmt.Fprintf(ts.Stdout(), "%d %s\n", status, answer)
				if (status >= 400) != neg {
					ts.Fatalf("%s %s answered %d %s", args[0], args[1], status, answer)
				}
			},
			"until": func(ts *testscript.TestScript, _ bool, args []string) {
				var last string
				poll(ts, func() bool {
					_, answer, err := call(ts, args[1], args[2], "")
					last = answer
					return err == nil && strings.Contains(answer, args[0])
				})
				fmt.Fprintln(ts.Stdout(), last)
			},
			"setkey": func(ts *testscript.TestScript, _ bool, _ []string) {
				ts.Setenv("KEY", strings.TrimSpace(ts.ReadFile("stdout")))
			},
			"grab": func(ts *testscript.TestScript, _ bool, args []string) {
				found := regexp.MustCompile(args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
				if found == nil {
					ts.Fatalf("%s is not in the last output", args[1])
				}
				ts.Setenv(args[0], found[1])
			},
			"receiver": func(ts *testscript.TestScript, _ bool, _ []string) {
				got := make(chan string, 100)
				server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					body, err := io.ReadAll(r.Body)
					if err == nil {
						got <- string(body)
					}
				}))
				ts.Defer(server.Close)
				ts.Setenv("HOOK", server.URL)
				receivers.Store(server.URL, got)
			},
			"mailserver": func(ts *testscript.TestScript, _ bool, _ []string) {
				ln, err := net.Listen("tcp", "127.0.0.1:0")
				ts.Check(err)
				server := smtp.NewServer(&counter{})
				go server.Serve(ln)
				ts.Defer(func() { server.Close() })
				ts.Setenv("MAIL", ln.Addr().String())
			},
			"got": func(ts *testscript.TestScript, _ bool, args []string) {
				got, _ := receivers.Load(ts.Getenv("HOOK"))
				for late := time.After(patience); ; {
					select {
					case body := <-got.(chan string):
						if strings.Contains(body, args[0]) {
							fmt.Fprintln(ts.Stdout(), body)
							return
						}
					case <-late:
						ts.Fatalf("no webhook with %s within %s", args[0], patience)
					}
				}
			},
			"spoil": func(ts *testscript.TestScript, _ bool, args []string) {
				from, err := strconv.Unquote(`"` + args[1] + `"`)
				ts.Check(err)
				to, err := strconv.Unquote(`"` + args[2] + `"`)
				ts.Check(err)
				content := ts.ReadFile(args[0])
				if !strings.Contains(content, from) || len(from) != len(to) {
					ts.Fatalf("%s has no %q, or %q is of another length", args[0], from, to)
				}
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.ReplaceAll(content, from, to)), 0o600))
			},
			"freeze": func(ts *testscript.TestScript, _ bool, args []string) {
				var n int64
				_, err := fmt.Sscan(args[1], &n)
				ts.Check(err)
				ts.Check(os.Truncate(ts.MkAbs(args[0]), n))
			},
		},
	})
}

// poll tries until it succeeds.
func poll(ts *testscript.TestScript, try func() bool) {
	if !eventually(try) {
		ts.Fatalf("nothing came of it within %s", patience)
	}
}

func call(ts *testscript.TestScript, method, path, body string) (int, string, error) {
	req, err := http.NewRequest(method, ts.Getenv("BASE")+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return 0, "", err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Authorization", "Bearer "+ts.Getenv("KEY"))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(raw), err
}
