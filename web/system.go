package web

import (
	"cmp"
	"slices"
	"strings"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// storagePage is what the data file takes up.
type storagePage struct {
	Path     string
	Room     storage.Room
	Usage    storage.Usage
	Measured *storage.Breakdown // nil until somebody asks: it reads the whole file
}

// storage shows what takes up room, bucket by bucket when that is asked for.
func (v *visit) storage() (any, error) {
	db := v.d.cfg.DB
	page := storagePage{Path: db.Path()}
	var err error
	if page.Room, err = db.Room(); err != nil {
		return nil, err
	}
	if page.Usage, err = db.Usage(); err != nil || v.FormValue("measure") == "" {
		return page, err
	}
	v.takeTime()
	if page.Measured, err = db.Breakdown(); err != nil {
		return nil, err
	}
	slices.SortStableFunc(page.Measured.Buckets, func(a, b storage.BucketUsage) int { return cmp.Compare(b.Bytes, a.Bytes) })
	return page, nil
}

// doctorPage is what the doctor found; nothing until somebody asks.
type doctorPage struct {
	Known    bool
	Findings []Finding
	Failed   int
}

func (v *visit) doctor() (any, error) {
	page := doctorPage{Known: v.d.cfg.Doctor != nil}
	if !page.Known || v.FormValue("look") == "" {
		return page, nil
	}
	v.takeTime()
	page.Findings = v.d.cfg.Doctor()
	for _, f := range page.Findings {
		if f.Verdict == "fail" {
			page.Failed++
		}
	}
	return page, nil
}

func (v *visit) configuration() (any, error) { return v.d.cfg.Settings, nil }

// changesPage is the log of changes, newest first.
type changesPage struct {
	listPage[*automations.Change]
	Older string
}

func (v *visit) changes() (any, error) {
	var page changesPage
	by, what := strings.ToLower(v.FormValue("by")), strings.ToLower(v.FormValue("what"))
	var keep func(*automations.Change) bool
	if by+what != "" {
		keep = func(c *automations.Change) bool {
			return strings.Contains(strings.ToLower(c.By), by) && strings.Contains(strings.ToLower(c.Method+" "+c.Path), what)
		}
	}
	err := v.read(func(tx *storage.Tx) (err error) {
		page.listPage, err = readList(v, func(p storage.Page) ([]*automations.Change, storage.Rest, error) { return tx.Changes(p, keep) },
			func(c *automations.Change) automations.ID { return c.ID })
		return err
	})
	page.Older = v.olderThan("/system/changes", page.listPage.Older)
	return page, err
}
