package storage

import (
	"os"

	"golang.org/x/sys/unix"
)

// writeBack brings a part of a file to the disk, without what would make it
// durable: that would hold up the commits of the data file each time.
func writeBack(f *os.File, from, size int64) error {
	err := unix.SyncFileRange(int(f.Fd()), from, size, unix.SYNC_FILE_RANGE_WAIT_BEFORE|unix.SYNC_FILE_RANGE_WRITE|unix.SYNC_FILE_RANGE_WAIT_AFTER)
	if err == unix.ENOSYS || err == unix.ESPIPE {
		return f.Sync()
	}
	return err
}
