package cmd

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/opensend/opensend/storage"
)

// progress tells on stderr how far long work has come: one line that changes on
// a terminal, a line for each part of the work elsewhere. done must be called
// before anything else is printed.
func (a *app) progress() (tell storage.Progress, done func()) {
	f, ok := a.stderr.(*os.File)
	if ok && term.IsTerminal(int(f.Fd())) {
		return progressLine(f)
	}
	part := ""
	return func(doing string, _, _ int64) {
		if doing != part {
			part = doing
			fmt.Fprintf(a.stderr, "%s ...\n", doing)
		}
	}, func() {}
}

// clearLine goes to the start of the terminal's line and empties it.
const clearLine = "\r\x1b[K"

func progressLine(w io.Writer) (storage.Progress, func()) {
	var last time.Time
	tell := func(doing string, done, total int64) {
		if time.Since(last) < 100*time.Millisecond {
			return
		}
		last = time.Now()
		switch {
		case total > 0:
			fmt.Fprintf(w, "%s%s %s of %s (%d%%)", clearLine, doing, size(done), size(total), done*100/total)
		case done > 0:
			fmt.Fprintf(w, "%s%s: %d", clearLine, doing, done)
		default:
			fmt.Fprintf(w, "%s%s ...", clearLine, doing)
		}
	}
	return tell, func() { fmt.Fprint(w, clearLine) }
}

// size is a number of bytes for people.
func size(n int64) string {
	for _, unit := range []struct {
		bytes int64
		name  string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= unit.bytes {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(unit.bytes), unit.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}
