package main

import (
	"os"
	"syscall"
)

// datasync waits until the file's bytes are on disk, as the data file does.
func datasync(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }
