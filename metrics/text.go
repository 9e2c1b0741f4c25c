package metrics

import (
	"bytes"
	"math"
	"strconv"
	"strings"
)

// ContentType is the media type of what Text writes.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Kind is what a family of metrics is.
type Kind string

// The kinds of a family.
const (
	Counter   Kind = "counter" // only grows while the process lives
	Gauge     Kind = "gauge"
	histogram Kind = "histogram"
)

// Text gathers families of metrics.
type Text struct {
	buf    bytes.Buffer
	family string
}

// Bytes is what was written so far.
func (t *Text) Bytes() []byte { return t.buf.Bytes() }

var (
	helpText   = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	labelValue = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

// Family begins a family; its name must not have been used before.
func (t *Text) Family(kind Kind, name, help string) {
	t.family = name
	t.buf.WriteString("# HELP " + name + " " + helpText.Replace(help) + "\n# TYPE " + name + " " + string(kind) + "\n")
}

// Sample adds one value to the family; labels are names and values in turn.
func (t *Text) Sample(value float64, labels ...string) { t.line("", value, labels) }

// One is a family of one value without labels.
func (t *Text) One(kind Kind, name, help string, value float64) {
	t.Family(kind, name, help)
	t.Sample(value)
}

// Histograms begins a family of histograms.
func (t *Text) Histograms(name, help string) { t.Family(histogram, name, help) }

// Histogram adds one histogram to the family.
func (t *Text) Histogram(h *Histogram, labels ...string) {
	total := int64(0)
	for i := range h.counts {
		total += h.counts[i].Load()
		bound := math.Inf(1)
		if i < len(h.bounds) {
			bound = float64(h.bounds[i]) / h.unit
		}
		t.line("_bucket", float64(total), append(labels[:len(labels):len(labels)], "le", number(bound)))
	}
	t.line("_sum", float64(h.sum.Load())/h.unit, labels)
	t.line("_count", float64(total), labels)
}

func (t *Text) line(suffix string, value float64, labels []string) {
	t.buf.WriteString(t.family + suffix)
	for i := 0; i+1 < len(labels); i += 2 {
		t.buf.WriteByte("{,"[min(i, 1)])
		t.buf.WriteString(labels[i] + `="` + labelValue.Replace(strings.ToValidUTF8(labels[i+1], "?")) + `"`)
	}
	if len(labels) > 0 {
		t.buf.WriteByte('}')
	}
	t.buf.WriteString(" " + number(value) + "\n")
}

// number is a value as Prometheus reads it.
func number(v float64) string {
	if math.IsInf(v, 1) {
		return "+Inf"
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}
