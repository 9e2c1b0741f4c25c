package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/opensend/opensend/automations"
)

func TestReachableAddresses(t *testing.T) {
	c := newOutboundClient(prefixes("10.1.0.0/16", "fd00:1::/32"))
	for _, text := range []string{"93.184.216.34", "1.1.1.1", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "2606:2800:220:1::1", "10.1.2.3", "fd00:1::1"} {
		if !c.reachable(netip.MustParseAddr(text)) {
			t.Errorf("%s cannot be reached", text)
		}
	}
	for _, text := range []string{
		"0.0.0.0", "0.1.2.3", "10.0.0.1", "10.2.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.0.1", "168.63.129.16", "169.254.169.254", "172.16.0.1", "172.31.255.255",
		"192.0.0.192", "192.0.2.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
		"::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:93.184.216.34", "64:ff9b::7f00:1", "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::1", "3fff::1",
		"fc00::1", "fd00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "2606:2800:220:1::1%eth0", "fec0::1", "ff02::1",
	} {
		if c.reachable(netip.MustParseAddr(text)) {
			t.Errorf("%s can be reached", text)
		}
	}
}

func TestCheckEndpoint(t *testing.T) {
	e := newEngine(t, Config{AllowPrivate: prefixes("127.0.0.0/8")})
	for _, good := range []string{"https://example.com/hook?x=1", "http://93.184.216.34:8080", "http://127.0.0.1:1/x", "https://[2606:2800:220:1::1]/", "http://localhost:1"} {
		if err := e.CheckEndpoint(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "example.com", "ftp://example.com", "https://", "https:///x", "https://u:p@example.com", "https://example.com/#x", "http://10.0.0.1/", "http://[::1]/", "http://[::ffff:10.0.0.1]/",
		"http://169.254.169.254/latest", "https://example.com/" + strings.Repeat("x", maxEndpoint), "https://exa mple.com", "http://[fe80::1%25eth0]/",
	} {
		if err := e.CheckEndpoint(bad); !automations.IsKind(err, automations.KindInvalid) {
			t.Errorf("%.60s: %v", bad, err)
		}
	}
	if err := newEngine(t, Config{}).CheckEndpoint("http://LOCALHOST./"); !automations.IsKind(err, automations.KindInvalid) {
		t.Errorf("localhost: %v", err)
	}
}

// nameServer is a DNS server that answers each question for an A record with
// what the test says, and any other with nothing.
func nameServer(t *testing.T, answer func(asked int) []string) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buf, asked := make([]byte, 1500), 0
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			m.Header.Response, m.Additionals = true, nil
			if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
				asked++
				for _, text := range answer(asked) {
					m.Answers = append(m.Answers, dnsmessage.Resource{
						Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class},
						Body:   &dnsmessage.AResource{A: netip.MustParseAddr(text).As4()},
					})
				}
			}
			if out, err := m.Pack(); err == nil {
				conn.WriteTo(out, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

func get(t *testing.T, c *outboundClient, url string) (int, []byte, error) {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c.do(r)
}

// A name that resolves to a public address when it is checked and to a private
// one a moment later is dialled at the address that was checked; one that has a
// private address among others is not dialled at all.
func TestRebinding(t *testing.T) {
	const public, other = "93.184.216.34", "10.0.0.1" // neither is nearer than the other, so that they stay in this order
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the private server was reached") }))
	defer inside.Close()
	_, port, err := net.SplitHostPort(inside.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for name, answers := range map[string][][]string{"rebound": {{public}, {"127.0.0.1"}}, "mixed": {{public, other}}} {
		c := newOutboundClient(nil)
		c.resolver = nameServer(t, func(asked int) []string { return answers[min(asked, len(answers))-1] })
		var dialled []string
		c.dial = func(_ context.Context, _, address string) (net.Conn, error) {
			dialled = append(dialled, address)
			return nil, errors.New("not connected in this test")
		}
		url := "http://" + name + ".example:" + port + "/"
		_, _, err := get(t, c, url)
		if _, refused := errors.AsType[*refusedAddressError](err); refused != (name == "mixed") {
			t.Errorf("%s: %v", name, err)
		}
		last := answers[len(answers)-1]
		if _, _, err := get(t, c, url); err == nil || !strings.Contains(err.Error(), "is at "+last[len(last)-1]+", which is not a public address") {
			t.Errorf("%s, a second time: %v", name, err)
		}
		want := "[" + public + ":" + port + "]"
		if name == "mixed" {
			want = "[]"
		}
		if got := fmt.Sprint(dialled); got != want {
			t.Errorf("%s: dialled %s, want %s", name, got, want)
		}
	}
}

// Redirects are answers like others, answers are read to a limit, and a private
// server is reached when its network is allowed.
func TestOutboundAnswers(t *testing.T) {
	var followed atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/redirect":
			http.Redirect(w, r, "/target", http.StatusFound)
		case "/target":
			followed.Store(true)
		case "/large":
			io.Copy(w, io.LimitReader(zeros{}, 1<<20))
		}
	}))
	defer server.Close()
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	c := newOutboundClient(prefixes("127.0.0.0/8"))
	if status, _, err := get(t, c, server.URL+"/redirect"); err != nil || status != http.StatusFound || followed.Load() {
		t.Errorf("a redirect: %d %v", status, err)
	}
	if status, body, err := get(t, c, server.URL+"/large"); err != nil || status != http.StatusOK || len(body) != maxOutboundBody {
		t.Errorf("a large answer: %d, %d bytes, %v", status, len(body), err)
	}
	server.Close()
	if _, _, err := get(t, c, server.URL); err == nil || strings.Contains(err.Error(), "Get \"") {
		t.Errorf("a server that is away: %v", err)
	}
	if _, _, err := get(t, newOutboundClient(nil), server.URL); err == nil || err.Error() != "127.0.0.1 is not a public address; name its network in webhooks.allow_private to reach it" {
		t.Errorf("a private server: %v", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }
