package storage

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/opensend/opensend/automations"
)

// errRecord is about a record that is whole and still cannot be read, or that has
// JSON in it that is none.
var errRecord = errors.New("the record is not in the form that this program writes")

// coder passes over the fields of a record in their order, and appends them to
// buf or, when it reads, takes them from there. The order stands in one place
// for both. An id is a one and 16 bytes, or a zero; a number is a varint; a time a
// varint of milliseconds since the year 1; whatever else has its length in front.
//
// What is read is copied out of buf.
type coder struct {
	buf     []byte
	reading bool
	broken  bool // it is not a record that this program knows
}

// record passes over the fields of a noun that is stored this way, as those are
// that an event reads and writes, and reports whether v is one. What its key says
// is not stored again.
func (c *coder) record(key []byte, v any) bool {
	switch v := v.(type) {
	case *automations.Contact:
		if c.reading {
			v.ID = automations.ID(key)
		}
		c.contact(v)
	case *automations.Delivery:
		if c.reading {
			v.ID = automations.ID(key)
		}
		c.delivery(v)
	case *automations.Run:
		if c.reading {
			v.WorkflowID, v.ID = automations.ID(key[:16]), automations.ID(key[16:])
		}
		c.run(v)
	default:
		return false
	}
	return true
}

func (c *coder) contact(v *automations.Contact) {
	c.contactHead(v)
	c.time(&v.CreatedAt)
	c.time(&v.UpdatedAt)
	items(c, &v.Segments, c.id)
	whole(c, &v.Properties, len(v.Properties) == 0)
	whole(c, &v.Topics, len(v.Topics) == 0)
}

// contactHead is what lists of contacts are narrowed by.
func (c *coder) contactHead(v *automations.Contact) {
	text(c, &v.Email)
	text(c, &v.FirstName)
	text(c, &v.LastName)
	c.flag(&v.Unsubscribed)
}

func (c *coder) delivery(v *automations.Delivery) {
	text(c, &v.Event)
	c.id(&v.ContactID)
	text(c, &v.Email)
	c.json(&v.Payload)
	c.flag(&v.Test)
	c.time(&v.ReceivedAt)
	c.time(&v.OccurredAt)
	items(c, &v.Verdicts, c.verdict)
}

func (c *coder) verdict(v *automations.Verdict) {
	text(c, &v.Reason)
	c.id(&v.WorkflowID)
	c.id(&v.RunID)
	text(c, &v.StepKey)
	text(c, &v.Trigger)
	c.id(&v.OriginalID)
	number(c, &v.WindowSeconds)
	whole(c, &v.Compared, len(v.Compared) == 0)
}

func (c *coder) run(v *automations.Run) {
	number(c, &v.Revision)
	text(c, &v.Status)
	c.id(&v.TriggerEventID)
	c.id(&v.ContactID)
	c.flag(&v.Test)
	text(c, &v.CurrentStep)
	text(c, &v.FailedStep)
	text(c, &v.FailureReason)
	c.time(&v.WakeAt)
	c.id(&v.EmailID)
	number(c, &v.Transitions)
	number(c, &v.Panics)
	c.time(&v.CreatedAt)
	c.time(&v.StartedAt)
	c.time(&v.CompletedAt)
	c.time(&v.UpdatedAt)
	c.steps(&v.Steps)
}

func (c *coder) steps(steps *map[string]*automations.StepState) {
	var keys []string
	for key := range *steps {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	items(c, &keys, func(key *string) {
		text(c, key)
		if c.reading {
			if *steps == nil {
				*steps = map[string]*automations.StepState{}
			}
			(*steps)[*key] = new(automations.StepState)
		}
		c.step((*steps)[*key])
	})
}

func (c *coder) step(v *automations.StepState) {
	text(c, &v.Status)
	number(c, &v.Visit)
	c.time(&v.StartedAt)
	c.time(&v.CompletedAt)
	c.time(&v.ScheduledFor)
	c.json(&v.Output)
	text(c, &v.Error)
	text(c, &v.Exit)
}

// take takes the next n bytes.
func (c *coder) take(n uint64) []byte {
	if n > uint64(len(c.buf)) {
		c.broken = true
		return nil
	}
	taken := c.buf[:n:n]
	c.buf = c.buf[n:]
	return taken
}

func (c *coder) varint(n int64) int64 {
	if !c.reading {
		c.buf = binary.AppendVarint(c.buf, n)
		return n
	}
	n, size := binary.Varint(c.buf)
	c.take(uint64(max(size, 0)))
	c.broken = c.broken || size <= 0
	return n
}

// sized is a byte slice with its length in front.
func (c *coder) sized(b []byte) []byte {
	if n := c.varint(int64(len(b))); c.reading {
		return c.take(uint64(n))
	}
	c.buf = append(c.buf, b...)
	return b
}

func (c *coder) id(v *automations.ID) {
	if c.reading {
		*v = automations.ID{}
		if first := c.take(1); len(first) == 1 && first[0] != 0 {
			copy(v[:], c.take(16))
		}
		return
	}
	if *v == (automations.ID{}) {
		c.buf = append(c.buf, 0)
		return
	}
	c.buf = append(append(c.buf, 1), v[:]...)
}

func (c *coder) flag(v *bool) {
	n := int64(0)
	if *v {
		n = 1
	}
	*v = c.varint(n) != 0
}

func (c *coder) time(v *time.Time) {
	origin := time.Time{}.UnixMilli()
	if ms := c.varint(v.UnixMilli() - origin); c.reading {
		if *v = (time.Time{}); ms != 0 {
			*v = time.UnixMilli(ms + origin).UTC()
		}
	}
}

// json is JSON as it came; nil when it is empty.
func (c *coder) json(v *json.RawMessage) {
	if raw := c.sized(*v); c.reading {
		*v = nil
		if len(raw) > 0 {
			*v = bytes.Clone(raw)
		}
	}
}

func number[T ~int | ~int64](c *coder, v *T) { *v = T(c.varint(int64(*v))) }

func text[T ~string](c *coder, v *T) {
	if c.reading {
		*v = T(c.sized(nil))
		return
	}
	c.varint(int64(len(*v)))
	c.buf = append(c.buf, *v...)
}

// items is how many there are, and each of them.
func items[T any](c *coder, v *[]T, item func(*T)) {
	n := c.varint(int64(len(*v)))
	if c.reading {
		if n < 0 || n > int64(len(c.buf)) { // an item has a byte at least
			c.broken = true
			return
		}
		if *v = nil; n > 0 {
			*v = make([]T, n)
		}
	}
	for i := range *v {
		if c.broken {
			return
		}
		item(&(*v)[i])
	}
}

// whole is a value stored as JSON, as those are that few records have; nothing
// when it is empty.
func whole[T any](c *coder, v *T, empty bool) {
	var raw []byte
	var err error
	if !c.reading && !empty {
		raw, err = automations.EncodeJSON(v)
	}
	if raw = c.sized(raw); c.reading && len(raw) > 0 {
		err = json.Unmarshal(raw, v)
	}
	c.broken = c.broken || err != nil
}

// decodeRecord reads the body of a record.
func decodeRecord(key, body []byte, v any) error {
	c := &coder{buf: body, reading: true}
	if !c.record(key, v) {
		return json.Unmarshal(body, v)
	}
	if c.broken || len(c.buf) > 0 {
		return errRecord
	}
	return nil
}

// appendRecord appends the body of a record.
func appendRecord(buf, key []byte, v any) ([]byte, error) {
	c := &coder{buf: buf}
	if !c.record(key, v) {
		body, err := automations.EncodeJSON(v)
		return append(buf, body...), err
	}
	if c.broken {
		return nil, errRecord
	}
	return c.buf, nil
}
