package web

import (
	"fmt"
	"html/template"
	"strings"
	"time"
)

// bar is one slot of a chart.
type bar struct {
	At    time.Time
	Parts []int64 // by series
}

// series is what a chart shows of each slot.
type series struct{ Name, Class string }

// heartbeat draws a row of slots, coloured by what went wrong in them: the
// first series is what went well, the second what failed. It is read aloud as
// its title.
func heartbeat(title string, bars []bar) template.HTML {
	const width, gap, height = 5, 2, 22
	var out strings.Builder
	fmt.Fprintf(&out, `<svg class="heartbeat" viewBox="0 0 %d %d" role="img" aria-label="%s" preserveAspectRatio="none">`, len(bars)*(width+gap)-gap, height, template.HTMLEscapeString(title))
	for i, b := range bars {
		class := "idle"
		switch {
		case b.Parts[1] > 0:
			class = "failed"
		case b.Parts[0] > 0:
			class = "well"
		}
		fmt.Fprintf(&out, `<rect class="%s" x="%d" y="0" width="%d" height="%d" rx="1.5"><title>%s UTC: %s well, %s failed</title></rect>`,
			class, i*(width+gap), width, height, b.At.UTC().Format("Jan 2 15:04"), number(b.Parts[0]), number(b.Parts[1]))
	}
	out.WriteString("</svg>")
	return template.HTML(out.String())
}

// stackedBars draws bars of several series on top of each other, with the
// largest value at the side and times below. The drawing stretches, its words do
// not.
func stackedBars(title string, of []series, bars []bar) template.HTML {
	const width, height = 960.0, 160.0
	var most int64 = 1
	for _, b := range bars {
		most = max(most, total(b.Parts))
	}
	var out, times strings.Builder
	fmt.Fprintf(&out, `<figure class="chart"><div class="most">%s</div><svg viewBox="0 0 %g %g" role="img" aria-label="%s" preserveAspectRatio="none">`,
		number(most), width, height, template.HTMLEscapeString(title))
	step := width / float64(len(bars))
	for i, b := range bars {
		y := height
		for s, n := range b.Parts {
			if n == 0 {
				continue
			}
			h := float64(n) / float64(most) * height
			y -= h
			fmt.Fprintf(&out, `<rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="%.1f"><title>%s UTC: %s %s</title></rect>`,
				of[s].Class, float64(i)*step+1, y, max(step-2, 1), h, b.At.UTC().Format("Jan 2 15:04"), number(n), of[s].Name)
		}
		if i%max(len(bars)/4, 1) == 0 {
			fmt.Fprintf(&times, `<time datetime="%s" data-hour>%s</time>`, b.At.UTC().Format("2006-01-02T15:04:05.000Z"), b.At.UTC().Format("15:04"))
		}
	}
	fmt.Fprintf(&out, `</svg><div class="axis">%s<span>now</span></div><figcaption>`, times.String())
	for _, s := range of {
		fmt.Fprintf(&out, `<span class="key %s">%s</span>`, s.Class, s.Name)
	}
	out.WriteString(`</figcaption></figure>`)
	return template.HTML(out.String())
}

func total(parts []int64) (sum int64) {
	for _, n := range parts {
		sum += n
	}
	return sum
}
