package metrics

import (
	"strings"
	"sync"
	"testing"
	"time"
)

// A number that is a bound belongs to its bucket, one that is larger than all to
// the last.
func TestHistogram(t *testing.T) {
	h := NewTimes(time.Millisecond, time.Second)
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			for _, d := range []time.Duration{0, time.Millisecond, time.Millisecond + 1, time.Second, time.Minute} {
				h.Observe(int64(d))
			}
		})
	}
	wg.Wait()
	var text Text
	text.Histograms("x_seconds", "Help with \\ and\na line.")
	text.Histogram(h, "family", "a")
	want := `# HELP x_seconds Help with \\ and\na line.
# TYPE x_seconds histogram
x_seconds_bucket{family="a",le="0.001"} 20
x_seconds_bucket{family="a",le="1"} 40
x_seconds_bucket{family="a",le="+Inf"} 50
x_seconds_sum{family="a"} 610.02000001
x_seconds_count{family="a"} 50
`
	if got := string(text.Bytes()); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

func TestSizes(t *testing.T) {
	h := NewSizes(1, 2)
	h.Observe(3)
	var text Text
	text.Histograms("x", "y")
	text.Histogram(h)
	if got := string(text.Bytes()); !strings.HasSuffix(got, "x_bucket{le=\"1\"} 0\nx_bucket{le=\"2\"} 0\nx_bucket{le=\"+Inf\"} 1\nx_sum 3\nx_count 1\n") {
		t.Error(got)
	}
}

func BenchmarkObserve(b *testing.B) {
	h := NewTimes(time.Millisecond, 2*time.Millisecond, 5*time.Millisecond, 10*time.Millisecond, time.Second)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			h.Observe(int64(3 * time.Millisecond))
		}
	})
}
