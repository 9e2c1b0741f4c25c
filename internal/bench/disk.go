package main

import (
	"os"
	"path/filepath"
	"time"
)

// disk measures writes of one page, each synced, at places that exist.
func (b *bench) disk() error {
	f, err := os.Create(filepath.Join(b.dir, "disk"))
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	const pages = 4096
	page := make([]byte, 4096)
	for range pages {
		if _, err := f.Write(page); err != nil {
			return err
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	n := int64(0)
	begin := time.Now()
	for ; time.Since(begin) < pick(b, 5*time.Second, 200*time.Millisecond); n++ {
		if _, err := f.WriteAt(page, n*17%pages*int64(len(page))); err != nil {
			return err
		}
		if err := datasync(f); err != nil {
			return err
		}
	}
	b.head("synced writes/s", "each")
	b.row(int(float64(n)/time.Since(begin).Seconds()), time.Since(begin)/time.Duration(n))
	return b.end()
}
