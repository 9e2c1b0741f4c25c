//go:build unix

package storage

import (
	"io/fs"
	"os"
	"syscall"
)

func inodeOf(info fs.FileInfo) (uint64, bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return uint64(st.Ino), true
}

// ownAs gives a file the owner of another, where this user may: root that puts a
// file in the place of the server's must not shut it out.
func ownAs(path string, other fs.FileInfo) {
	if st, ok := other.Sys().(*syscall.Stat_t); ok {
		os.Chown(path, int(st.Uid), int(st.Gid))
	}
}
