package web

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

const (
	maxImports  = 4 // files that are held in memory; the oldest goes first
	importLife  = time.Hour
	importBatch = 500      // contacts of one commit
	importBytes = 64 << 10 // of their cells: the API takes bodies of 1 MiB
	importStep  = 5000     // contacts of one request, after which the page shows how far it is

	maxImportBytes   = 10 << 20
	maxImportRows    = 100_000
	maxImportColumns = 100
	maxRowBytes      = 64 << 10

	shownProblems = 50
	shownExamples = 3
)

// imports holds the files between their being sent and being imported.
type imports struct {
	mu   sync.Mutex
	held []*contactImport // the newest last
}

func (all *imports) add(job *contactImport) {
	all.mu.Lock()
	defer all.mu.Unlock()
	all.held = slices.DeleteFunc(all.held, func(old *contactImport) bool { return old.at.Add(importLife).Before(job.at) })
	all.held = append(all.held[max(len(all.held)-maxImports+1, 0):], job)
}

func (all *imports) find(id string) (*contactImport, error) {
	all.mu.Lock()
	defer all.mu.Unlock()
	for _, job := range all.held {
		if job.ID == id {
			return job, nil
		}
	}
	return nil, automations.Errorf(automations.KindNotFound, "", "This import is not here any more: it is older than an hour, or the server has been started again. What it had done is stored; send the file once more to go on.")
}

// contactImport is a file of contacts on its way in. Whoever uses it holds mu.
type contactImport struct {
	mu       sync.Mutex
	at       time.Time
	ID, File string
	table    automations.Table
	kinds    []string       // what the columns mean
	Skip     bool           // contacts that exist are left alone
	Segment  automations.ID // that all are put into; zero for none
	Would    importReport   // what a dry run says
	Did      importReport
	Next     int // rows before it are done
	Started  bool
}

// importReport counts what became, or would become, of rows.
type importReport struct {
	Created, Updated, Skipped, Wrong int
	Problems                         []rowProblem // the first of those that are wrong
}

type rowProblem struct {
	Line    int
	Message string
}

func (r *importReport) refuse(line int, message string) {
	if r.Wrong++; len(r.Problems) < shownProblems {
		r.Problems = append(r.Problems, rowProblem{line, message})
	}
}

// Good is how many rows can be used.
func (r importReport) Good() int { return r.Created + r.Updated }

// importForm is the page that takes a file.
type importForm struct {
	Segments []*automations.Segment
	MaxBytes int64
	MaxRows  int
}

func (v *visit) importForm() (any, error) { return v.importFormPage() }

func (v *visit) importFormPage() (page importForm, err error) {
	page.MaxBytes, page.MaxRows = maxImportBytes, maxImportRows
	err = v.read(func(tx *storage.Tx) (err error) {
		page.Segments, _, err = tx.Segments(storage.Page{Limit: maxChoices})
		return err
	})
	return page, err
}

// takeImport reads a file and tries out what it would do. Nothing is stored.
func (v *visit) takeImport() (any, error) {
	job, err := v.readImport()
	if err != nil {
		return orAgain(err, redirect{}, v.importFormPage)
	}
	if err := v.tryImport(job); err != nil {
		return nil, err
	}
	v.d.imports.add(job)
	return redirect{to: home + "/contacts/import/" + job.ID}, nil
}

func (v *visit) readImport() (*contactImport, error) {
	job := &contactImport{at: v.now, ID: rand.Text(), Skip: v.PostForm.Get("existing") == "skip"}
	job.Segment, _ = automations.ParseID(v.PostForm.Get("segment"))
	file, info, err := v.Request.FormFile("file")
	if errors.Is(err, http.ErrMissingFile) || errors.Is(err, http.ErrNotMultipart) {
		return nil, automations.Errorf(automations.KindInvalid, "", "choose a file to import")
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	raw, err := io.ReadAll(io.LimitReader(file, maxImportBytes+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > maxImportBytes {
		return nil, automations.Errorf(automations.KindTooLarge, "", "the file is larger than %s; split it", byteSize(maxImportBytes))
	}
	job.File = info.Filename
	if job.table, err = automations.ReadTable(raw); err != nil {
		return nil, err
	}
	switch columns := len(job.table.Head); {
	case len(job.table.Rows) == 0:
		return nil, automations.Errorf(automations.KindInvalid, "", "the file has a first line and nothing below it")
	case columns > maxImportColumns:
		return nil, automations.Errorf(automations.KindInvalid, "", "the file has %d columns; %d are read", columns, maxImportColumns)
	case len(job.table.Rows) > maxImportRows:
		return nil, automations.Errorf(automations.KindInvalid, "", "the file has more than %s rows; split it", number(maxImportRows))
	}
	job.kinds = job.table.Columns()
	return job, nil
}

// tryImport counts what the whole file would do.
func (v *visit) tryImport(job *contactImport) error {
	job.Would = importReport{}
	seen := map[string]bool{} // what one batch creates another one would change
	judge := func(saved savedContact) string {
		again := seen[saved.Email]
		switch seen[saved.Email] = true; {
		case saved.Result != "created" || !again:
			return saved.Result
		case job.Skip:
			return "skipped"
		}
		return "updated"
	}
	for batch, rest := cutBatch(job.table.Rows); len(batch) > 0; batch, rest = cutBatch(rest) {
		if err := v.sendBatch(job, batch, url.Values{"dry_run": {"true"}}, &job.Would, judge); err != nil {
			return err
		}
	}
	return nil
}

// cutBatch takes the rows of the next batch, one at least.
func cutBatch(rows []automations.TableRow) (batch, rest []automations.TableRow) {
	size := 0
	for i, row := range rows {
		if size += row.Size(); i == importBatch || i > 0 && size > importBytes {
			return rows[:i], rows[i:]
		}
	}
	return rows, nil
}

// savedContact is what POST /contacts/batch says of one contact, or its error.
type savedContact struct {
	Email, Result, Message string
}

// sendBatch sends rows through the API and counts the answers; judge may see one
// differently.
func (v *visit) sendBatch(job *contactImport, batch []automations.TableRow, query url.Values, report *importReport, judge func(savedContact) string) error {
	if !slices.Contains(job.kinds, automations.ColumnEmail) {
		return nil // the page asks for it
	}
	texts, err := v.declaredTexts(job.table.Head)
	if err != nil {
		return err
	}
	if job.Skip {
		query.Set("existing", "skip")
	}
	var contacts []any
	var lines []int
	for _, row := range batch {
		contact, err := row.Contact(job.table.Head, job.kinds, texts)
		if row.Size() > maxRowBytes {
			err = automations.Errorf(automations.KindTooLarge, "", "the row has more than %s", byteSize(maxRowBytes))
		}
		if err != nil {
			report.refuse(row.Line, err.Error())
			continue
		}
		if job.Segment != (automations.ID{}) {
			contact["segments"], _ = json.Marshal([]automations.ID{job.Segment})
		}
		contacts, lines = append(contacts, contact), append(lines, row.Line)
	}
	if len(contacts) == 0 {
		return nil
	}
	var answer struct{ Data []savedContact }
	if err := v.call(http.MethodPost, "/contacts/batch?"+query.Encode(), contacts, &answer); err != nil {
		return err
	}
	for i, saved := range answer.Data {
		report.count(lines[i], saved, judge(saved))
	}
	return nil
}

func (r *importReport) count(line int, saved savedContact, result string) {
	switch result {
	case "created":
		r.Created++
	case "updated":
		r.Updated++
	case "skipped":
		r.Skipped++
	default:
		r.refuse(line, saved.Message)
	}
}

// declaredTexts are those of the names that are declared as properties with
// texts for values: 0123 is no number there.
func (v *visit) declaredTexts(names []string) (map[string]bool, error) {
	texts := map[string]bool{}
	err := v.read(func(tx *storage.Tx) error {
		for _, name := range names {
			declared, err := tx.ContactPropertyByKey(name)
			if err != nil && !errors.Is(err, storage.ErrNotFound) {
				return err
			}
			texts[name] = err == nil && declared.Type == "string"
		}
		return nil
	})
	return texts, err
}

// importPage is one import: what it would do, how far it is, or what it did.
type importPage struct {
	*contactImport
	Columns []importColumn
	Kinds   []struct{ Kind, Words string }
	Rows    int
	Ready   bool // a column has the addresses
	Segment *automations.Segment
}

type importColumn struct {
	Name, Kind string
	Examples   []string
}

func (p importPage) Over() bool { return p.Started && p.Next >= p.Rows }

func (v *visit) importPage() (any, error) {
	job, err := v.d.imports.find(v.PathValue("id"))
	if err != nil {
		return nil, err
	}
	job.mu.Lock()
	defer job.mu.Unlock()
	return v.importPageOf(job)
}

// importPageOf copies what the page shows: it is rendered when mu is free again.
func (v *visit) importPageOf(job *contactImport) (importPage, error) {
	shown := contactImport{ID: job.ID, File: job.File, Skip: job.Skip, Would: job.Would, Did: job.Did, Next: job.Next, Started: job.Started}
	page := importPage{contactImport: &shown, Kinds: columnKinds, Rows: len(job.table.Rows), Ready: slices.Contains(job.kinds, automations.ColumnEmail)}
	for i, name := range job.table.Head {
		column := importColumn{Name: name, Kind: job.kinds[i]}
		for _, row := range job.table.Rows[:min(len(job.table.Rows), shownExamples)] {
			if i < len(row.Cells) {
				column.Examples = append(column.Examples, row.Cells[i])
			}
		}
		page.Columns = append(page.Columns, column)
	}
	if job.Segment == (automations.ID{}) {
		return page, nil
	}
	err := v.read(func(tx *storage.Tx) (err error) {
		if page.Segment, err = tx.Segment(job.Segment); errors.Is(err, storage.ErrNotFound) {
			return nil // the rows say so
		}
		return err
	})
	return page, err
}

// changeImport does what a button of the page says: try other columns, or go on.
func (v *visit) changeImport() (any, error) {
	job, err := v.d.imports.find(v.PathValue("id"))
	if err != nil {
		return nil, err
	}
	job.mu.Lock()
	defer job.mu.Unlock()
	switch v.PathValue("step") {
	case "columns":
		if job.Started {
			break
		}
		chosen := v.PostForm["kind"]
		kinds := make([]string, len(job.table.Head))
		copy(kinds, chosen)
		if err := checkColumns(kinds); err != nil {
			return orAgain(err, redirect{}, func() (importPage, error) { return v.importPageOf(job) })
		}
		job.kinds = kinds
		err = v.tryImport(job)
	case "go":
		err = v.importSome(job)
	default:
		return nil, storage.ErrNotFound
	}
	return orAgain(err, redirect{to: home + "/contacts/import/" + job.ID}, func() (importPage, error) { return v.importPageOf(job) })
}

// columnKinds lists what a column can mean, with its words.
var columnKinds = []struct{ Kind, Words string }{
	{automations.ColumnNothing, "leave out"}, {automations.ColumnEmail, "address"}, {automations.ColumnFirstName, "first name"}, {automations.ColumnLastName, "last name"},
	{automations.ColumnUnsubscribed, "unsubscribed"}, {automations.ColumnProperty, "property of this name"},
}

func checkColumns(kinds []string) error {
	seen := map[string]bool{}
	for _, kind := range kinds {
		if kind != automations.ColumnProperty && kind != automations.ColumnNothing && seen[kind] {
			return automations.Errorf(automations.KindInvalid, "", "two columns are the %s; choose one of them", wordsOfColumn(kind))
		}
		if seen[kind] = true; wordsOfColumn(kind) == "" {
			return automations.Errorf(automations.KindInvalid, "", "a column cannot be %.40q", kind)
		}
	}
	if !seen[automations.ColumnEmail] {
		return automations.Errorf(automations.KindInvalid, "", "choose the column that has the addresses")
	}
	return nil
}

func wordsOfColumn(kind string) string {
	for _, k := range columnKinds {
		if k.Kind == kind {
			return k.Words
		}
	}
	return ""
}

// importSome imports the next rows. What it has done is done: a batch that fails
// stays where it was, and can be tried again.
func (v *visit) importSome(job *contactImport) error {
	if !slices.Contains(job.kinds, automations.ColumnEmail) {
		return automations.Errorf(automations.KindInvalid, "", "choose the column that has the addresses")
	}
	job.Started = true
	step := job.table.Rows[job.Next:min(job.Next+importStep, len(job.table.Rows))]
	for batch, rest := cutBatch(step); len(batch) > 0; batch, rest = cutBatch(rest) {
		if err := v.sendBatch(job, batch, url.Values{}, &job.Did, func(saved savedContact) string { return saved.Result }); err != nil {
			return err
		}
		job.Next += len(batch)
	}
	return nil
}
