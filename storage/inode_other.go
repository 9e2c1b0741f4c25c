//go:build !unix

package storage

import "io/fs"

func inodeOf(fs.FileInfo) (uint64, bool) { return 0, false }
