package storage

import "golang.org/x/sys/unix"

// birthOf is when a file was made, in nanoseconds; zero when the file system
// does not say. A copy is born later than its original, and an inode that is
// used again belongs to a later file.
func birthOf(path string) int64 {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_BTIME, &st); err != nil || st.Mask&unix.STATX_BTIME == 0 {
		return 0
	}
	return st.Btime.Sec*1e9 + int64(st.Btime.Nsec)
}
