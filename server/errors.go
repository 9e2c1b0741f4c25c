package server

import (
	"cmp"
	"errors"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/opensend/opensend/automations"
)

// retryAfter is how long a caller should wait after 429 and 503 unless the
// error says.
const retryAfter = time.Second

// family is the status and the word that clients switch on, by kind. It is the
// one table from errors to statuses at the OpenSend door.
var family = map[automations.Kind]struct {
	status int
	name   string
}{
	automations.KindMalformed:      {http.StatusBadRequest, "invalid_json"},
	automations.KindKeyInvalid:     {http.StatusBadRequest, "invalid_idempotency_key"},
	automations.KindUnauthorized:   {http.StatusUnauthorized, "invalid_api_key"},
	automations.KindForbidden:      {http.StatusForbidden, "restricted_api_key"},
	automations.KindNotFound:       {http.StatusNotFound, "not_found"},
	automations.KindMethodNotFound: {http.StatusMethodNotAllowed, "method_not_allowed"},
	automations.KindConflict:       {http.StatusConflict, "conflict"},
	automations.KindKeyConflict:    {http.StatusConflict, "invalid_idempotent_request"},
	automations.KindTooLarge:       {http.StatusRequestEntityTooLarge, "payload_too_large"},
	automations.KindUnsupported:    {http.StatusUnsupportedMediaType, "unsupported_media_type"},
	automations.KindInvalid:        {http.StatusUnprocessableEntity, "validation_error"},
	automations.KindMissing:        {http.StatusUnprocessableEntity, "missing_required_field"},
	automations.KindRateLimited:    {http.StatusTooManyRequests, "rate_limit_exceeded"},
	automations.KindUnavailable:    {http.StatusServiceUnavailable, "unavailable"},
}

// ownFamily are the codes that clients switch on by themselves.
var ownFamily = []string{missingKey, "daily_quota_exceeded", "monthly_quota_exceeded"}

// wireError is the error body that OpenSend's and Resend's clients read.
type wireError struct {
	StatusCode int                  `json:"statusCode"`
	Name       string               `json:"name"`
	Code       string               `json:"code"`
	Message    string               `json:"message"`
	Error      string               `json:"error"`
	Details    []automations.Detail `json:"details,omitempty"`
}

// readable is the error a user may see: err itself, or a sentence that gives
// nothing away.
func readable(err error) (*automations.Error, bool) {
	e, ok := errors.AsType[*automations.Error](err)
	if !ok {
		return &automations.Error{Code: "internal_server_error", Msg: "something went wrong on the server; it has been logged under this answer's X-Request-Id"}, false
	}
	return e, true
}

// openSendErrors renders an error for the OpenSend door.
func openSendErrors(r *request, err error) answer {
	e, ok := readable(err)
	f := family[e.Kind]
	if !ok {
		f.status, f.name = http.StatusInternalServerError, "internal_server_error"
	}
	if slices.Contains(ownFamily, e.Code) {
		f.name = e.Code
	}
	f.status = keyStatus(r, e.Code, f.status)
	body := wireError{StatusCode: f.status, Name: f.name, Code: e.Code, Message: e.Msg, Error: e.Msg, Details: e.Details}
	if body.Code == "" {
		body.Code = f.name
	}
	return answer{status: f.status, body: body, header: headersOf(f.status, e)}
}

// mailDiverError is the error body of MailDiver: validation errors have the
// message alone.
type mailDiverError struct {
	Message string               `json:"message"`
	Code    string               `json:"code,omitempty"`
	Details []automations.Detail `json:"details,omitempty"`
}

// mailDiverErrors renders an error for the MailDiver door, where whatever is
// wrong with a request is 400 and whatever is wrong with a key 403.
func mailDiverErrors(_ *request, err error) answer {
	e, ok := readable(err)
	f := family[e.Kind]
	body := mailDiverError{Message: e.Msg, Code: e.Code}
	switch {
	case !ok:
		f.status = http.StatusInternalServerError
	case e.Kind == automations.KindUnauthorized, e.Kind == automations.KindForbidden:
		f.status = http.StatusForbidden
		switch e.Code {
		case missingKey:
			body = mailDiverError{Message: "Invalid authorization header", Code: "invalid_authorization_header"}
		case invalidKey:
			body = mailDiverError{Message: "Invalid API key", Code: invalidKey}
		}
	case e.Code == "event_payload_invalid":
		f.status, body.Details = http.StatusBadRequest, e.Details
	case f.status == http.StatusUnprocessableEntity, f.status == http.StatusBadRequest:
		f.status, body.Code = http.StatusBadRequest, ""
		if e.Kind == automations.KindMalformed {
			body.Message = "Invalid JSON body"
		}
	case body.Code == "":
		body.Code = f.name
	}
	return answer{status: f.status, body: body, header: headersOf(f.status, e)}
}

// headersOf tells how to do better: with which kind of credentials, or when.
func headersOf(status int, e *automations.Error) map[string]string {
	switch {
	case status == http.StatusUnauthorized && (e.Code == missingKey || e.Code == invalidKey):
		return map[string]string{"WWW-Authenticate": "Bearer"} // RFC 9110, section 15.5.2
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
		return map[string]string{"Retry-After": strconv.Itoa(int(math.Ceil(cmp.Or(e.Wait, retryAfter).Seconds())))}
	}
	return nil
}
