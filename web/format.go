package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"strconv"
	"strings"
	"time"

	"github.com/opensend/opensend/automations"
)

// functions are the helpers of the pages.
var functions = template.FuncMap{
	"time":     timeTag,
	"ago":      agoTag,
	"json":     prettyJSON,
	"none":     func(id automations.ID) bool { return id == automations.ID{} },
	"number":   number[int64],
	"count":    number[int],
	"plural":   plural[int],
	"bytes":    byteSize,
	"words":    func(s any) string { return strings.ReplaceAll(fmt.Sprint(s), "_", " ") },
	"percent":  func(f float64) string { return strconv.FormatFloat(f*100, 'f', 1, 64) + " %" },
	"span":     duration,
	"dict":     dict,
	"join":     func(list []string) string { return strings.Join(list, ", ") },
	"within":   within,
	"inside":   func(path string) bool { return strings.HasPrefix(path, home) },
	"last":     func(all []automations.WebhookAttempt) []automations.WebhookAttempt { return all[max(len(all)-1, 0):] },
	"plural64": plural[int64],
	"add":      func(a, b int) int { return a + b },
	"seconds":  secondsWords,
	"width":    badgeWidth,
	"half":     func(a, b int) int { return (a + b) / 2 },
}

// badgeWidth is how wide a number is drawn, in pixels.
func badgeWidth(n int) int { return 7 * len(number(n)) }

// timeTag is a moment in UTC; app.js shows it in the reader's own zone.
func timeTag(t time.Time) template.HTML {
	if t.IsZero() {
		return "–"
	}
	utc := t.UTC()
	return template.HTML(fmt.Sprintf(`<time datetime="%s" title="%s UTC">%s UTC</time>`,
		utc.Format("2006-01-02T15:04:05.000Z"), utc.Format("2006-01-02 15:04:05.000"), utc.Format("2006-01-02 15:04:05")))
}

// agoTag is a moment as how long ago it was, or how far ahead it is.
func agoTag(t time.Time) template.HTML {
	if t.IsZero() {
		return "–"
	}
	utc, away := t.UTC(), time.Since(t)
	text := duration(away.Abs()) + " ago"
	switch {
	case away.Abs() < time.Second:
		text = "now"
	case away < 0:
		text = "in " + duration(-away)
	}
	return template.HTML(fmt.Sprintf(`<time datetime="%s" title="%s UTC" data-ago>%s</time>`, utc.Format("2006-01-02T15:04:05.000Z"), utc.Format("2006-01-02 15:04:05"), text))
}

// duration is a span of time in its largest unit, or its two largest.
func duration(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

func prettyJSON(raw json.RawMessage) string {
	if len(raw) == 0 {
		return "–"
	}
	var out bytes.Buffer
	if json.Indent(&out, raw, "", "  ") != nil {
		return string(raw)
	}
	return out.String()
}

// number puts commas between thousands.
func number[T int | int64](n T) string {
	digits := strconv.FormatInt(int64(n), 10)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

func byteSize(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	size, units := float64(n), "KMGT"
	i := -1
	for ; size >= unit && i < len(units)-1; i++ {
		size /= unit
	}
	return fmt.Sprintf("%.1f %ciB", size, units[i])
}

// dict makes a map for a part that needs several values.
func dict(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, fmt.Errorf("dict has a key without a value")
	}
	m := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		m[fmt.Sprint(pairs[i])] = pairs[i+1]
	}
	return m, nil
}

// within reports whether a page lies below the place that a link leads to.
func within(path, place string) bool {
	return path == place || place != home && strings.HasPrefix(path, place+"/")
}
