package storage

import (
	"bufio"
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

// inspect looks at the file before it is mapped into memory, where reading
// past its end would kill the process: a file that is empty, something else,
// or shorter than its own page count is refused with words instead.
func inspect(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%s cannot be read: give this user read and write permission", path)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("%s is a folder; data must name a file", path)
	case info.Size() == 0:
		return fmt.Errorf("%s is empty: restore a backup over it, or delete it to start anew", path)
	}
	head, ok := newestMeta(f)
	if !ok {
		return fmt.Errorf("%s is not an opensend data file, or its head is damaged: restore a backup over it", path)
	}
	if want := head.pages * head.pageSize; info.Size() < want {
		return fmt.Errorf("%s is cut short: it has %d of at least %d bytes; restore a backup over it", path, info.Size(), want)
	}
	return nil
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
