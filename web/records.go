package web

import (
	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// pageRows is how many rows a list shows at once.
const pageRows = 50

// pageLook is how many rows a filter looks at before a page is shown with what it
// found so far: a mail takes 5 to 15 µs, and a page is to take 50 ms at most.
const pageLook = 2500

// listPage is a list with a way to what is older.
type listPage[R any] struct {
	Rows  []R
	Older automations.ID // the cursor of the next page; zero at the end
}

// readList reads the page of a list that the request asks for.
func readList[R any](v *visit, read func(storage.Page) ([]R, storage.Rest, error), id func(R) automations.ID) (page listPage[R], err error) {
	after, _ := automations.ParseID(v.FormValue("after"))
	rows, rest, err := read(storage.Page{Limit: pageRows, After: after, Look: pageLook})
	page.Rows = rows
	switch {
	case rest.Cut != automations.ID{}:
		page.Older = rest.Cut
	case rest.More && len(rows) > 0:
		page.Older = id(rows[len(rows)-1])
	}
	return page, err
}

// orAgain answers a form: on to the next place when it did what it was for, and
// its page again with the refusal when it did not.
func orAgain[P any](err error, done redirect, page func() (P, error)) (any, error) {
	switch {
	case err == nil:
		return done, nil
	case problemOf(err) == nil:
		return nil, err
	}
	again, readErr := page()
	if readErr != nil {
		return nil, readErr
	}
	return refused{again, err}, nil
}

func workflowName(tx *storage.Tx, id automations.ID) string {
	w, err := tx.Workflow(id)
	if err != nil {
		return ""
	}
	return w.Name
}
