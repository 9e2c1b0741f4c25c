package server

import (
	"net/http"
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
