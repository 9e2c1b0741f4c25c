package server

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// request is one call of a route: its body read and its caller known.
type request struct {
	*http.Request
	server *Server
	id     string // X-Request-Id of the answer
	now    time.Time
	body   []byte
	key    *automations.APIKey // nil for trusted callers, and where none is needed
	test   bool                // the key is a test key
	change *automations.Change // its line in the log of changes; nil when it has none
	resend bool                // the caller reads Resend's words where they differ; see words.go
}

// readBody reads the body, if any. It must not be compressed, and if it says what
// it is it must be of the media type, unless that is empty. Parameters of the type
// say nothing to us, and some clients send broken ones.
func (r *request) readBody(w http.ResponseWriter, limit int64, media string) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return automations.Errorf(automations.KindTooLarge, "", "the body is larger than %d bytes", limit)
	}
	if err != nil {
		return automations.Errorf(automations.KindMalformed, "", "the body could not be read to its end; send it again")
	}
	if coding := r.Header.Get("Content-Encoding"); len(body) > 0 && coding != "" && !strings.EqualFold(coding, "identity") {
		return automations.Errorf(automations.KindUnsupported, "", "the body is compressed (%.60q); send it as it is, without Content-Encoding", coding)
	}
	if kind := r.Header.Get("Content-Type"); media != "" && len(body) > 0 && kind != "" {
		sent, _, _ := strings.Cut(strings.ToLower(kind), ";")
		sent, _, _ = strings.Cut(sent, ",") // a header sent twice
		sent = strings.TrimSpace(sent)
		if sent != media && !(media == "application/json" && strings.HasSuffix(sent, "+json")) {
			return automations.Errorf(automations.KindUnsupported, "", "the body is %.60q; send it with Content-Type: %s", kind, media)
		}
	}
	r.body = body
	return nil
}

// fields decodes the body as a strict JSON object.
func (r *request) fields() (automations.Fields, error) { return automations.DecodeObject(r.body) }

// pathID reads an id from the path. Whatever is not an id names nothing.
func (r *request) pathID(name, what string) (automations.ID, error) {
	text := r.PathValue(name)
	id, ok := automations.ParseID(text)
	if !ok {
		return id, notFound(what, text)
	}
	return id, nil
}

// notFound is the error for a thing that is not there, what being its wire
// word.
func notFound(what, ref string) error {
	return automations.Errorf(automations.KindNotFound, what+"_not_found", "no %s %.80q; check the id", strings.ReplaceAll(what, "_", " "), ref)
}

// orNotFound turns storage.ErrNotFound into notFound.
func orNotFound(err error, what, ref string) error {
	if errors.Is(err, storage.ErrNotFound) {
		return notFound(what, ref)
	}
	return err
}

const (
	defaultLimit = 20
	maxLimit     = 100
)

// limit reads how many rows are asked for.
func (r *request) limit(p *automations.Problems) int {
	text := r.URL.Query().Get("limit")
	if text == "" {
		return defaultLimit
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxLimit {
		p.Add("", "limit", "limit must be a number from 1 to %d", maxLimit)
	}
	return n
}

// page reads limit, after and before.
func (r *request) page() (storage.Page, error) {
	var p automations.Problems
	query := r.URL.Query()
	page := storage.Page{Limit: r.limit(&p)}
	for name, id := range map[string]*automations.ID{"after": &page.After, "before": &page.Before} {
		text := query.Get(name)
		if text == "" {
			continue
		}
		var ok bool
		if *id, ok = automations.ParseID(text); !ok {
			p.Add("", name, "%s must be the id of an item of the list", name)
		}
	}
	if query.Get("after") != "" && query.Get("before") != "" {
		p.Add("", "before", "give either after or before, not both")
	}
	return page, p.Err()
}

// queryID reads an id from the query; zero when it is absent.
func (r *request) queryID(p *automations.Problems, name string) automations.ID {
	text := r.URL.Query().Get(name)
	id, ok := automations.ParseID(text)
	if text != "" && !ok {
		p.Add("", name, "%s must be a UUID", name)
	}
	return id
}

// queryTime reads an RFC 3339 time from the query; zero when it is absent.
func (r *request) queryTime(p *automations.Problems, name string) time.Time {
	text := r.URL.Query().Get(name)
	if text == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		p.Add("", name, "%s must be a time such as 2026-01-31T12:00:00Z", name)
	}
	return t
}

// readWord reads a field that has one of a few words; empty when it is absent.
func readWord[T ~string](f automations.Fields, p *automations.Problems, allowed []T, names ...string) T {
	word := T(f.String(p, names...))
	if word == "" && f.Raw(names...) != nil {
		word = " " // an empty text is none of the words, and is not absent
	}
	oneOf(p, names[0], word, allowed)
	return word
}

// oneOf checks a word against those allowed; empty is allowed too.
func oneOf[T ~string](p *automations.Problems, path string, word T, allowed []T) {
	if word == "" {
		return
	}
	var names []string
	for _, a := range allowed {
		if a == word {
			return
		}
		names = append(names, string(a))
	}
	p.Add("", path, "%s", fmt.Sprintf("%s must be one of %s", path, strings.Join(names, ", ")))
}
