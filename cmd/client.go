package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/engine"
	"github.com/opensend/opensend/server"
)

// socketPath is where a server on the data file listens for commands.
func socketPath(data string) string { return data + ".sock" }

// client calls the API for a command: through the control socket of the server
// that holds the data file, or else on the file itself. Commands see no
// difference.
type client struct {
	http    *http.Client
	close   func() error
	offline bool // no server runs: this process has the file
}

// connect finds the server, or opens the file. POST, which makes things, may
// make the file as well.
func (a *app) connect(method string) (*client, error) {
	cfg, err := a.config()
	if err != nil {
		return nil, err
	}
	if c, err := serving(cfg); c != nil || err != nil {
		return c, err
	}
	if err := mustExist(cfg); err != nil {
		if method != http.MethodPost {
			return nil, err
		}
		fmt.Fprintf(a.stderr, "There was no data file %s; it is made now.\n", cfg.Data)
	}
	return openClient(cfg)
}

// serving finds the server that holds the data file; nil when there is none.
func serving(cfg Config) (*client, error) {
	path := socketPath(cfg.Data)
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		conn.Close()
		transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}}
		return &client{http: &http.Client{Transport: transport, Timeout: time.Minute}, close: func() error { transport.CloseIdleConnections(); return nil }}, nil
	}
	if errors.Is(err, syscall.EACCES) {
		return nil, fmt.Errorf("the server's control socket %s belongs to another user; run this as the user that serves", path)
	}
	return nil, nil
}

func openClient(cfg Config) (*client, error) {
	ec, err := cfg.engine()
	if err != nil {
		return nil, err
	}
	if ec.DB, err = cfg.open(); err != nil {
		return nil, err
	}
	db := ec.DB
	e, err := engine.New(ec)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	s, err := server.New(server.Config{DB: db, Engine: e})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &client{http: &http.Client{Transport: handlerTransport{s.Control()}}, close: db.Close, offline: true}, nil
}

// handlerTransport answers requests in this process.
type handlerTransport struct{ handler http.Handler }

func (t handlerTransport) RoundTrip(r *http.Request) (_ *http.Response, err error) {
	defer func() {
		if caught := recover(); caught != nil { // http.ErrAbortHandler, as a connection would break off
			err = fmt.Errorf("the answer broke off: %v", caught)
		}
	}()
	if r.Body == nil {
		r.Body = http.NoBody
	}
	w := &memoryWriter{header: http.Header{}, status: http.StatusOK}
	t.handler.ServeHTTP(w, r)
	return &http.Response{
		StatusCode: w.status, Status: http.StatusText(w.status), Header: w.header, Request: r,
		Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()),
	}, nil
}

// memoryWriter keeps an answer.
type memoryWriter struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *memoryWriter) Header() http.Header            { return w.header }
func (w *memoryWriter) WriteHeader(status int)         { w.status = status }
func (w *memoryWriter) Write(text []byte) (int, error) { return w.body.Write(text) }

// get asks for something that is not one small JSON value, however long it
// takes. The caller closes the body.
func (c *client) get(path string) (*http.Response, error) {
	patient := *c.http
	patient.Timeout = 0
	resp, err := patient.Get("http://opensend" + path)
	if err != nil {
		return nil, unanswered(err)
	}
	if resp.StatusCode >= 400 {
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		return nil, errors.Join(err, refusal(resp, raw))
	}
	return resp, nil
}

// stream makes one request and copies the answer as it comes.
func (c *client) stream(path string, w io.Writer) error {
	resp, err := c.get(path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(w, resp.Body)
	return err
}

// unanswered is why a request was not answered, without its address, which is
// nothing that people know.
func unanswered(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	return fmt.Errorf("the server does not answer: %w", err)
}

// refusal is what the API says that is wrong, in its words.
func refusal(resp *http.Response, raw []byte) error {
	var refused struct{ Code, Message string }
	if json.Unmarshal(raw, &refused) != nil || refused.Message == "" {
		refused.Message = resp.Status
	}
	return &refusedError{resp.StatusCode, refused.Code, refused.Message}
}

// refusedError is an error of the API.
type refusedError struct {
	status  int
	code    string
	message string
}

func (e *refusedError) Error() string { return e.message }

// call makes one request and decodes the answer into out. The API's own errors
// come back in its words.
func (c *client) call(method, path string, in, out any) error {
	var body []byte
	media := ""
	if in != nil {
		var err error
		if body, err = automations.EncodeJSON(in); err != nil {
			return err
		}
		media = "application/json"
	}
	return c.send(method, path, media, body, out)
}

// send is call with a body of any media type.
func (c *client) send(method, path, media string, body []byte, out any) error {
	req, err := http.NewRequest(method, "http://opensend"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if media != "" {
		req.Header.Set("Content-Type", media)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return unanswered(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 400 {
		return refusal(resp, raw)
	}
	return json.Unmarshal(raw, out)
}

// call connects, makes one request and disconnects.
func (a *app) call(method, path string, in, out any) error {
	c, err := a.connect(method)
	if err != nil {
		return err
	}
	defer c.close()
	return c.call(method, path, in, out)
}
