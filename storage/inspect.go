package storage

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// Layout of a bbolt meta page, in the byte order of the machine: a page header
// of 16 bytes, then magic, version, page size and flags of 4 bytes each, and 8
// bytes each for root, sequence, free list, number of pages, transaction and
// the FNV-64a sum over all of it.
const (
	metaOffset   = 16
	metaSize     = 64
	boltMagic    = 0xED0CDAED
	smallestPage = 1024
	largestPage  = 64 << 10
)

// UnfitError says why a file cannot be a data file.
type UnfitError struct {
	Path string
	Why  string // such as "is empty"
	Mend string // what to do when it is the data file
	Pick string // what to do when it is a backup; empty for using another
}

func (e *UnfitError) Error() string { return e.Path + " " + e.Why + "; " + e.Mend }

func isUnfit(err error) bool {
	_, unfit := errors.AsType[*UnfitError](err)
	return unfit
}

const (
	nameAnother = "name another file as data, or restore a backup over it"
	restoreOver = "restore a backup over it"
)

// asBackup words an error about a backup at a path, which may have been looked
// at under another name.
func asBackup(err error, path string) error {
	if damage, ok := errors.AsType[*DamageError](err); ok {
		damage.Path = path
	}
	if unfit, ok := errors.AsType[*UnfitError](err); ok {
		unfit.Path, unfit.Mend = path, cmp.Or(unfit.Pick, "use another backup")
	}
	return err
}

// inspect looks at the file before it is mapped into memory, where reading
// past its end would kill the process: a file that is empty, something else,
// or shorter than its own page count is refused with words instead.
func inspect(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return &UnfitError{path, "is a folder", "data must name a file", "name a backup in it"}
	case !info.Mode().IsRegular():
		return &UnfitError{path, "is not an ordinary file", "name another file as data", ""}
	case info.Size() == 0:
		return &UnfitError{path, "is empty", "restore a backup over it, or delete it to start anew", ""}
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrPermission) {
		return &UnfitError{path, "cannot be read", "give this user read and write permission", "give this user read permission"}
	}
	if err != nil {
		return err
	}
	defer f.Close()
	head, ok := newestMeta(f)
	if !ok && isGzip(f) {
		return &UnfitError{path, "is compressed", nameAnother, "unpack it with gunzip, and restore what that makes"}
	}
	if !ok {
		return &UnfitError{path, "is not an opensend data file, or its head is damaged", nameAnother, ""}
	}
	if want := head.pages * head.pageSize; info.Size() < want {
		return &UnfitError{path, fmt.Sprintf("is cut short: it has %d of at least %d bytes", info.Size(), want), restoreOver, ""}
	}
	return nil
}

// guarded turns a panic over a damaged page into words.
func guarded(path string, look func() error) (err error) {
	defer func() {
		if caught := recover(); caught != nil {
			err = &UnfitError{path, fmt.Sprintf("is damaged: %v", caught), restoreOver, ""}
		}
	}()
	return look()
}

// isGzip tells a backup that was compressed, as the help of backup shows it.
func isGzip(f io.ReaderAt) bool {
	magic := make([]byte, 2)
	_, err := f.ReadAt(magic, 0)
	return err == nil && string(magic) == "\x1f\x8b"
}

// boltMeta is what a meta page tells.
type boltMeta struct {
	pages, pageSize int64
	root, freelist  uint64 // page numbers
	txid            uint64
}

// newestMeta reads the newer valid meta page; false when there is none. The
// second meta page follows the first, at an offset that depends on a page size
// which the first may no longer tell.
func newestMeta(f io.ReaderAt) (newest boltMeta, found bool) {
	look := func(at int64) {
		buf := make([]byte, metaSize)
		if _, err := f.ReadAt(buf, at+metaOffset); err != nil {
			return
		}
		sum := fnv.New64a()
		sum.Write(buf[:metaSize-8])
		ne := binary.NativeEndian
		if ne.Uint32(buf) != boltMagic || ne.Uint64(buf[metaSize-8:]) != sum.Sum64() {
			return
		}
		if txid := ne.Uint64(buf[48:]); !found || txid > newest.txid {
			found = true
			newest = boltMeta{
				pages: int64(ne.Uint64(buf[40:])), pageSize: int64(ne.Uint32(buf[8:])),
				root: ne.Uint64(buf[16:]), freelist: ne.Uint64(buf[32:]), txid: txid,
			}
		}
	}
	look(0)
	for size := int64(smallestPage); size <= largestPage; size *= 2 {
		look(size)
	}
	return newest, found
}

// lockHolder finds the process that holds the lock on the file, zero where the
// system does not tell.
func lockHolder(path string) int {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	inode, ok := inodeOf(info)
	if !ok {
		return 0
	}
	locks, err := os.Open("/proc/locks")
	if err != nil {
		return 0
	}
	defer locks.Close()
	suffix := ":" + strconv.FormatUint(inode, 10)
	for lines := bufio.NewScanner(locks); lines.Scan(); {
		// 1: FLOCK ADVISORY WRITE 4242 fe:00:131081 0 EOF
		fields := strings.Fields(lines.Text())
		if len(fields) > 5 && fields[1] == "FLOCK" && strings.HasSuffix(fields[5], suffix) {
			pid, _ := strconv.Atoi(fields[4])
			return pid
		}
	}
	return 0
}
