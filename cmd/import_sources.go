package cmd

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/opensend/opensend/automations"
)

// remote is the API of another server, as OpenSend and Resend have it.
type remote struct {
	base, key string
	http      *http.Client
	members   map[string][]string // segments of a contact, where lists of contacts do not tell
	people    []row               // those in segments, each once
	topics    bool                // there are topics to choose
}

func newRemote(base, key string) *remote {
	return &remote{base: base, key: key, http: &http.Client{Timeout: time.Minute}, members: map[string][]string{}}
}

const (
	remoteTries  = 8                // of a request that the other side puts off
	remoteAnswer = 64 << 20         // bytes of an answer
	longestWait  = 10 * time.Minute // that the other side may ask for
)

// get makes one request, and waits as long as the other side says.
func (s *remote) get(path string, out any) error {
	for try := 1; ; try++ {
		req, err := http.NewRequest(http.MethodGet, s.base+path, nil)
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+s.key)
		req.Header.Set("User-Agent", "opensend/"+version)
		resp, err := s.http.Do(req)
		if err != nil {
			return fmt.Errorf("%s cannot be reached: %w", s.base, err)
		}
		raw, err := io.ReadAll(io.LimitReader(resp.Body, remoteAnswer))
		resp.Body.Close()
		switch {
		case err != nil:
			return fmt.Errorf("the answer of %s broke off: %w", s.base, err)
		case (resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable) && try < remoteTries:
			time.Sleep(pause(resp.Header, "Retry-After", time.Second))
		case resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusMethodNotAllowed:
			return errNotOffered
		case resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden:
			return fmt.Errorf("%s does not let this key read %s: %s; use a key with full access", s.base, path, refusal(resp, raw))
		case resp.StatusCode >= 400:
			return fmt.Errorf("%s%s: %s", s.base, path, refusal(resp, raw))
		default:
			if resp.Header.Get("Ratelimit-Remaining") == "0" {
				time.Sleep(pause(resp.Header, "Ratelimit-Reset", 0))
			}
			if err := json.Unmarshal(raw, out); err != nil {
				return fmt.Errorf("%s%s answers with something else than JSON; check --url", s.base, path)
			}
			return nil
		}
	}
}

// pause is a number of seconds in a header, or otherwise.
func pause(h http.Header, name string, otherwise time.Duration) time.Duration {
	n, err := strconv.Atoi(h.Get(name))
	if err != nil || n < 0 {
		return otherwise
	}
	return min(time.Duration(n)*time.Second, longestWait)
}

// list reads all rows of a list, the oldest first. A server that pages without
// end is an error.
func (s *remote) list(path string, tell func(n int)) (rows []row, err error) {
	after := ""
	for {
		var p struct {
			Data    []row  `json:"data"`
			HasMore bool   `json:"has_more"`
			Cursor  string `json:"next_cursor"`
		}
		query := url.Values{"limit": {strconv.Itoa(listPage)}}
		if after != "" {
			query.Set("after", after)
		}
		if err := s.get(path+"?"+query.Encode(), &p); err != nil {
			return nil, err
		}
		rows = append(rows, p.Data...)
		tell(len(rows))
		if !p.HasMore || len(p.Data) == 0 && p.Cursor == "" {
			slices.Reverse(rows)
			return rows, nil
		}
		next := p.Cursor
		if next == "" {
			next = p.Data[len(p.Data)-1].text("id")
		}
		if next == "" || next == after {
			return nil, fmt.Errorf("%s%s does not go on after %q", s.base, path, after)
		}
		after = next
	}
}

func (s *remote) rows(k kind, tell func(n int)) (rows []row, err error) {
	rows, err = s.list(k.path, tell)
	path := k.path
	if errors.Is(err, errNotOffered) && k.older != "" {
		path = k.older
		rows, err = s.list(path, tell)
	}
	switch {
	case k.object == "contact":
		return s.contacts(rows, err)
	case err != nil:
		return nil, err
	case k.object == "topic":
		s.topics = len(rows) > 0
	case k.object == "segment":
		for _, segment := range rows {
			if err := s.memberships(path, segment.text("id"), tell); err != nil {
				return nil, err
			}
		}
	}
	return rows, nil
}

// memberships notes who is in a segment.
func (s *remote) memberships(path, id string, tell func(n int)) error {
	members, err := s.list(path+"/"+url.PathEscape(id)+"/contacts", tell)
	if errors.Is(err, errNotOffered) {
		return nil
	}
	for _, c := range members {
		if s.members[c.text("id")] == nil {
			s.people = append(s.people, c)
		}
		s.members[c.text("id")] = append(s.members[c.text("id")], id)
	}
	return err
}

// contacts adds the memberships to the contacts of a list. A server without such
// a list has contacts in segments alone.
func (s *remote) contacts(rows []row, err error) ([]row, error) {
	if errors.Is(err, errNotOffered) && len(s.people) > 0 {
		rows, err = s.people, nil
	}
	for _, r := range rows {
		if segments := s.members[r.text("id")]; r.null("segments") && len(segments) > 0 {
			r["segments"], _ = json.Marshal(segments)
		}
	}
	return rows, err
}

func (s *remote) complete(k kind, r row) (row, error) {
	path := k.path + "/" + url.PathEscape(r.text("id"))
	whole := row{}
	if k.whole || k.object == "contact" && r["properties"] == nil {
		if err := s.get(path, &whole); err != nil && (k.whole || !errors.Is(err, errNotOffered)) {
			return nil, err
		}
	}
	for name, value := range r {
		if whole[name] == nil {
			whole[name] = value
		}
	}
	switch {
	case k.object == "template" && r.text("status") == "published" && string(whole["has_unpublished_versions"]) == "true":
		var published json.RawMessage // elsewhere it may be the draft again
		err := s.get(path+"?version=published", &published)
		whole["published"] = published
		return whole, err
	case k.object == "contact" && s.topics:
		choices, err := s.list(path+"/topics", func(int) {})
		if err != nil && !errors.Is(err, errNotOffered) {
			return nil, err
		}
		whole["topics"], _ = json.Marshal(choices)
	}
	return whole, nil
}

// fileSource is what is in a file, by the name of the object.
type fileSource map[string][]row

func (s fileSource) rows(k kind, tell func(n int)) ([]row, error) {
	tell(len(s[k.object]))
	return s[k.object], nil
}

func (s fileSource) complete(_ kind, r row) (row, error) { return r, nil }

// longestLine bounds one object of an export.
const longestLine = 64 << 20

// readLines reads what export has written. The oldest come last there, and are
// brought in first.
func readLines(in io.Reader) (supplier, error) {
	src := fileSource{}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, longestLine)
	for n := 1; lines.Scan(); n++ {
		var r row
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("line %d is not a JSON object", n)
		}
		if n == 1 {
			var version int
			json.Unmarshal(r["version"], &version)
			switch {
			case r.text("object") != "opensend_export":
				return nil, errors.New("this is not an export of opensend: its first line does not say so")
			case version > exportVersion:
				return nil, fmt.Errorf("a newer opensend has written this, %s: use that one or a newer one", r.text("program"))
			}
			continue
		}
		object := r.text("object")
		src[object] = append(src[object], r)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(src) == 0 {
		return nil, errors.New("there is nothing in it")
	}
	for _, rows := range src {
		slices.Reverse(rows)
	}
	return src, nil
}

// readCSV reads contacts, and a segment for them unless its name is empty. texts
// are the properties that are declared to be texts.
func readCSV(in io.Reader, segment string, texts map[string]bool) (supplier, error) {
	raw, err := io.ReadAll(in)
	if err != nil {
		return nil, err
	}
	table, err := automations.ReadTable(raw)
	if err != nil {
		return nil, err
	}
	columns := table.Columns()
	if !slices.Contains(columns, automations.ColumnEmail) {
		return nil, fmt.Errorf("no column is named email; the first line names %s", strings.Join(table.Head, ", "))
	}
	src := fileSource{}
	const inside = "segment" // it has no id yet
	if segment != "" {
		src["segment"] = []row{{"id": automations.QuoteText(inside), "name": automations.QuoteText(segment)}}
	}
	for _, line := range table.Rows {
		r, err := line.Contact(table.Head, columns, texts)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line.Line, err)
		}
		if segment != "" {
			r["segments"] = json.RawMessage(`["` + inside + `"]`)
		}
		src["contact"] = append(src["contact"], r)
	}
	return src, nil
}
