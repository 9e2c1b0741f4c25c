package cmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"

	"github.com/opensend/opensend/storage"
)

// move is one import: what comes, what is here, and what becomes of it.
type move struct {
	src   supplier
	to    *client
	ids   map[string]string // from there to here
	tell  storage.Progress
	parts []*part
}

// part is what an import does about one kind.
type part struct {
	Kind     string   `json:"kind"`
	Found    int      `json:"found"`
	New      int      `json:"new"`
	Fill     int      `json:"fill"`  // here, and lacking something
	There    int      `json:"there"` // here, and complete
	Skipped  int      `json:"skipped"`
	Offered  bool     `json:"offered"` // whether the other side has such things
	Done     int      `json:"done"`
	Problems []string `json:"problems"`

	kind  kind
	tasks []task
}

// task is one object to be brought in.
type task struct {
	key  string
	row  row
	have row      // what is here; nil when nothing is
	also []string // ids of others with the same key, which it stands for
}

func (m *move) plan() error {
	for _, k := range kinds() {
		p := &part{Kind: k.plural, Offered: true, Problems: []string{}, kind: k}
		m.parts = append(m.parts, p)
		rows, err := m.src.rows(k, func(n int) { m.tell("reading "+k.plural, int64(n), 0) })
		if errors.Is(err, errNotOffered) {
			p.Offered = false
			continue
		}
		if err != nil {
			return fmt.Errorf("reading %s: %w", k.plural, err)
		}
		if err := m.compare(p, rows); err != nil {
			return err
		}
	}
	if !slices.ContainsFunc(m.parts, func(p *part) bool { return p.Offered }) {
		return errors.New("the other side has none of these lists; check --url")
	}
	return nil
}

// compare finds for each row what is here.
func (m *move) compare(p *part, rows []row) error {
	p.Found = len(rows)
	if len(rows) == 0 {
		return nil
	}
	here := map[string]row{}
	err := m.to.each(p.kind.path, nil, func(raw json.RawMessage) error {
		var r row
		err := json.Unmarshal(raw, &r)
		here[p.kind.key(r)] = r
		return err
	})
	if err != nil {
		return err
	}
	seen := map[string]int{} // the place of its task, plus one
	for _, r := range rows {
		key := p.kind.key(r)
		have := here[key]
		if have != nil {
			m.ids[r.text("id")] = have.text("id")
		}
		switch {
		case key == "": // an address that was erased
			p.Skipped++
			continue
		case seen[key] > 0:
			p.Skipped++
			if n := seen[key] - 1; n < len(p.tasks) && p.tasks[n].key == key {
				p.tasks[n].also = append(p.tasks[n].also, r.text("id"))
			}
			continue
		case have == nil:
			p.New++
		default:
			lacks, err := m.lacks(p.kind, r, have)
			if err != nil {
				return err
			}
			if !lacks {
				p.There++
				seen[key] = len(p.tasks) + 1
				continue
			}
			p.Fill++
		}
		p.tasks = append(p.tasks, task{key: key, row: r, have: have})
		seen[key] = len(p.tasks)
	}
	return nil
}

// lacks tells whether something is missing in what is here.
func (m *move) lacks(k kind, r, have row) (bool, error) {
	switch k.object {
	case "contact":
		patch, segments := filling(r, have, m.ids)
		isNew := func(c topicChoice) bool { return c.Subscription == "opt_out" && m.ids[c.ID] == "" }
		if len(patch)+len(segments) > 0 || slices.ContainsFunc(r.choices(), isNew) {
			return true, nil
		}
		declined, err := m.declined(r, have)
		return len(declined) > 0, err
	case "template": // an import that was cut short
		return r.text("status") == "published" && have.text("status") != "published", nil
	}
	return false, nil
}

// declined are the topics that the contact does not want there and still gets
// here.
func (m *move) declined(r, have row) (choices []topicChoice, err error) {
	for _, c := range r.topics(m.ids) {
		if c.Subscription == "opt_out" {
			choices = append(choices, c)
		}
	}
	if len(choices) == 0 {
		return nil, nil
	}
	err = m.to.each("/contacts/"+url.PathEscape(have.text("id"))+"/topics", nil, func(raw json.RawMessage) error {
		var here topicChoice
		err := json.Unmarshal(raw, &here)
		choices = slices.DeleteFunc(choices, func(c topicChoice) bool { return c == here })
		return err
	})
	return choices, err
}

func (m *move) todo() (n int) {
	for _, p := range m.parts {
		n += len(p.tasks)
	}
	return n
}

func (m *move) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KIND\tFOUND\tNEW\tTO FILL IN\tHERE\tLEFT OUT")
	for _, p := range m.parts {
		if !p.Offered {
			fmt.Fprintf(w, "%s\t-\t-\t-\t-\t-\n", p.Kind)
			continue
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\n", p.Kind, p.Found, p.New, p.Fill, p.There, p.Skipped)
	}
	return w.Flush()
}

// maxRefused is how many refused objects are told one by one.
const maxRefused = 20

// outcome tells how it went.
func (m *move) outcome(a *app, dryRun bool) error {
	done, refused, drafts := 0, 0, 0
	for _, p := range m.parts {
		done += p.Done
		if p.kind.object == "automation" {
			drafts = p.Done
		}
		for _, text := range p.Problems {
			if refused++; refused <= maxRefused {
				fmt.Fprintf(a.stderr, "%s\n", text)
			}
		}
	}
	switch {
	case refused > 0:
		return fmt.Errorf("%d brought in, %d refused; what is in is not brought in twice: mend the others and run it again", done, refused)
	case a.json:
		return nil
	case dryRun || m.todo() == 0:
		_, err := fmt.Fprintf(a.stdout, "nothing is changed; %d to bring in\n", m.todo())
		return err
	}
	if drafts > 0 {
		fmt.Fprintf(a.stderr, "%s came as drafts: enable them when the other side is switched off.\n", plural(drafts, "automation"))
	}
	_, err := fmt.Fprintf(a.stdout, "%d brought in\n", done)
	return err
}

// together is how many contacts of a file are brought in at once: they share
// commits. Of everything else, and from other servers, one follows the other.
const together = 32

// carry brings everything in. An object that is refused is noted, and the others
// go on; any other error ends it.
func (m *move) carry() error {
	for _, p := range m.parts {
		workers := 1
		if _, file := m.src.(fileSource); file && p.kind.object == "contact" {
			workers = together
		}
		if err := m.carryPart(p, workers); err != nil {
			return err
		}
	}
	return nil
}

func (m *move) carryPart(p *part, workers int) (failed error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	next := 0
	take := func() (t task, ok bool) {
		mu.Lock()
		defer mu.Unlock()
		if failed != nil || next == len(p.tasks) {
			return t, false
		}
		next++
		return p.tasks[next-1], true
	}
	settle := func(t task, err error) {
		mu.Lock()
		defer mu.Unlock()
		refused, ok := errors.AsType[*refusedError](err)
		switch {
		case ok && refused.status < 500:
			p.Problems = append(p.Problems, fmt.Sprintf("%s %s: %s", p.kind.object, strings.TrimPrefix(t.key, "alias "), refused.message))
		case err != nil:
			failed = errors.Join(failed, err)
		default:
			p.Done++
			m.tell("bringing in "+p.kind.plural, int64(p.Done), 0)
		}
	}
	for range workers {
		wg.Go(func() {
			for t, ok := take(); ok; t, ok = take() {
				settle(t, m.bring(p.kind, t))
			}
		})
	}
	wg.Wait()
	return failed
}

func (m *move) bring(k kind, t task) error {
	r, err := m.src.complete(k, t.row)
	if err != nil {
		return err
	}
	var made row
	switch {
	case t.have == nil:
		if made, err = m.create(k, r); err != nil {
			return err
		}
		if k.object == "contact" { // nothing refers to it
			return nil
		}
		for _, id := range append(t.also, t.row.text("id")) {
			m.ids[id] = made.text("id")
		}
	case k.object == "contact":
		return m.fill(r, t.have)
	default:
		made = t.have
	}
	if k.object == "template" && r.text("status") == "published" {
		return m.publish(k, r, made.text("id"))
	}
	return nil
}

// create makes the object. Of a template that was edited since it was published
// the published content comes first.
func (m *move) create(k kind, r row) (made row, err error) {
	body := k.body(r, m.ids)
	var published row
	if json.Unmarshal(r["published"], &published) == nil && published != nil {
		published["name"], published["alias"] = r["name"], r["alias"]
		body = k.body(published, m.ids)
	}
	return made, m.to.call(http.MethodPost, k.path, body, &made)
}

func (m *move) publish(k kind, r row, id string) error {
	var out json.RawMessage
	path := k.path + "/" + url.PathEscape(id)
	if err := m.to.call(http.MethodPost, path+"/publish", nil, &out); err != nil || r.null("published") {
		return err
	}
	draft := k.body(r, m.ids)
	delete(draft, "name")
	delete(draft, "alias")
	return m.to.call(http.MethodPatch, path, draft, &out)
}

func (m *move) fill(r, have row) error {
	patch, segments := filling(r, have, m.ids)
	path := "/contacts/" + url.PathEscape(have.text("id"))
	var out json.RawMessage
	if len(patch) > 0 {
		if err := m.to.call(http.MethodPatch, path, patch, &out); err != nil {
			return err
		}
	}
	declined, err := m.declined(r, have)
	if err != nil {
		return err
	}
	if len(declined) > 0 {
		if err := m.to.call(http.MethodPatch, path+"/topics", declined, &out); err != nil {
			return err
		}
	}
	for _, id := range mapped(segments, m.ids) {
		if err := m.to.call(http.MethodPost, path+"/segments/"+id, nil, &out); err != nil {
			return err
		}
	}
	return nil
}
