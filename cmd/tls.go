package cmd

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// What tls may say.
const (
	tlsNone  = "none"  // a reverse proxy does it, or nobody
	tlsAuto  = "auto"  // a certificate by ACME
	tlsFiles = "files" // one of the operator's own
)

// encryption is how the public doors speak TLS. The zero one does not.
type encryption struct {
	config *tls.Config
	// challenges answers authorities at the plain door before next is asked; nil
	// when none ask.
	challenges func(next http.Handler) http.Handler
	name       string // that an authority gives the certificate for
}

// plain is what the plain door answers.
func (e encryption) plain(baseURL string) http.Handler {
	if e.challenges == nil {
		return plainDoor(baseURL)
	}
	return e.challenges(plainDoor(baseURL))
}

// obtain asks for the certificate before a client needs it, who would wait longer
// than a connection may take to say something. Nothing can stop autocert once it
// asks, so nobody waits for it.
func (e encryption) obtain(ctx context.Context) error {
	if e.name != "" {
		go e.config.GetCertificate(&tls.ClientHelloInfo{
			ServerName: e.name, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
			SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}, SupportedCurves: []tls.CurveID{tls.CurveP256},
		})
	}
	<-ctx.Done()
	return nil
}

// onlyHost is the policy that there is one name, which some authorities ask for with
// its port.
func onlyHost(name string) autocert.HostPolicy {
	return func(_ context.Context, host string) error {
		if bare, _, err := net.SplitHostPort(host); err == nil {
			host = bare
		}
		if !strings.EqualFold(host, name) {
			return fmt.Errorf("no certificate is for %q", host)
		}
		return nil
	}
}

// encryption is what the configuration says about TLS.
func (c *Config) encryption(log *slog.Logger) (encryption, error) {
	switch c.TLS {
	case tlsAuto:
		base, err := url.Parse(c.BaseURL)
		if err != nil {
			return encryption{}, err
		}
		m := &autocert.Manager{
			Prompt: autocert.AcceptTOS, HostPolicy: onlyHost(base.Hostname()),
			Cache: autocert.DirCache(certificateFolder(c.Data)), Client: &acme.Client{DirectoryURL: c.Certificate.ACMEDirectory},
		}
		return encryption{config: telling(m.TLSConfig(), base.Hostname(), log), challenges: m.HTTPHandler, name: base.Hostname()}, nil
	case tlsFiles:
		files := &certificateFiles{cert: c.Certificate.CertFile, key: c.Certificate.KeyFile, log: log}
		if err := files.load(); err != nil {
			return encryption{}, err
		}
		return encryption{config: &tls.Config{GetCertificate: files.get, NextProtos: []string{"h2", "http/1.1"}}}, nil
	}
	return encryption{}, nil
}

// telling logs that there is no certificate for the own name, at most once a
// minute, which is also how often autocert asks for one in vain. Clients that ask for
// other names are refused in silence.
func telling(config *tls.Config, name string, log *slog.Logger) *tls.Config {
	var last atomic.Int64 // when it was last told, in Unix seconds
	get := config.GetCertificate
	config.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		certificate, err := get(hello)
		now, told := time.Now().Unix(), last.Load()
		if err != nil && strings.EqualFold(hello.ServerName, name) && now-told >= 60 && last.CompareAndSwap(told, now) {
			log.Error("there is no certificate: the name must lead to this machine, and the authority reach it at port 443 or 80", "name", name, "error", err)
		}
		return certificate, err
	}
	return config
}

// certificateFolder is where certificates by ACME are kept, with their keys: beside
// the data file, not in it, since they belong to the machine and not into its
// backups. A new one is had for the asking.
func certificateFolder(data string) string { return data + ".certificates" }

// certificateFiles is a certificate that its owner renews in place.
type certificateFiles struct {
	cert, key string
	log       *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	mark    [2]fileMark // of the files when they were last read
	looked  time.Time
}

// fileMark tells whether a file is another one than before.
type fileMark struct {
	modified time.Time
	size     int64
}

// lookAgain is how long a certificate is used before its files are looked at.
const lookAgain = time.Second

// get gives a client the certificate, read again when its files have changed. While
// they cannot be read, or do not belong together, the one before goes on.
func (f *certificateFiles) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if now.Sub(f.looked) < lookAgain {
		return f.current, nil
	}
	f.looked = now
	if f.marks() == f.mark {
		return f.current, nil
	}
	if err := f.load(); err != nil {
		f.log.Warn("the certificate was changed and cannot be used; the one before goes on", "error", err)
	} else {
		f.log.Info("a new certificate is in use", "file", f.cert, "valid_until", f.current.Leaf.NotAfter)
	}
	return f.current, nil
}

// marks is what the files look like; zero for one that is not there.
func (f *certificateFiles) marks() (marks [2]fileMark) {
	for i, path := range []string{f.cert, f.key} {
		if info, err := os.Stat(path); err == nil {
			marks[i] = fileMark{info.ModTime(), info.Size()}
		}
	}
	return marks
}

// load reads the files. They are looked at first, so that one which changes
// meanwhile is read again.
func (f *certificateFiles) load() error {
	f.mark = f.marks()
	for _, file := range [][2]string{{"cert_file", f.cert}, {"key_file", f.key}} {
		if _, err := os.ReadFile(file[1]); err != nil {
			return fmt.Errorf("certificate.%s %s cannot be read: it must exist and be readable by this user", file[0], file[1])
		}
	}
	pair, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return fmt.Errorf("certificate.cert_file %s and certificate.key_file %s are no pair in PEM: %w", f.cert, f.key, err)
	}
	f.current = &pair
	return nil
}

// plainDoor sends browsers to the encrypted one. Others are told: what they sent,
// perhaps with a key, has already travelled in the clear, and should not do so
// unnoticed.
func plainDoor(baseURL string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			w.Header().Set("Location", baseURL+r.URL.RequestURI())
			w.WriteHeader(http.StatusPermanentRedirect)
			return
		}
		message := "this server speaks HTTPS alone: use " + baseURL + ", and replace a key that was sent here"
		body, err := json.Marshal(map[string]any{"statusCode": http.StatusBadRequest, "name": "validation_error", "code": "https_required", "message": message, "error": message})
		if err != nil {
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		io.WriteString(w, string(body)+"\n")
	})
}
