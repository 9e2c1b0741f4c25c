package storage

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/opensend/opensend/automations"
)

// scanBudget is how many rows one filtered page may look at where it does not
// say: a filter that matches little costs a bounded time and says that there is
// more.
const scanBudget = 20_000

// Page asks for part of a list, newest first. At most one of After (older
// than that row) and Before (newer) is set; the row itself need not exist any
// more.
type Page struct {
	Limit  int // more than zero
	After  automations.ID
	Before automations.ID
	// Since leaves out the rows whose ids were made before it; zero is all. An id
	// is never made before its row, but may be later where the clock was set back.
	Since time.Time
	// Look is how many rows a filter may look at before the page is cut; zero is
	// 20,000.
	Look int
}

// least is the id that no row of the page is below.
func (p Page) least() (id automations.ID) {
	if ms := p.Since.UnixMilli(); ms > 0 {
		binary.BigEndian.PutUint64(id[:8], uint64(ms)<<16) // where a UUIDv7 has its time
	}
	return id
}

// Rest says what is left of a list after a page, in the direction of reading.
type Rest struct {
	More bool // further rows may follow
	// Cut is the last row that was looked at when the page ended before it was
	// full, because its filter matches little: the list goes on from there. It
	// is zero otherwise.
	Cut automations.ID
}

// list reads one page of the rows below prefix, whose keys end in an id. keep,
// when not nil, filters.
func list[T any](tx *Tx, b bucket, prefix []byte, page Page, keep func(*T) bool) (rows []*T, rest Rest, err error) {
	return listThrough(tx, b, prefix, page, func(key, body []byte) (*T, error) { return decode[T](b, key, body) }, keep)
}

// listThrough is list for an index: load makes a row of an entry.
func listThrough[T any](tx *Tx, b bucket, prefix []byte, page Page, load func(key, body []byte) (*T, error), keep func(*T) bool) (rows []*T, rest Rest, err error) {
	var last []byte
	next := tx.walk(b, prefix, page)
	forward := page.Before != automations.ID{}
	for budget := cmp.Or(page.Look, scanBudget); ; budget-- {
		key, value := next()
		if key == nil {
			break
		}
		if len(rows) == page.Limit {
			rest.More = true
			break
		}
		if budget == 0 {
			rest = Rest{More: true, Cut: automations.ID(last[len(last)-16:])}
			break
		}
		last = key
		body, ok := open(key, value)
		if !ok {
			return nil, Rest{}, &CorruptError{Bucket: b.String(), Key: bytes.Clone(key)}
		}
		row, err := load(key, body)
		if err != nil {
			return nil, Rest{}, err
		}
		if keep == nil || keep(row) {
			rows = append(rows, row)
		}
	}
	if forward {
		slices.Reverse(rows)
	}
	return rows, rest, nil
}

// listNear is list for filters that say no to most rows: near says so of a stored
// record, in no time; keep sees the rest.
func listNear[T any](tx *Tx, b bucket, page Page, near func(record []byte) bool, keep func(*T) bool) ([]*T, Rest, error) {
	load := func(key, body []byte) (*T, error) {
		if !near(body) {
			return nil, nil
		}
		return decode[T](b, key, body)
	}
	return listThrough(tx, b, nil, page, load, func(row *T) bool { return row != nil && keep(row) })
}

// walk steps through the rows below prefix in the page's direction, from where
// the page begins; nil keys end it.
func (tx *Tx) walk(b bucket, prefix []byte, page Page) func() (key, value []byte) {
	c := tx.bucket(b).Cursor()
	least := tuple(prefix, page.least())
	within := func(k, v []byte) ([]byte, []byte) {
		if !bytes.HasPrefix(k, prefix) || bytes.Compare(k, least) < 0 {
			return nil, nil
		}
		return k, v
	}
	started := false
	if page.Before != (automations.ID{}) {
		from := tuple(prefix, page.Before)
		return func() ([]byte, []byte) {
			if started {
				return within(c.Next())
			}
			started = true
			k, v := c.Seek(slices.MaxFunc([][]byte{from, least}, bytes.Compare))
			if bytes.Equal(k, from) {
				k, v = c.Next()
			}
			return within(k, v)
		}
	}
	end := bytes.Repeat([]byte{0xff}, 16)
	if page.After != (automations.ID{}) {
		end = page.After[:]
	}
	return func() ([]byte, []byte) {
		if started {
			return within(c.Prev())
		}
		started = true
		return within(before(c, tuple(prefix, end)))
	}
}

// before moves c to the last row whose key is less than the given one.
func before(c *bolt.Cursor, key []byte) ([]byte, []byte) {
	if k, _ := c.Seek(key); k == nil {
		k, v := c.Last()
		return k, v
	}
	return c.Prev()
}
