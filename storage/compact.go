package storage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"
)

// compactBatch is how many bytes share a transaction while a file is compacted.
const compactBatch = 8 << 20

// Compact rewrites the data file at path without its free pages, so that it is
// as small as it can be and holds no bytes of what was deleted. The new file is
// verified before it takes the place of the old one. It needs room for both. The
// error is an *InUseError when a process has the file open; whatever the error,
// the file is as it was.
func Compact(path string, progress Progress) (before, after int64, err error) {
	path = followed(path)
	if _, err := Verify(path, progress); err != nil {
		return 0, 0, err
	}
	db, err := Open(path)
	if err != nil {
		return 0, 0, err
	}
	defer db.Close()
	f, err := os.CreateTemp(filepath.Dir(path), ".opensend.compact-*")
	if err != nil {
		return 0, 0, NoFile(filepath.Dir(path), err)
	}
	tmp := f.Name()
	defer os.Remove(tmp)
	if err := f.Close(); err != nil {
		return 0, 0, err
	}
	progress.tell("rewriting", 0, 0)
	if err := db.rewriteTo(tmp); err != nil {
		return 0, 0, fmt.Errorf("rewriting the data file: %w", err)
	}
	if _, err := Verify(tmp, progress); err != nil {
		return 0, 0, err
	}
	if before, err = sizeOf(path); err != nil {
		return 0, 0, err
	}
	if after, err = sizeOf(tmp); err != nil {
		return 0, 0, err
	}
	if _, err := swap(tmp, path, "", func() { db.Close() }); err != nil {
		return 0, 0, err
	}
	return before, after, nil
}

func (db *DB) rewriteTo(tmp string) error {
	to, err := openBolt(tmp)
	if err != nil {
		return err
	}
	to.NoSync = true // it is made durable as a whole
	if err := bolt.Compact(to, db.bolt, compactBatch); err != nil {
		return errors.Join(err, to.Close())
	}
	from, err := placeOf(db.path)
	if err != nil {
		return errors.Join(err, to.Close())
	}
	here, err := placeOf(tmp)
	if err != nil {
		return errors.Join(err, to.Close())
	}
	err = to.Update(func(btx *bolt.Tx) error {
		return (&Tx{bolt: btx}).replaced(from, here)
	})
	return errors.Join(err, to.Close(), trim(tmp), syncFile(tmp))
}

// trim cuts off the room that bbolt has made for growth.
func trim(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	head, ok := newestMeta(f)
	if !ok {
		return errors.New("the new file has no head")
	}
	return f.Truncate(head.pages * head.pageSize)
}

func sizeOf(path string) (int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
