package web

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

const (
	liveEvery = time.Second      // a page is told this often at most
	liveBeat  = 20 * time.Second // and hears something at least this often
)

// live tells a page that something was written since it was made, so that it can
// look again. It ends when the browser leaves, and with the server.
func (v *visit) live() (any, error) {
	out := http.NewResponseController(v.w)
	h := v.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	say := func(text string) bool {
		out.SetWriteDeadline(time.Now().Add(liveEvery + liveBeat))
		_, err := fmt.Fprint(v.w, text)
		return err == nil && out.Flush() == nil
	}
	seen, err := strconv.Atoi(v.FormValue("seen"))
	if err != nil {
		seen = v.seen
	}
	for said := say("retry: 2000\n\n"); said; {
		changed := v.d.cfg.DB.Watch()
		if last := v.d.cfg.DB.LastCommit(); last > seen {
			seen, changed = last, closed
		}
		beat := time.NewTimer(liveBeat)
		select {
		case <-v.Context().Done():
			said = false
		case <-v.d.stopping:
			said = false
		case <-changed:
			seen = v.d.cfg.DB.LastCommit()
			said = say("event: change\ndata: 1\n\n")
			pause := time.NewTimer(liveEvery)
			select {
			case <-v.Context().Done():
				said = false
			case <-v.d.stopping:
				said = false
			case <-pause.C:
			}
			pause.Stop()
		case <-beat.C:
			said = say(": still here\n\n")
		}
		beat.Stop()
	}
	return written{}, nil
}

// closed is what has changed already.
var closed = func() <-chan struct{} { c := make(chan struct{}); close(c); return c }()

// Stop ends what pages are being told, so that the server can shut down.
func (d *Dashboard) Stop() { d.stop() }
