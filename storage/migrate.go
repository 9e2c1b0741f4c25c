package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"
)

// SchemaVersion is the layout this program writes. A file with a higher one is
// refused, one with a lower one is brought to it when it is opened.
const SchemaVersion = 1

// migration leads from the layout before to the layout to. Everything it does,
// and the new number, is one transaction. It may create and delete buckets of
// tx.bolt, and must not use methods that rely on the layout of today.
type migration struct {
	to     uint32
	change func(tx *Tx) error
}

// layouts is what a program knows of layouts: the one that it writes, and the
// way there from older ones, in order and without gaps.
type layouts struct {
	newest uint32
	steps  []migration
}

// known is what this program knows. There has been one layout so far. Who makes
// a second one adds the step that leads to it here, and leaves the fixture of
// the first in testdata as it is: see TestFixtures.
func known() layouts { return layouts{newest: SchemaVersion} }

// path are the steps that bring a file of the layout to the newest.
func (l layouts) path(from uint32) ([]migration, error) {
	for i, step := range l.steps {
		if step.to == from+1 {
			return l.steps[i:], nil
		}
	}
	return nil, fmt.Errorf("the data file has layout %d, and this program can no longer read that: open it with an older opensend first", from)
}

// Migration tells of a file that was brought to a newer layout.
type Migration struct {
	From, To uint32
	Copy     string // the file as it was before
}

// Migrated tells what opening the file did to its layout; nil when nothing had
// to be done.
func (db *DB) Migrated() *Migration { return db.migrated }

const (
	schemaKey  = "schema"
	programKey = "program"
)

// putLayout gives the file its layout, and the program that it needs.
func (tx *Tx) putLayout(layout uint32, program string) error {
	return errors.Join(
		tx.put(metaBucket, []byte(schemaKey), binary.BigEndian.AppendUint32(nil, layout)),
		tx.put(metaBucket, []byte(programKey), []byte(program)),
	)
}

// layout is the file's layout, if a program that knows layouts up to newest can
// read it.
func (tx *Tx) layout(newest uint32) (uint32, error) {
	foreign := &UnfitError{tx.bolt.DB().Path(), "is not an opensend data file", nameAnother, ""}
	if tx.bolt.Bucket([]byte(metaBucket.String())) == nil {
		return 0, foreign
	}
	body, err := tx.get(metaBucket, []byte(schemaKey))
	if errors.Is(err, ErrNotFound) {
		return 0, foreign
	}
	if err != nil {
		return 0, err
	}
	if len(body) != 4 {
		return 0, &CorruptError{Bucket: metaBucket.String(), Key: []byte(schemaKey)}
	}
	layout := binary.BigEndian.Uint32(body)
	if layout <= newest {
		return layout, nil
	}
	needs := "a newer opensend"
	if program, err := tx.get(metaBucket, []byte(programKey)); err == nil && len(program) > 0 {
		needs = "opensend " + string(program) + " or newer"
	}
	use := "use " + needs
	return layout, &UnfitError{tx.bolt.DB().Path(), fmt.Sprintf("has layout %d and this program knows %d", layout, newest), use + ", or restore a backup from before the upgrade", use}
}

// migrate brings the file to the newest layout, once a verified copy of it lies
// beside it. Each step is one transaction: when one fails, the file has the
// layout before it, whole.
func (db *DB) migrate(l layouts, program string) error {
	var from uint32
	err := db.View(func(tx *Tx) (err error) {
		from, err = tx.layout(l.newest)
		return err
	})
	if err != nil || from == l.newest {
		return err
	}
	steps, err := l.path(from)
	if err != nil {
		return err
	}
	kept, err := db.keepCopy(fmt.Sprintf("%s.layout-%d-%s", db.path, from, stamp(time.Now())))
	if err != nil {
		return fmt.Errorf("the file must be copied before its layout changes: %w", err)
	}
	for _, step := range steps {
		err := db.bolt.Update(func(btx *bolt.Tx) error {
			tx := &Tx{bolt: btx, db: db}
			return errors.Join(step.change(tx), tx.flush(), tx.putLayout(step.to, program))
		})
		if err != nil {
			return fmt.Errorf("the file stays at layout %d, and its copy is %s: %w", step.to-1, kept, err)
		}
	}
	db.migrated = &Migration{From: from, To: l.newest, Copy: kept}
	return nil
}

// keepCopy makes a verified copy at path.
func (db *DB) keepCopy(path string) (string, error) {
	tmp, _, err := db.Spool(filepath.Dir(path), nil)
	if err != nil {
		return "", err
	}
	defer os.Remove(tmp)
	_, err = Publish(tmp, path, false, nil)
	return path, err
}

// intact looks at what all layouts have in common: pages, and the checksum of
// each row.
func (tx *Tx) intact() (faults []Fault, rows int) {
	faults = []Fault{}
	for err := range tx.bolt.Check() {
		faults = append(faults, Fault{Text: "structure: " + err.Error()})
	}
	var walk func(name string, b *bolt.Bucket) error
	walk = func(name string, b *bolt.Bucket) error {
		return b.ForEach(func(key, value []byte) error {
			if value == nil {
				return walk(name, b.Bucket(key))
			}
			rows++
			if _, ok := open(key, value); !ok {
				faults = append(faults, Fault{Text: fmt.Sprintf("a record in %s (key %x) fails its checksum", name, key)})
			}
			return nil
		})
	}
	err := tx.bolt.ForEach(func(name []byte, b *bolt.Bucket) error { return walk(string(name), b) })
	if err != nil {
		faults = append(faults, Fault{Text: err.Error()})
	}
	return faults, rows
}
