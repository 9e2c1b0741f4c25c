package server

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestRateLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRigWith(t, Config{RequestsPerSecond: 5})
		other := r.newKey("events_access")
		for i := range 5 {
			a := r.do(http.MethodGet, "/contacts", "").want(200)
			if left := a.header.Get("ratelimit-remaining"); left != string(rune('4'-i)) || a.header.Get("ratelimit-limit") != "5" || a.header.Get("ratelimit-reset") != "1" {
				t.Errorf("request %d: %v", i+1, a.header)
			}
		}
		a := r.do(http.MethodGet, "/contacts", "").want(429).has("name", "rate_limit_exceeded").has("statusCode", 429)
		if a.header.Get("Retry-After") != "1" || a.header.Get("ratelimit-remaining") != "0" {
			t.Errorf("headers %v", a.header)
		}
		r.do(http.MethodPost, "/v1/events", `{"event_name":"x","email":"a@example.com"}`).want(429).has("code", "rate_limit_exceeded")
		r.send(r.public, other, http.MethodPost, "/events/send", `{"event":"x","email":"a@example.com"}`).want(202) // each key for itself
		r.do(http.MethodGet, "/healthz", "").want(200)
		r.send(r.trust, "", http.MethodGet, "/contacts", "").want(200) // commands are not limited
		time.Sleep(200 * time.Millisecond)
		r.do(http.MethodGet, "/contacts", "").want(200)
		r.do(http.MethodGet, "/contacts", "").want(429)
	})
}

// Whoever sends many requests without good credentials is told to wait, by
// address; a good key works from there all the same.
func TestStrangers(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		for i := range strangersBurst {
			r.send(r.public, []string{"", "os_x"}[i%2], http.MethodGet, "/contacts", "").want(401)
		}
		refused := r.send(r.public, "os_x", http.MethodGet, "/contacts", "", "User-Agent", "resend-go/3").want(429).has("name", "rate_limit_exceeded")
		if !strings.Contains(refused.text("message"), "unknown, revoked or expired") || refused.header.Get("Retry-After") != "1" {
			t.Errorf("%v %s", refused.header, refused.raw)
		}
		r.send(r.public, "", http.MethodPost, "/v1/events", `{}`).want(429).has("code", "rate_limit_exceeded")
		r.do(http.MethodGet, "/contacts", "").want(200)
		r.send(r.public, r.newKey("events_access"), http.MethodGet, "/contacts", "").want(403)

		r.from = "192.0.2.2:1"
		r.send(r.public, "", http.MethodGet, "/contacts", "").want(401)
		for i := range strangersBurst {
			r.from = fmt.Sprintf("[2001:db8::%x]:1", i)
			r.send(r.public, "", http.MethodGet, "/contacts", "").want(401)
		}
		r.send(r.public, "", http.MethodGet, "/contacts", "").want(429)
		r.from = "[2001:db8:0:1::1]:1"
		r.send(r.public, "", http.MethodGet, "/contacts", "").want(401)

		r.from = ""
		time.Sleep(time.Second)
		r.send(r.public, "", http.MethodGet, "/contacts", "").want(401)
		r.send(r.public, "", http.MethodGet, "/contacts", "").want(429)
	})
}
