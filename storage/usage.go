package storage

import bolt "go.etcd.io/bbolt"

// Usage says how much of the file is in use.
type Usage struct {
	File int64 // bytes up to the last page ever used; the file may be longer
	Free int64 // of them, those in pages that wait to be used again
}

// Used is the bytes in pages that hold something.
func (u Usage) Used() int64 { return u.File - u.Free }

// Usage tells how much of the file is in use. It costs the same whatever the
// file's size.
func (db *DB) Usage() (u Usage, err error) {
	stats := db.bolt.Stats()
	u.Free = int64(stats.FreePageN+stats.PendingPageN) * int64(db.pageSize)
	err = db.bolt.View(func(tx *bolt.Tx) error {
		u.File = tx.Size()
		return nil
	})
	return u, err
}
