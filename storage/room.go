package storage

import (
	"log/slog"
	"sync"
	"time"

	"github.com/opensend/opensend/automations"
)

// MinSize is the smallest bound that a file can be given: a new one has half of
// it.
const MinSize = 32 << 20

const (
	// diskReserve is what is left on the disk when nothing new is taken in any
	// more: room for sending, for erasing and for deleting what is old, so that
	// a full server can help itself.
	diskReserve = 32 << 20
	// roomLife is how long what was found out about the room counts.
	roomLife = 100 * time.Millisecond
	// roomWait is when a caller who was refused should try again.
	roomWait = 5 * time.Second
)

// Options are what OpenWith can be told.
type Options struct {
	// MaxSize bounds the file, in bytes; at least MinSize. Zero leaves it to the
	// disk.
	MaxSize int64
	// Program is the version of the program, which a file that it makes or brings
	// to a newer layout carries: older programs name it.
	Program string
	// Log gets what an operator should know; nil discards it.
	Log *slog.Logger
}

// reserve is to a file's bound what diskReserve is to the disk.
func (o Options) reserve() int64 { return min(max(o.MaxSize/16, 2<<20), diskReserve) }

// apply bounds the file. It grows in steps that are small beside its bound.
func (o Options) apply(db *DB) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if db.options = o; o.MaxSize > 0 {
		db.bolt.MaxSize = int(o.MaxSize)
		db.bolt.AllocSize = int(min(o.MaxSize/64, int64(db.bolt.AllocSize)))
	}
}

// Intake is Update for what comes from outside and makes the file grow. While
// the file or its disk is nearly full it is refused at once, with an
// *automations.Error of KindUnavailable; everything else goes on in what is left.
func (db *DB) Intake(fn func(*Tx) error) error {
	if full, err := db.full(); err == nil && full { // after an error Update says what is wrong
		return &automations.Error{
			Kind: automations.KindUnavailable, Code: CodeFull, Wait: roomWait,
			Msg: "the server has no room for anything new; nothing was stored, try again later",
		}
	}
	return db.Update(fn)
}

// room remembers whether there was any.
type room struct {
	mu     sync.Mutex
	looked time.Time
	full   bool
}

// full reports whether there is only the reserve left.
func (db *DB) full() (bool, error) {
	r := &db.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if age := time.Since(r.looked); age >= 0 && age < roomLife {
		return r.full, nil
	}
	usage, err := db.Usage()
	if err != nil {
		return false, err
	}
	limit := db.options.MaxSize
	r.full = limit > 0 && limit-usage.Used() < db.options.reserve()
	if onDisk, known := diskRoom(db.path); known && onDisk+usage.Free < diskReserve {
		r.full = true
	}
	r.looked = time.Now()
	return r.full, nil
}
