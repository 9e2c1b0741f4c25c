package cmd

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestBehindProxies(t *testing.T) {
	trusted, err := networks("trusted_proxies", []string{"127.0.0.0/8", "10.0.0.0/8", "fd00::/8"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		peer      string
		forwarded []string
		want      string
	}{
		{"203.0.113.9:5000", []string{"198.51.100.1"}, "203.0.113.9:5000"}, // anybody can write it
		{"127.0.0.1:5000", nil, "127.0.0.1:5000"},
		{"127.0.0.1:5000", []string{"198.51.100.1"}, "198.51.100.1:0"},
		{"127.0.0.1:5000", []string{"192.0.2.66, 198.51.100.1"}, "198.51.100.1:0"}, // the first was the client's own word
		{"127.0.0.1:5000", []string{"192.0.2.66", "198.51.100.1 ,10.1.2.3"}, "198.51.100.1:0"},
		{"127.0.0.1:5000", []string{"10.9.9.9, 10.1.2.3"}, "10.9.9.9:0"}, // all of them ours
		{"127.0.0.1:5000", []string{"198.51.100.1, nonsense"}, "127.0.0.1:5000"},
		{"127.0.0.1:5000", []string{"nonsense, 10.1.2.3"}, "10.1.2.3:0"},
		{"127.0.0.1:5000", []string{""}, "127.0.0.1:5000"},
		{"127.0.0.1:5000", []string{"198.51.100.1:4711"}, "198.51.100.1:0"},
		{"127.0.0.1:5000", []string{"[2001:db8::1]:4711"}, "[2001:db8::1]:0"},
		{"[::ffff:127.0.0.1]:5000", []string{"2001:db8::1"}, "[2001:db8::1]:0"},
		{"[fd00::1]:5000", []string{"::ffff:198.51.100.1"}, "198.51.100.1:0"},
		{"@", []string{"198.51.100.1"}, "198.51.100.1:0"}, // a unix socket
		{"@", nil, "@"},
	} {
		var got string
		h := behindProxies(trusted, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.RemoteAddr }))
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr, r.Header["X-Forwarded-For"] = c.peer, c.forwarded
		if h.ServeHTTP(httptest.NewRecorder(), r); got != c.want {
			t.Errorf("%s with %q is %s, want %s", c.peer, c.forwarded, got, c.want)
		}
	}
}
