package web

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/opensend/opensend/automations"
)

// apiError is a refusal of the API.
type apiError struct {
	status  int
	Message string               `json:"message"`
	Code    string               `json:"code"`
	Details []automations.Detail `json:"details"`
}

func (e *apiError) Error() string { return e.Message }

// Actor is the request header that tells the API's trusted handler who acts.
const Actor = "Opensend-Actor"

// testHeader asks the API's trusted handler for what a test key would get; it
// is server.TestHeader.
const testHeader = "Opensend-Test"

// call makes a request of the API for the user and decodes the answer into
// out, unless that is nil. A refusal is an *apiError.
func (v *visit) call(method, path string, in, out any) error {
	body, err := automations.EncodeJSON(in)
	if err != nil {
		return err
	}
	if in == nil {
		body = nil
	}
	return v.send(method, path, "application/json", body, out)
}

// send is call with a body of any media type, and further headers as names and
// values.
func (v *visit) send(method, path, media string, body []byte, out any, headers ...string) error {
	// The request is the API's from here on: nothing of the page's goes along.
	r, err := http.NewRequestWithContext(context.WithoutCancel(v.Context()), method, "http://dashboard"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set(Actor, "user "+v.user.Name)
	if len(body) > 0 {
		r.Header.Set("Content-Type", media)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := &answerWriter{header: http.Header{}, status: http.StatusOK}
	v.d.cfg.API.ServeHTTP(w, r)
	if w.status >= http.StatusBadRequest {
		refusal := &apiError{status: w.status, Message: http.StatusText(w.status)}
		json.Unmarshal(w.body.Bytes(), refusal) // what is not JSON keeps the status text
		return refusal
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(w.body.Bytes(), out)
}

// answerWriter keeps an answer.
type answerWriter struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *answerWriter) Header() http.Header            { return w.header }
func (w *answerWriter) WriteHeader(status int)         { w.status = status }
func (w *answerWriter) Write(text []byte) (int, error) { return w.body.Write(text) }

// esc makes a text part of a path.
func esc(text string) string { return url.PathEscape(text) }
