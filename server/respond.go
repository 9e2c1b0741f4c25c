package server

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// answer is what goes back: stream writes it when it is set, else it is raw,
// else body is encoded as JSON.
type answer struct {
	status int
	body   any
	raw    []byte
	stream func(io.Writer) error
	header map[string]string
}

func ok(body any) (answer, error)      { return answer{status: http.StatusOK, body: body}, nil }
func created(body any) (answer, error) { return answer{status: http.StatusCreated, body: body}, nil }

func write(w http.ResponseWriter, a answer) {
	raw := a.raw
	if raw == nil && a.stream == nil {
		raw = encode(a.body)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	for k, v := range a.header {
		h.Set(k, v)
	}
	if a.stream != nil {
		w.WriteHeader(a.status)
		if err := a.stream(patient{w, http.NewResponseController(w)}); err != nil {
			panic(http.ErrAbortHandler) // the caller must not take what has come for the whole
		}
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(raw)))
	w.WriteHeader(a.status)
	w.Write(raw)
}

// chunkTime is how long a caller may take for each piece of a streamed answer,
// which may take longer as a whole than others may.
const chunkTime = 30 * time.Second

// patient gives each write its own time.
type patient struct {
	io.Writer
	control *http.ResponseController
}

func (p patient) Write(text []byte) (int, error) {
	p.control.SetWriteDeadline(time.Now().Add(chunkTime)) // not everything that takes answers has deadlines
	return p.Writer.Write(text)
}

// encode writes JSON with the text of payloads as it came.
func encode(v any) []byte {
	raw, err := automations.EncodeJSON(v)
	if err != nil {
		panic(err) // every body is made of plain types
	}
	return raw
}

// wireList is the envelope of every list.
type wireList[T any] struct {
	Object  string `json:"object"`
	Data    []T    `json:"data"`
	HasMore bool   `json:"has_more"`
	// Cut is where to go on, as after or before, when a filter that matches
	// little ended the page before it was full.
	Cut *automations.ID `json:"next_cursor,omitempty"`
}

// listOf renders rows into a list.
func listOf[R, W any](rows []R, rest storage.Rest, render func(R) W) wireList[W] {
	list := wireList[W]{Object: "list", Data: make([]W, len(rows)), HasMore: rest.More, Cut: idOrNull(rest.Cut)}
	for i, row := range rows {
		list.Data[i] = render(row)
	}
	return list
}

// respondList answers with the page of rows that the request asks for.
func respondList[R, W any](r *request, read func(*storage.Tx, storage.Page) ([]R, storage.Rest, error), render func(R) W) (answer, error) {
	page, err := r.page()
	if err != nil {
		return answer{}, err
	}
	var list wireList[W]
	err = r.server.db.View(func(tx *storage.Tx) error {
		rows, rest, err := read(tx, page)
		list = listOf(rows, rest, render)
		return err
	})
	if err != nil {
		return answer{}, err
	}
	return ok(list)
}

// respondOne answers with one row.
func respondOne[R, W any](r *request, read func(*storage.Tx) (R, error), render func(R) W) (answer, error) {
	var row R
	err := r.server.db.View(func(tx *storage.Tx) (err error) {
		row, err = read(tx)
		return err
	})
	if err != nil {
		return answer{}, err
	}
	return ok(render(row))
}

// deleted is the answer to a deletion.
type deleted struct {
	Object  string         `json:"object"`
	ID      automations.ID `json:"id"`
	Deleted bool           `json:"deleted"`
}

// wireTime is RFC 3339 in UTC with milliseconds; the zero time is null.
type wireTime time.Time

func (t wireTime) MarshalJSON() ([]byte, error) {
	if time.Time(t).IsZero() {
		return []byte("null"), nil
	}
	return time.Time(t).UTC().AppendFormat(make([]byte, 0, 26), `"2006-01-02T15:04:05.000Z"`), nil
}

// orNull is null for an empty text.
func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// idOrNull is null for the zero id.
func idOrNull(id automations.ID) *automations.ID {
	if id == (automations.ID{}) {
		return nil
	}
	return &id
}

// objectOr is the JSON as it is stored, or another when there is none.
func objectOr(raw json.RawMessage, otherwise string) json.RawMessage {
	if len(raw) == 0 {
		return json.RawMessage(otherwise)
	}
	return raw
}
