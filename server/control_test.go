package server

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

// What takes care of the data file is answered at the control socket alone.
func TestControlIsNotPublic(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		for _, c := range controls() {
			r.do(c.method, c.path, "{}").want(http.StatusNotFound)
			answer := httptest.NewRecorder()
			r.trust.ServeHTTP(answer, httptest.NewRequest(c.method, c.path, strings.NewReader("{}")))
			if strings.Contains(answer.Body.String(), "no route") || answer.Code >= 500 {
				t.Errorf("%s %s at the socket: %d %s", c.method, c.path, answer.Code, answer.Body)
			}
		}
	})
}

// Profiles are there when they are asked for, and at the control socket alone.
func TestProfiles(t *testing.T) {
	for _, on := range []bool{true, false} {
		r := newRigWith(t, Config{Profiles: on})
		r.madeUp = true
		for path, part := range map[string]string{"/control/pprof": "heap", "/control/pprof/goroutine?debug=1": "goroutine profile: total", "/control/pprof/cmdline": os.Args[0]} {
			a := r.send(r.trust, "", http.MethodGet, path, "")
			if on && (a.status != http.StatusOK || !strings.Contains(string(a.raw), part)) || !on && a.status != http.StatusNotFound {
				t.Errorf("%s with profiles %v: %d %.200s", path, on, a.status, a.raw)
			}
			r.send(r.public, r.key, http.MethodGet, path, "").want(http.StatusNotFound)
		}
	}
}
