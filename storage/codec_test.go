package storage

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/opensend/opensend/automations"
)

// fill sets everything in a noun to something that is not zero.
func fill(v reflect.Value, n *int64) {
	*n++
	switch x := v.Addr().Interface().(type) {
	case *automations.ID:
		copy(x[:], tuple(time.UnixMilli(*n), *x)[:8])
		return
	case *time.Time:
		*x = time.UnixMilli(1_700_000_000_000 + *n).UTC()
		return
	case *json.RawMessage:
		*x = json.RawMessage(`{"html":"<&>","n":9007199254740993}`)
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("grüße" + string(rune('a'+*n%26)))
	case reflect.Int, reflect.Int64:
		v.SetInt(*n)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(v.Index(i), n)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 2 {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(key, n)
			fill(value, n)
			v.SetMapIndex(key, value)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), n)
		}
	default:
		panic("no value for a " + v.Type().String())
	}
}

func records() []any {
	return []any{new(automations.Contact), new(automations.Delivery), new(automations.Run)}
}

func recordKey(v any) []byte {
	switch v := v.(type) {
	case *automations.Contact:
		return v.ID[:]
	case *automations.Delivery:
		return v.ID[:]
	case *automations.Run:
		return tuple(v.Ref())
	}
	return nil
}

// Every field of a record is stored, and one that says nothing stays so.
func TestRecords(t *testing.T) {
	for _, v := range records() {
		for _, filled := range []bool{false, true} {
			if n := int64(0); filled {
				fill(reflect.ValueOf(v).Elem(), &n)
			}
			body, err := appendRecord(nil, recordKey(v), v)
			if err != nil {
				t.Fatal(err)
			}
			got := reflect.New(reflect.TypeOf(v).Elem()).Interface()
			if err := decodeRecord(recordKey(v), body, got); err != nil {
				t.Errorf("%T: %v", v, err)
			}
			if diff := cmp.Diff(v, got); diff != "" {
				t.Errorf("%T, filled: %v: %s", v, filled, diff)
			}
			for cut := range body {
				if decodeRecord(recordKey(v), body[:cut], got) == nil {
					t.Errorf("%T of %d bytes is read from %d", v, len(body), cut)
				}
			}
		}
	}
}

// Whatever passes its checksum is read or refused, and what is read is stored
// in the same words.
func FuzzRecords(f *testing.F) {
	for i, v := range records() {
		body, _ := appendRecord(nil, recordKey(v), v)
		f.Add(byte(i), body)
		n := int64(0)
		fill(reflect.ValueOf(v).Elem(), &n)
		body, _ = appendRecord(nil, recordKey(v), v)
		f.Add(byte(i), body)
	}
	f.Fuzz(func(t *testing.T, kind byte, body []byte) {
		v := records()[int(kind)%len(records())]
		key := make([]byte, 32)
		if decodeRecord(key, body, v) != nil {
			return
		}
		again, err := appendRecord(nil, key, v)
		if err != nil {
			t.Skip() // not what a writer makes
		}
		w := records()[int(kind)%len(records())]
		if err := decodeRecord(key, again, w); err != nil {
			t.Fatalf("%+v is stored as %x, and that is not read: %v", v, again, err)
		}
		if third, _ := appendRecord(nil, key, w); !bytes.Equal(again, third) {
			t.Errorf("%x and %x say the same", again, third)
		}
	})
}

func BenchmarkRecords(b *testing.B) {
	run := &automations.Run{
		Revision: 1, Status: automations.RunWaiting, CurrentStep: "delay", CreatedAt: time.Now(), UpdatedAt: time.Now(), WakeAt: time.Now(),
		Steps: map[string]*automations.StepState{"trigger": {Status: automations.StepCompleted}, "delay": {Status: automations.StepWaiting}},
	}
	key := recordKey(run)
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := appendRecord(envelope(recordRoom), key, run); err != nil {
				b.Fatal(err)
			}
		}
	})
	body, err := appendRecord(nil, key, run)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := decodeRecord(key, body, new(automations.Run)); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(len(body)), "B")
	})
}
