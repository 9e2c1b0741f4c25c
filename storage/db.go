package storage

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/google/uuid"
	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

var (
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("the data file is closed")
	// ErrFailed is returned after an error of the file itself; see DB.Failed.
	ErrFailed = errors.New("the data file failed")
)

// InUseError says that another process has the file open.
type InUseError struct {
	Path string
	PID  int // zero when the system does not tell
}

func (e *InUseError) Error() string {
	holder := "another process"
	if e.PID != 0 {
		holder = "process " + strconv.Itoa(e.PID)
	}
	return fmt.Sprintf("%s is in use by %s", e.Path, holder)
}

// DB is an open data file.
type DB struct {
	path          string
	bolt          *bolt.DB
	pageSize      int // bbolt tells it from the mapping, which is not there while the file grows and once it is closed
	secret        []byte
	updates       chan *update
	committerDone chan struct{}
	definitions   atomic.Int64 // these two are Marks
	apiKeys       atomic.Int64
	lastMark      int64           // the committer's own
	listeners     listeners       // who is told what by the last commit; the committer's own
	told          map[string]bool // damaged counts that were logged; the committer's own
	webhookKick   chan struct{}
	rejected      atomic.Int64                  // refused events that are still to be counted
	watched       atomic.Pointer[chan struct{}] // closed at the next commit; nil when nobody waits for it

	closing sync.RWMutex
	closed  bool

	failing sync.Mutex
	failure error
	failed  chan struct{}

	options  Options
	room     room
	meter    *Meter
	migrated *Migration

	failpoint func(*Tx) error // of tests: called before each write
}

// lockTimeout is how long Open waits for a process that is just leaving.
const lockTimeout = 500 * time.Millisecond

// Open opens the data file, creating it when there is none: complete or not at
// all, readable by the owner alone. It returns an *InUseError when another
// process holds it, and an error that says what to do when the file is
// damaged, newer than the program, or not a data file.
func Open(path string) (*DB, error) { return OpenWith(path, Options{}) }

// OpenWith is Open with options.
func OpenWith(path string, options Options) (*DB, error) { return openKnowing(known(), path, options) }

func openKnowing(l layouts, path string, options Options) (*DB, error) {
	if options.MaxSize != 0 && options.MaxSize < MinSize {
		return nil, fmt.Errorf("a data file cannot be bounded to less than %d bytes", MinSize)
	}
	if err := create(path, options.Program); err != nil {
		return nil, err
	}
	if err := inspect(path); err != nil {
		return nil, err
	}
	b, err := lockBolt(path)
	if err != nil {
		return nil, err
	}
	db := &DB{
		path: path, bolt: b, pageSize: b.Info().PageSize, meter: newMeter(), told: map[string]bool{},
		updates: make(chan *update, maxQueued), committerDone: make(chan struct{}), failed: make(chan struct{}), webhookKick: make(chan struct{}, 1),
	}
	err = guarded(path, func() error {
		if err := checkFreelist(path); err != nil {
			return &UnfitError{path, "is damaged: " + err.Error(), restoreOver, ""}
		}
		if err := db.migrate(l, options.Program); err != nil {
			return err
		}
		return db.View(db.begin)
	})
	if err != nil {
		b.Close()
		return nil, inFile(path, err)
	}
	options.apply(db)
	go db.commitLoop()
	return db, nil
}

// Path is the file's path as given to Open.
func (db *DB) Path() string { return db.path }

// WebhookKick wakes the loop that sends webhook deliveries: a commit that queues
// one leaves a token in it, as may whoever else wants the loop to look.
func (db *DB) WebhookKick() chan struct{} { return db.webhookKick }

// Close waits for the updates under way and closes the file.
func (db *DB) Close() error {
	db.closing.Lock()
	if db.closed {
		db.closing.Unlock()
		return nil
	}
	db.closed = true
	close(db.updates)
	db.closing.Unlock()
	<-db.committerDone
	return db.bolt.Close()
}

// Failed is closed once the file has failed: the process must end and be
// started again.
func (db *DB) Failed() error {
	db.failing.Lock()
	defer db.failing.Unlock()
	return db.failure
}

// Failure is closed when the file fails.
func (db *DB) Failure() <-chan struct{} { return db.failed }

func (db *DB) fail(err error) {
	db.failing.Lock()
	defer db.failing.Unlock()
	if db.failure == nil {
		db.failure = err
		close(db.failed)
	}
}

// begin reads what is needed before the first transaction.
func (db *DB) begin(tx *Tx) error {
	for _, name := range bucketNames {
		if tx.bolt.Bucket([]byte(name)) == nil {
			return &UnfitError{db.path, fmt.Sprintf("is damaged: it has no %q", name), restoreOver, ""}
		}
	}
	secret, err := tx.get(metaBucket, []byte("secret"))
	if errors.Is(err, ErrNotFound) {
		return &UnfitError{db.path, "is damaged: it has no secret", restoreOver, ""}
	}
	db.secret = append([]byte(nil), secret...)
	return err
}

// inFile says which file an error is about that does not say so itself.
func inFile(path string, err error) error {
	if isUnfit(err) {
		return err
	}
	return fmt.Errorf("%s: %w", path, err)
}

// lockBolt is openBolt, with words for what can be wrong.
func lockBolt(path string) (b *bolt.DB, err error) {
	err = guarded(path, func() (err error) {
		b, err = openBolt(path)
		return err
	})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, &InUseError{Path: path, PID: lockHolder(path)}
	case errors.Is(err, fs.ErrPermission):
		return nil, &UnfitError{path, "cannot be written", "give this user read and write permission", ""}
	case errors.Is(err, syscall.EROFS):
		return nil, &UnfitError{path, "cannot be written: its file system is read-only", "look at the system's log for a fault of the disk", ""}
	case err != nil && !isUnfit(err):
		return nil, fmt.Errorf("%s cannot be opened: %w", path, err)
	}
	return b, err
}

func openBolt(path string) (*bolt.DB, error) {
	return bolt.Open(path, 0o600, &bolt.Options{
		Timeout:         lockTimeout,
		FreelistType:    bolt.FreelistMapType,
		InitialMmapSize: initialMmap(),
	})
}

// initialMmap reserves address space, not memory, so that the file can grow to
// it without waiting for readers. On Windows, and where addresses are short,
// it would cost real space.
func initialMmap() int {
	if runtime.GOOS == "windows" || strconv.IntSize < 64 {
		return 0
	}
	return 1 << 30
}

// create makes the file if there is none. It is built under another name and
// linked into place when it is complete and synced, so that a power cut leaves
// either no file or a whole one, and two processes starting at once make one.
func create(path, program string) error {
	dir := filepath.Dir(path)
	if _, err := os.Stat(path); err == nil {
		return syncDir(dir) // who made it may not have come so far
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil // opening it says better what is wrong
	}
	if err := makeDir(dir); err != nil {
		return fmt.Errorf("the folder %s cannot be made: %w", dir, err)
	}
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".new-*")
	if err != nil {
		return fmt.Errorf("%w; or set data to another place", NoFile(dir, err))
	}
	defer os.Remove(tmp.Name())
	tmp.Close()
	if err := initialize(tmp.Name(), program); err != nil {
		return fmt.Errorf("%s cannot be made: %w", path, err)
	}
	err = os.Link(tmp.Name(), path)
	if errors.Is(err, fs.ErrExist) {
		return syncDir(dir)
	}
	if err != nil { // a file system without links
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return err
	}
	return syncDir(dir)
}

func initialize(path, program string) error {
	b, err := openBolt(path)
	if err != nil {
		return err
	}
	defer b.Close()
	err = b.Update(func(btx *bolt.Tx) error {
		for _, name := range bucketNames {
			if _, err := btx.CreateBucket([]byte(name)); err != nil {
				return err
			}
		}
		tx := &Tx{bolt: btx}
		epoch, secret := uuid.Must(uuid.NewV7()), make([]byte, 32)
		rand.Read(secret)
		return errors.Join(
			tx.putLayout(SchemaVersion, program),
			tx.put(metaBucket, []byte("epoch"), epoch[:]),
			tx.put(metaBucket, []byte("secret"), secret),
		)
	})
	if err != nil {
		return err
	}
	return b.Close()
}

// NoFile says why no file could be made in a folder, where err came of trying.
func NoFile(dir string, err error) error {
	why := "give this user write permission"
	switch cause, ok := errors.AsType[syscall.Errno](err); {
	case errors.Is(err, fs.ErrNotExist):
		why = "it must exist and be writable by this user"
	case errors.Is(err, syscall.EROFS):
		why = "its file system is read-only; look at the system's log for a fault of the disk"
	case ok && !errors.Is(err, fs.ErrPermission):
		why = cause.Error()
	}
	return fmt.Errorf("no file can be made in the folder %s: %s", dir, why)
}

// makeDir makes a folder and those above it, and their names durable.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if err := makeDir(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(parent)
}

// syncDir makes a new name in a directory durable. Windows has no such call,
// nor have some file systems, and a directory may be closed to readers.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if errors.Is(err, fs.ErrPermission) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return nil
}
