package automations

import (
	"encoding/json"
	"fmt"
	"time"
)

const (
	// DefaultDedupWindow is MailDiver's documented default.
	DefaultDedupWindow = 5 * time.Minute
	maxDedupKeys       = 10
)

// ParseDeduplication reads {"enabled", "window" or "window_seconds", "key"};
// null and nothing are nil. Windows are 1 s .. 30 days; the key is a list of
// at most 10 paths.
func ParseDeduplication(raw json.RawMessage) (*Deduplication, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	const code = "deduplication_invalid"
	f, err := ObjectFields(raw)
	if err != nil {
		return nil, Errorf(KindInvalid, code, `deduplication must be an object such as {"window": "5 minutes"}, or null`)
	}
	var p Problems
	f.Unknown(&p, "enabled", "window", "window_seconds", "windowSeconds", "key")
	d := &Deduplication{Enabled: true, WindowSeconds: int64(DefaultDedupWindow / time.Second), Key: f.Strings(&p, "key")}
	if enabled := f.Bool(&p, "enabled"); enabled != nil {
		d.Enabled = *enabled
	}
	if words := f.String(&p, "window"); words != "" {
		window, err := ParseDuration(words)
		if err != nil {
			p.Add(code, "window", "%q is not a window; write it like \"5 minutes\"", shorten(words, 40))
		}
		d.WindowSeconds = int64(window / time.Second)
	}
	if n := f.Int(&p, "window_seconds", "windowSeconds"); n != nil {
		if f.Has("window") && *n != d.WindowSeconds {
			p.Add(code, "window_seconds", "window and window_seconds differ; send one of them")
		}
		d.WindowSeconds = *n
	}
	if d.WindowSeconds < 1 || d.WindowSeconds > int64(MaxWindow/time.Second) {
		p.Add(code, "window", "a window is 1 second to 30 days long")
	}
	if len(d.Key) > maxDedupKeys {
		p.Add(code, "key", "the key may have %d paths", maxDedupKeys)
	}
	for i, path := range d.Key {
		if d.Key[i] = canonicalPath(path); d.Key[i] == "" {
			p.Add(code, fmt.Sprintf("key[%d]", i), `%q is not a path such as "event.order_id"`, shorten(path, 40))
		}
	}
	if err := p.Err(); err != nil {
		return nil, err
	}
	return d, nil
}
