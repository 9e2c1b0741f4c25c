package storage

import (
	"bytes"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"
)

var writeFixture = flag.Bool("write-fixture", false, "write the fixture of the present layout anew, as long as no release has it")

func fixture(layout int) string { return fmt.Sprintf("testdata/layout-%d.db.gz", layout) }

// Every layout that was released has a file in testdata with rows in every
// bucket, and this program opens it, finds it whole and goes on with it. A
// layout that no release has yet may change: then write its file anew with
//
//	go test ./storage -run TestFixtures -write-fixture
func TestFixtures(t *testing.T) {
	if *writeFixture {
		makeFixture(t)
	}
	for layout := 1; layout <= SchemaVersion; layout++ {
		path := filepath.Join(t.TempDir(), "x.db")
		packed, err := os.Open(fixture(layout))
		if err != nil {
			t.Fatal(err)
		}
		defer packed.Close()
		unpacked, err := gzip.NewReader(packed)
		if err != nil {
			t.Fatal(err)
		}
		whole, err := io.ReadAll(unpacked)
		if err = errors.Join(err, os.WriteFile(path, whole, 0o600)); err != nil {
			t.Fatal(err)
		}
		db, err := Open(path)
		if err != nil {
			t.Fatalf("layout %d: %v; if no release has this layout, write its file anew as the comment says", layout, err)
		}
		if m := db.Migrated(); (m != nil) != (layout < SchemaVersion) {
			t.Errorf("layout %d: %+v", layout, m)
		}
		db.must(t, func(tx *Tx) error {
			if faults, rows := tx.Faults(nil); len(faults) > 0 || rows < int(bucketCount) {
				t.Errorf("layout %d: %d rows, %v; if no release has this layout, write its file anew as the comment says", layout, rows, faults)
			}
			c, err := tx.ContactByEmail("ada@example.com")
			if err != nil {
				return err
			}
			c.FirstName = "Ada"
			return tx.UpdateContact(c)
		})
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}

func makeFixture(t *testing.T) {
	db, err := OpenWith(filepath.Join(t.TempDir(), "x.db"), Options{Program: "fixture"})
	if err != nil {
		t.Fatal(err)
	}
	seed(t, db)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Compact(db.path, nil); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(db.path)
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err = w.Write(whole)
	if err = errors.Join(err, w.Close(), os.WriteFile(fixture(SchemaVersion), packed.Bytes(), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// older is a file of a made-up layout 0: contacts have no bucket for their
// addresses.
func older(t *testing.T) (path string) {
	db := openAt(t, filepath.Join(t.TempDir(), "x.db"))
	seed(t, db)
	path = db.path
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	err := changeFile(path, func(tx *Tx) error {
		return errors.Join(tx.bolt.DeleteBucket([]byte(contactEmailsBucket.String())), tx.putLayout(0, "0.9.0"))
	})
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// addressBucket leads from layout 0 to 1.
func addressBucket(tx *Tx) error {
	if _, err := tx.bolt.CreateBucket([]byte(contactEmailsBucket.String())); err != nil {
		return err
	}
	_, left, err := tx.Repair()
	for _, f := range left {
		err = errors.Join(err, f)
	}
	return err
}

// A file of an older layout is copied, the copy verified, and the file brought
// to today's; what was in it is there.
func TestMigration(t *testing.T) {
	path := older(t)
	db, err := openKnowing(layouts{1, []migration{{1, addressBucket}}}, path, Options{Program: "1.0.0"})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	m := db.Migrated()
	if m == nil || m.From != 0 || m.To != 1 || !strings.HasPrefix(m.Copy, path+".layout-0-") {
		t.Fatalf("%+v", m)
	}
	db.must(t, func(tx *Tx) error {
		if faults, _ := tx.Faults(nil); len(faults) > 0 {
			t.Errorf("%v", faults)
		}
		program, err := tx.get(metaBucket, []byte(programKey))
		if string(program) != "1.0.0" {
			t.Errorf("made by %s", program)
		}
		_, byAddress := tx.ContactByEmail("ada@example.com")
		return errors.Join(err, byAddress)
	})
	if report, err := Verify(m.Copy, nil); err != nil || report.Rows < int(bucketCount) {
		t.Errorf("the copy: %+v %v", report, err)
	}
	if info, err := os.Stat(m.Copy); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the copy: %v %v", info.Mode(), err)
	}
	if layout := layoutOf(t, m.Copy); layout != 0 {
		t.Errorf("the copy has layout %d", layout)
	}
	db.Close()
	again := openAt(t, path)
	if again.Migrated() != nil {
		t.Error("it is brought to the layout twice")
	}
}

func layoutOf(t *testing.T, path string) (layout uint32) {
	t.Helper()
	b, err := bolt.Open(path, 0, &bolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	err = b.View(func(btx *bolt.Tx) (err error) {
		layout, err = (&Tx{bolt: btx}).layout(9)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return layout
}

// A step that fails leaves the file at the layout before it, whole: the next
// attempt goes on from there.
func TestMigrationFails(t *testing.T) {
	path := older(t)
	boom := func(tx *Tx) error {
		return errors.Join(tx.bolt.DeleteBucket([]byte(contactsBucket.String())), errors.New("boom"))
	}
	_, err := openKnowing(layouts{2, []migration{{1, addressBucket}, {2, boom}}}, path, Options{})
	if err == nil || !strings.Contains(err.Error(), "stays at layout 1, and its copy is "+path+".layout-0-") {
		t.Fatalf("%v", err)
	}
	if report, err := Verify(path, nil); err != nil || layoutOf(t, path) != 1 {
		t.Errorf("%+v %v", report, err)
	}
	done := func(tx *Tx) error { return nil }
	db, err := openKnowing(layouts{2, []migration{{1, boom}, {2, done}}}, path, Options{Program: "2.0.0"})
	if err != nil || db.Migrated().From != 1 {
		t.Fatalf("%v", err)
	}
	db.Close()
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "layout 2 and this program knows 1; use opensend 2.0.0 or newer") {
		t.Errorf("%v", err)
	}
}

// Without room for its copy, or with damage in it, a file stays as it is; so
// does one that nothing leads from.
func TestMigrationRefused(t *testing.T) {
	path := older(t)
	steps := layouts{1, []migration{{1, addressBucket}}}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "has layout 0, and this program can no longer read that") {
		t.Errorf("%v", err)
	}
	spoilt := bytes.Replace(whole, []byte(`"name":"go"`), []byte(`"name":"no"`), 1)
	if bytes.Equal(spoilt, whole) {
		t.Fatal("nothing to spoil")
	}
	if err := os.WriteFile(path, spoilt, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openKnowing(steps, path, Options{}); err == nil || !strings.Contains(err.Error(), "must be copied before its layout changes") || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("%v", err)
	}
	if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, spoilt) {
		t.Errorf("a refused file has changed: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*layout*")); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
}
