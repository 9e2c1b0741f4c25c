package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// bench is what the parts share.
type bench struct {
	binary  string
	dir     string
	quick   bool
	out     *tabwriter.Writer
	servers []*server // all that there were
}

// pick is the first for the whole measurement and the second for a quick one.
func pick[T any](b *bench, whole, quick T) T {
	if b.quick {
		return quick
	}
	return whole
}

// part is one thing to measure.
type part struct {
	name string
	run  func(*bench) error
}

func parts() []part {
	return []part{
		{"disk", (*bench).disk}, {"load", (*bench).load}, {"rate", (*bench).rate},
		{"start", (*bench).start}, {"growth", (*bench).growth}, {"due", (*bench).due},
	}
}

func main() {
	names := flag.String("part", "", "parts to measure, with commas between; all when empty")
	quick := flag.Bool("quick", false, "measure little: to see that it works")
	dir := flag.String("dir", "", "where to put data files; a temporary folder when empty")
	binary := flag.String("binary", "", "the program to measure; built when empty")
	flag.Parse()
	chosen, err := choose(*names, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	b := &bench{quick: *quick, binary: *binary, out: tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)}
	if err := b.measure(*dir, chosen); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// choose finds the parts with the names, all when there are none.
func choose(names string, extra []string) (chosen []part, err error) {
	if len(extra) > 0 {
		return nil, fmt.Errorf("%q means nothing here; name parts with -part", extra[0])
	}
	if names == "" {
		return parts(), nil
	}
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(parts(), func(p part) bool { return p.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no part %q; there are disk, load, rate, start, growth and due", name)
		}
		chosen = append(chosen, parts()[i])
	}
	return chosen, nil
}

func (b *bench) measure(dir string, parts []part) (err error) {
	if b.dir, err = os.MkdirTemp(dir, "opensend-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	defer func() {
		for _, s := range b.servers {
			s.kill() // of those that an error has left running
			s.release()
		}
	}()
	if b.binary == "" {
		if b.binary, err = build(b.dir); err != nil {
			return err
		}
	} else if b.binary, err = filepath.Abs(b.binary); err != nil {
		return err
	}
	fmt.Printf("%s, %d CPUs, %s\n", time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), runtime.Version())
	for _, p := range parts {
		if err := p.run(b); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

// head begins a table, row continues it, and end shows it.
func (b *bench) head(columns ...any) { fmt.Fprintln(b.out); b.row(columns...) }

func (b *bench) row(cells ...any) {
	for _, c := range cells {
		switch c := c.(type) {
		case time.Duration:
			fmt.Fprintf(b.out, "%.2f ms\t", float64(c.Microseconds())/1000)
		case float64:
			fmt.Fprintf(b.out, "%.1f\t", c)
		default:
			fmt.Fprintf(b.out, "%v\t", c)
		}
	}
	fmt.Fprintln(b.out)
}

func (b *bench) end() error { return b.out.Flush() }
