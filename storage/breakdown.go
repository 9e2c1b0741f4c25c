package storage

import bolt "go.etcd.io/bbolt"

// Breakdown is what takes up room in the file.
type Breakdown struct {
	Path      string        `json:"path"`
	Bytes     int64         `json:"bytes"` // size of the file
	PageSize  int           `json:"page_size"`
	FreePages int           `json:"free_pages"` // to be used again before the file grows; compaction gives them back
	FreeBytes int64         `json:"free_bytes"`
	Buckets   []BucketUsage `json:"buckets"` // in the order of the layout
}

// BucketUsage is what one bucket takes up.
type BucketUsage struct {
	Name  string `json:"name"`
	Rows  int    `json:"rows"`
	Bytes int64  `json:"bytes"` // of its pages, what is unused in them included
}

// Breakdown measures the file, bucket by bucket. It walks over all of its pages, one bucket in a transaction, so
// that no transaction stays open for long.
func (db *DB) Breakdown() (*Breakdown, error) {
	stats := db.bolt.Stats()
	u := &Breakdown{Path: db.path, PageSize: db.pageSize, FreePages: stats.FreePageN + stats.PendingPageN}
	u.FreeBytes = int64(u.FreePages) * int64(u.PageSize)
	for _, name := range bucketNames {
		err := db.bolt.View(func(btx *bolt.Tx) error {
			u.Bytes = btx.Size()
			s := btx.Bucket([]byte(name)).Stats()
			rows := s.KeyN
			if s.BucketN > 1 { // slots of time are no rows
				rows -= s.BucketN - 1
			}
			bytes := s.BranchAlloc + s.LeafAlloc
			if bytes == 0 { // small enough to lie in the page above
				bytes = s.InlineBucketInuse
			}
			u.Buckets = append(u.Buckets, BucketUsage{name, rows, int64(bytes)})
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if size, err := sizeOf(db.path); err == nil {
		u.Bytes = size
	}
	return u, nil
}
