//go:build linux || darwin || freebsd

package storage

import "syscall"

// diskRoom is how many bytes may still be written to the file system of a file;
// false when it does not say.
func diskRoom(path string) (int64, bool) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(path, &s); err != nil {
		return 0, false
	}
	return int64(s.Bavail) * int64(s.Bsize), true
}
