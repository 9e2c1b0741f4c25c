package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"
)

const (
	acmeName = "mail.opensend.test"
	acmeHost = "127.83.0.1" // of this machine, with ports of its own
)

// authority is Pebble, Let's Encrypt's own server for tests, which looks for the
// name on acmeHost, at the ports given.
func authority(t *testing.T, httpPort, tlsPort int) (directory, trust string, roots *x509.CertPool) {
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	t.Setenv("PEBBLE_WFE_NONCEREJECT", "10") // of a hundred, as a busy one does
	quiet := log.New(io.Discard, "", 0)
	store := db.NewMemoryStore()
	issuer := ca.New(quiet, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {Description: "default"}})
	front := wfe.New(quiet, store, va.New(quiet, httpPort, tlsPort, true, resolver(t), store), issuer, []string{"pebble.letsencrypt.org"}, true, false, 0, 0)
	server := httptest.NewUnstartedServer(front.Handler())
	server.Config.ErrorLog = quiet
	server.StartTLS()
	t.Cleanup(server.Close)
	trust = filepath.Join(t.TempDir(), "authority.pem")
	if err := os.WriteFile(trust, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	roots = x509.NewCertPool()
	roots.AddCert(issuer.GetRootCert(0).Cert)
	return server.URL + wfe.DirectoryPath, trust, roots
}

// resolver is a name server that knows acmeName.
func resolver(t *testing.T) (addr string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0") // Pebble asks over TCP
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{Listener: ln, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, asked *dns.Msg) {
		answer := new(dns.Msg).SetReply(asked)
		if q := asked.Question[0]; q.Qtype == dns.TypeA && strings.EqualFold(q.Name, acmeName+".") {
			answer.Answer = append(answer.Answer, &dns.A{Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.ParseIP(acmeHost)})
		}
		w.WriteMsg(answer)
	})}
	go server.ActivateAndServe()
	t.Cleanup(func() { server.Shutdown() })
	return ln.Addr().String()
}

// TestACME gets a certificate for a server that is new, by what the authority asks
// at port 443 and, where it cannot reach that, at port 80; and keeps it over a
// restart without asking again.
func TestACME(t *testing.T) {
	for name, tlsPort := range map[string]int{"tls-alpn-01": 443, "http-01": 1} {
		t.Run(name, func(t *testing.T) {
			directory, trust, roots := authority(t, 80, tlsPort)
			s := &server{t: t, dir: t.TempDir(), base: "https://" + acmeName}
			config := "listen: " + acmeHost + ":443\ntls: auto\ncertificate:\n  acme_directory: " + directory + "\n"
			if err := os.WriteFile(filepath.Join(s.dir, "config.yaml"), []byte(config), 0o600); err != nil {
				t.Fatal(err)
			}
			stop := serveTLS(t, s, trust)
			client := acmeClient(roots)
			resp, err := client.Get(s.base + "/healthz")
			for deadline := time.Now().Add(5 * patience); err != nil && time.Now().Before(deadline); { // meanwhile it is asking, after each refusal of a nonce later
				time.Sleep(100 * time.Millisecond)
				resp, err = client.Get(s.base + "/healthz")
			}
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			first := resp.TLS.PeerCertificates[0]
			if resp.StatusCode != http.StatusOK || resp.ProtoMajor != 2 || first.VerifyHostname(acmeName) != nil {
				t.Errorf("%d %s %v", resp.StatusCode, resp.Proto, first.DNSNames)
			}
			plainAnswers(t, client)
			stop()

			serveTLS(t, s, "/dev/null") // whoever asked now would not trust the authority
			again := acmeClient(roots)
			if resp, err = again.Get(s.base + "/healthz"); err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if !resp.TLS.PeerCertificates[0].Equal(first) {
				t.Error("another certificate after the restart")
			}
			if _, err := tls.Dial("tcp", acmeHost+":443", &tls.Config{ServerName: "other.opensend.test", RootCAs: roots}); err == nil {
				t.Error("a certificate for another name")
			}
		})
	}
}

// plainAnswers looks at what port 80 says to those who know no better.
func plainAnswers(t *testing.T, client *http.Client) {
	t.Helper()
	resp, err := client.Get("http://" + acmeName + "/dashboard?a=b")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if at := resp.Header.Get("Location"); resp.StatusCode != http.StatusPermanentRedirect || at != "https://"+acmeName+"/dashboard?a=b" {
		t.Errorf("%d %s", resp.StatusCode, at)
	}
	resp, err = client.PostForm("http://"+acmeName+"/events/send", url.Values{})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusBadRequest || !strings.Contains(string(body), `"code":"https_required"`) {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

// acmeClient finds acmeName, trusts the authority alone, and follows nothing.
func acmeClient(roots *x509.CertPool) *http.Client {
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true, DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			_, port, _ := net.SplitHostPort(addr)
			return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(acmeHost, port))
		},
	}
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// serveTLS starts a server that trusts what is in the file trust.
func serveTLS(t *testing.T, s *server, trust string) (stop func()) {
	t.Helper()
	cmd := s.command("serve")
	cmd.Env = append(cmd.Env, "SSL_CERT_FILE="+trust, "SSL_CERT_DIR="+s.dir)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	if !lines.Scan() {
		cmd.Wait()
		if strings.Contains(said.String(), "may not listen") {
			t.Skip("SKIPPED: this user may not listen on port 443")
		}
		t.Fatalf("the server did not start: %s", said.String())
	}
	go io.Copy(io.Discard, stdout)
	stop = sync.OnceFunc(func() {
		cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the server did not stop in order: %v\n%s", err, said.String())
		}
		if t.Failed() {
			t.Log(said.String())
		}
	})
	t.Cleanup(stop)
	return stop
}
