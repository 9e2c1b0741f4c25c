package storage

import bolt "go.etcd.io/bbolt"

// FailWrites has every write ask first; nil ends that. Nothing may be writing
// meanwhile.
func (db *DB) FailWrites(ask func() error) {
	db.failpoint = func(*Tx) error { return ask() }
	if ask == nil {
		db.failpoint = nil
	}
}

// FailWritesUnseen is FailWrites on a committer that has a fault: it takes an
// update that failed for one that had written nothing.
func (db *DB) FailWritesUnseen(ask func() error) {
	db.failpoint = func(tx *Tx) error {
		err := ask()
		if err != nil {
			tx.writes = 1 // those of the update before it
		}
		return err
	}
}

// Dump is everything that is committed: value by path of buckets and key.
func (db *DB) Dump() (all map[string]string, err error) {
	all = map[string]string{}
	var walk func(path string, b *bolt.Bucket) error
	walk = func(path string, b *bolt.Bucket) error {
		return b.ForEach(func(k, v []byte) error {
			if v == nil {
				return walk(path+"/"+string(k), b.Bucket(k))
			}
			all[path+"/"+string(k)] = string(v)
			return nil
		})
	}
	err = db.bolt.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bolt.Bucket) error { return walk(string(name), b) })
	})
	return all, err
}
