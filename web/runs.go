package web

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// Runs are stored below their automations. A list of all is merged from the
// newest of each, within bounds that a page states when it meets them.
const (
	maxRunLooks    = 2500 // runs that a page looks at, of all automations together
	maxMergedFlows = 100  // automations that a page without a choice looks into
	maxBulkRuns    = 500  // runs that one press cancels or retries
)

// runSearch is which runs are wanted.
type runSearch struct {
	Automation automations.ID // zero for any
	Status     string         // "" for any, "in_flight" for what is not over
	Contact    string         // id or address; "" for any
	contact    automations.ID
	unknown    bool // the contact does not exist
}

func (v *visit) readRunSearch(tx *storage.Tx) (s runSearch, err error) {
	s.Status, s.Contact = v.FormValue("status"), v.FormValue("contact")
	s.Automation, _ = automations.ParseID(v.FormValue("automation"))
	if s.Contact == "" {
		return s, nil
	}
	id, ok := automations.ParseID(s.Contact)
	if !ok {
		if email, bad := automations.NormalizeEmail(s.Contact); bad == nil {
			id, err = tx.ContactID(email)
			ok = err == nil
		}
	}
	if errors.Is(err, storage.ErrNotFound) {
		err = nil
	}
	s.contact, s.unknown = id, !ok
	return s, err
}

func (s runSearch) wants(r *automations.Run) bool {
	return s.wantsStatus(r.Status) && (s.Contact == "" || !s.unknown && r.ContactID == s.contact)
}

func (s runSearch) wantsStatus(status automations.RunStatus) bool {
	switch s.Status {
	case "":
		return true
	case "in_flight":
		return !status.Final()
	}
	return string(status) == s.Status
}

// query is the search as it stands in addresses.
func (s runSearch) query() url.Values {
	q := url.Values{}
	for name, value := range map[string]string{"status": s.Status, "contact": s.Contact} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if s.Automation != (automations.ID{}) {
		q.Set("automation", s.Automation.String())
	}
	return q
}

// foundRuns is what a search found.
type foundRuns struct {
	Runs   []*automations.Run // newest first
	Rest   automations.ID     // where looking ended; zero when all was looked at
	Looked int
	Names  map[automations.ID]string // of the automations
	Left   int                       // automations that were not looked into
}

// findRuns looks at the newest runs older than after, of every automation that
// the search may mean.
func findRuns(tx *storage.Tx, s runSearch, after automations.ID) (f foundRuns, err error) {
	all, err := tx.AllWorkflows()
	if err != nil {
		return f, err
	}
	f.Names = map[automations.ID]string{}
	var among []*automations.Workflow
	for _, w := range all {
		f.Names[w.ID] = w.Name
		if s.Automation != (automations.ID{}) && w.ID != s.Automation || s.unknown {
			continue
		}
		counts := tx.RunCounts(w.ID)
		for _, status := range automations.RunStatuses() {
			if n, known := counts[status]; (n > 0 || !known) && s.wantsStatus(status) {
				among = append(among, w)
				break
			}
		}
	}
	if len(among) > maxMergedFlows {
		among, f.Left = among[len(among)-maxMergedFlows:], len(among)-maxMergedFlows // the newest
	}
	for _, w := range among {
		runs, rest, err := tx.Runs(w.ID, storage.Page{Limit: maxRunLooks / len(among), After: after}, nil)
		if err != nil {
			return f, err
		}
		f.Looked += len(runs)
		f.Runs = append(f.Runs, runs...)
		if last := len(runs) - 1; rest.More && last >= 0 && compareIDs(runs[last].ID, f.Rest) > 0 {
			f.Rest = runs[last].ID
		}
	}
	f.Runs = slices.DeleteFunc(f.Runs, func(r *automations.Run) bool { return compareIDs(r.ID, f.Rest) < 0 || !s.wants(r) })
	slices.SortFunc(f.Runs, func(a, b *automations.Run) int { return compareIDs(b.ID, a.ID) })
	return f, nil
}

func compareIDs(a, b automations.ID) int { return bytes.Compare(a[:], b[:]) }

// runsPage lists runs.
type runsPage struct {
	runSearch
	Head                *automationPage // of the automation whose runs alone are listed; nil otherwise
	Rows                []runRow
	Older               string // address of the next page; "" at the end
	Choices             []option
	Statuses            []option
	Looked, Left        int
	Partial             bool   // not all runs were looked at
	CanCancel, CanRetry int    // of what was found, up to maxBulkRuns
	Here                string // address of the page without its search
}

type runRow struct {
	*automations.Run
	Automation string
	Contact    string
}

var runStatusWords = []option{
	{"", "Any status"}, {"in_flight", "In flight"}, {"waiting", "Waiting"}, {"queued", "Queued"}, {"running", "Running"},
	{"failed", "Failed"}, {"completed", "Completed"}, {"cancelled", "Cancelled"}, {"skipped", "Skipped"},
}

func (v *visit) runs() (any, error) {
	page := runsPage{Here: home + "/runs"}
	err := v.read(func(tx *storage.Tx) (err error) {
		if page.runSearch, err = v.readRunSearch(tx); err != nil {
			return err
		}
		return page.read(v, tx)
	})
	return page, err
}

// automationRuns lists the runs of one automation.
func (v *visit) automationRuns() (any, error) {
	page := runsPage{Here: home + v.automationPath() + "/runs"}
	err := v.read(func(tx *storage.Tx) (err error) {
		if page.Head, err = v.automationHead(tx); err != nil {
			return err
		}
		if page.runSearch, err = v.readRunSearch(tx); err != nil {
			return err
		}
		page.runSearch.Automation = page.Head.ID
		return page.read(v, tx)
	})
	return page, err
}

func (p *runsPage) read(v *visit, tx *storage.Tx) error {
	after, _ := automations.ParseID(v.FormValue("after"))
	found, err := findRuns(tx, p.runSearch, after)
	if err != nil {
		return err
	}
	p.Statuses, p.Looked, p.Left, p.Partial = runStatusWords, found.Looked, found.Left, found.Rest != automations.ID{}
	p.Choices = []option{{"", "Any automation"}}
	for id, name := range found.Names {
		p.Choices = append(p.Choices, option{id.String(), name})
	}
	slices.SortFunc(p.Choices[1:], func(a, b option) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
	for _, run := range found.Runs {
		switch {
		case !run.Status.Final():
			p.CanCancel = min(p.CanCancel+1, maxBulkRuns)
		case run.Status == automations.RunFailed:
			p.CanRetry = min(p.CanRetry+1, maxBulkRuns)
		}
	}
	next := found.Rest
	if len(found.Runs) > pageRows {
		found.Runs = found.Runs[:pageRows]
		next = found.Runs[pageRows-1].ID
	}
	if next != (automations.ID{}) {
		q := p.query()
		q.Set("after", next.String())
		p.Older = p.Here + "?" + q.Encode()
	}
	for _, run := range found.Runs {
		row := runRow{Run: run, Automation: found.Names[run.WorkflowID]}
		switch c, err := tx.Contact(run.ContactID); {
		case err == nil:
			row.Contact = c.Email
		case !errors.Is(err, storage.ErrNotFound):
			return err
		}
		p.Rows = append(p.Rows, row)
	}
	return nil
}

// Query is the search, for forms that act on what it finds.
func (p runsPage) Query() url.Values { return p.query() }

func (v *visit) cancelRuns() (any, error) {
	return v.eachRun("/cancel", "cancelled", func(r *automations.Run) bool { return !r.Status.Final() })
}

func (v *visit) retryRuns() (any, error) {
	return v.eachRun("/retry", "made due again", func(r *automations.Run) bool { return r.Status == automations.RunFailed })
}

// eachRun does the same to each run that the form's search finds, up to
// maxBulkRuns, and tells to how many.
func (v *visit) eachRun(action, done string, can func(*automations.Run) bool) (any, error) {
	var found foundRuns
	var search runSearch
	err := v.read(func(tx *storage.Tx) (err error) {
		if search, err = v.readRunSearch(tx); err == nil {
			found, err = findRuns(tx, search, automations.ID{})
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	found.Runs = slices.DeleteFunc(found.Runs, func(r *automations.Run) bool { return !can(r) })
	acted, refused := 0, 0
	for _, run := range found.Runs[:min(len(found.Runs), maxBulkRuns)] {
		err := v.call(http.MethodPost, runPath(run.Ref())+action, nil, nil)
		if e, ok := errors.AsType[*apiError](err); ok && e.status < http.StatusInternalServerError {
			refused++ // it moved on meanwhile
			continue
		}
		if err != nil {
			return nil, err
		}
		acted++
	}
	notice := plural(acted, "run") + " " + done + "."
	if refused > 0 {
		notice += " " + plural(refused, "run") + " had moved on meanwhile."
	}
	if left := len(found.Runs) - acted - refused; left > 0 {
		notice += fmt.Sprintf(" %s more were found: do it again for the next.", number(left))
	} else if found.Rest != (automations.ID{}) {
		notice += fmt.Sprintf(" The newest %s runs were looked at.", number(found.Looked))
	}
	to := home + "/runs?" + search.query().Encode()
	if back := v.PostFormValue("back"); back != "" && search.Automation != (automations.ID{}) {
		to = home + "/automations/" + search.Automation.String() + "/runs"
	}
	return redirect{to, notice}, nil
}

// runPath is a run in the API.
func runPath(ref automations.RunRef) string {
	return "/automations/" + ref.WorkflowID.String() + "/runs/" + ref.RunID.String()
}

// formNumber reads a number from the form; what is none is fallback.
func formNumber(v *visit, name string, fallback int) int {
	if n, err := strconv.Atoi(v.FormValue(name)); err == nil {
		return n
	}
	return fallback
}
