package storage

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
)

// Layout of bbolt's pages, in the byte order of the machine. A page has a header
// of 16 bytes: its number (8), its kind (2), how many elements it has (2), and how
// many pages follow it that belong to it (4). Elements of a branch are offset and
// size of the key (4, 4) and the child's number (8); those of a leaf are flags,
// offset, and sizes of key and value (4 each). A value flagged as a bucket begins
// with the number of its root page (8) and a sequence (8); the number is zero when
// the bucket is small and its page follows in the value.
const (
	pageHeader   = 16
	element      = 16
	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10
	bucketFlag   = 0x01
	noFreelist   = ^uint64(0)
)

// pageWalk looks at every page of the tree before the file is mapped into
// memory, where following a damaged pointer would kill the process.
type pageWalk struct {
	file     io.ReaderAt
	pageSize int64
	pages    uint64
	seen     map[uint64]bool
}

// checkPages makes sure that every page that the file's root leads to is what it
// must be.
func checkPages(path string) error {
	return walkPages(path, func(w *pageWalk, head boltMeta) error {
		if err := w.freelist(head.freelist); err != nil {
			return err
		}
		return w.tree(head.root)
	})
}

// checkFreelist looks at the list of free pages alone, which is where new ones
// are taken from.
func checkFreelist(path string) error {
	return walkPages(path, func(w *pageWalk, head boltMeta) error { return w.freelist(head.freelist) })
}

// walkPages looks at a file that nobody writes to.
func walkPages(path string, look func(*pageWalk, boltMeta) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	head, ok := newestMeta(f)
	if !ok {
		return fmt.Errorf("its head is damaged")
	}
	return look(&pageWalk{file: f, pageSize: head.pageSize, pages: uint64(head.pages), seen: map[uint64]bool{}}, head)
}

// read reads a page with those that belong to it, once.
func (w *pageWalk) read(id uint64) ([]byte, error) {
	if id < 2 || id >= w.pages {
		return nil, fmt.Errorf("something points at page %d of %d", id, w.pages)
	}
	if w.seen[id] {
		return nil, fmt.Errorf("page %d is pointed at twice", id)
	}
	w.seen[id] = true
	head := make([]byte, pageHeader)
	if _, err := w.file.ReadAt(head, int64(id)*w.pageSize); err != nil {
		return nil, fmt.Errorf("page %d cannot be read: %w", id, err)
	}
	ne := binary.NativeEndian
	more := uint64(ne.Uint32(head[12:]))
	if ne.Uint64(head) != id || more >= w.pages-id {
		return nil, fmt.Errorf("page %d is damaged", id)
	}
	page := make([]byte, int64(more+1)*w.pageSize)
	_, err := w.file.ReadAt(page, int64(id)*w.pageSize)
	if err != nil {
		return nil, fmt.Errorf("page %d cannot be read: %w", id, err)
	}
	return page, nil
}

func (w *pageWalk) tree(id uint64) error {
	page, err := w.read(id)
	if err != nil {
		return err
	}
	return w.content(id, page)
}

// content looks at a page of the tree, or at one inside a value of page id.
func (w *pageWalk) content(id uint64, page []byte) error {
	ne := binary.NativeEndian
	kind, count := ne.Uint16(page[8:]), int(ne.Uint16(page[10:]))
	if kind != branchPage && kind != leafPage || kind == branchPage && count == 0 || pageHeader+count*element > len(page) {
		return fmt.Errorf("page %d is damaged", id)
	}
	for i := range count {
		at := pageHeader + i*element
		e := page[at : at+element]
		if kind == branchPage {
			if uint64(at)+uint64(ne.Uint32(e))+uint64(ne.Uint32(e[4:])) > uint64(len(page)) {
				return fmt.Errorf("page %d is damaged", id)
			}
			if err := w.tree(ne.Uint64(e[8:])); err != nil {
				return err
			}
			continue
		}
		key := uint64(at) + uint64(ne.Uint32(e[4:]))
		value := key + uint64(ne.Uint32(e[8:]))
		end := value + uint64(ne.Uint32(e[12:]))
		if flags := ne.Uint32(e); end > uint64(len(page)) || flags > bucketFlag {
			return fmt.Errorf("page %d is damaged", id)
		} else if flags == bucketFlag {
			if err := w.bucket(id, page[value:end]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *pageWalk) bucket(id uint64, value []byte) error {
	if len(value) < 16 {
		return fmt.Errorf("page %d has a damaged bucket", id)
	}
	if root := binary.NativeEndian.Uint64(value); root != 0 {
		return w.tree(root)
	}
	if len(value) < 16+pageHeader {
		return fmt.Errorf("page %d has a damaged bucket", id)
	}
	return w.content(id, value[16:])
}

// freelist looks at the list of free pages: a count, in the first entry when it
// does not fit into the header, and their numbers. A file may be without one.
func (w *pageWalk) freelist(id uint64) error {
	if id == noFreelist {
		return nil
	}
	page, err := w.read(id)
	if err != nil {
		return err
	}
	ne := binary.NativeEndian
	if ne.Uint16(page[8:]) != freelistPage {
		return fmt.Errorf("page %d is not the list of free pages", id)
	}
	count, list := uint64(ne.Uint16(page[10:])), page[pageHeader:]
	if count == 0xFFFF {
		count, list = ne.Uint64(list), list[8:]
	}
	if count > uint64(len(list)/8) {
		return fmt.Errorf("the list of free pages is damaged")
	}
	for i := range count {
		if free := ne.Uint64(list[i*8:]); free < 2 || free >= w.pages {
			return fmt.Errorf("the list of free pages names page %d of %d", free, w.pages)
		}
	}
	return nil
}
