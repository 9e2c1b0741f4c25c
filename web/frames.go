package web

import (
	"crypto/rand"
	"sync"

	"github.com/opensend/opensend/storage"
)

// frames keeps the HTML of previews for the moment until the frame that shows
// it asks for it: a frame needs an address of its own to have a policy of its
// own.
type frames struct {
	mu   sync.Mutex
	kept []frame
}

type frame struct{ token, html string }

// maxFrames is how many are kept, the newest; each has at most 1 MiB.
const maxFrames = 16

// keep keeps HTML and returns what it is asked for with.
func (f *frames) keep(html string) (token string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	token = rand.Text()
	f.kept = append(f.kept, frame{token, html})
	f.kept = f.kept[max(len(f.kept)-maxFrames, 0):]
	return token
}

func (f *frames) find(token string) (html string, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, kept := range f.kept {
		if kept.token == token {
			return kept.html, true
		}
	}
	return "", false
}

// frame shows what was kept.
func (v *visit) frame() (any, error) {
	html, ok := v.d.frames.find(v.PathValue("token"))
	if !ok {
		return nil, storage.ErrNotFound
	}
	return v.framed(html)
}
