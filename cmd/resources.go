package cmd

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"
)

// Commands on the API's things have three shapes: a list, one thing shown, and
// an action on one. What follows makes each of a description.

// listing describes a command that lists things, the newest first. Paths have
// a %s for each argument, in all of these.
type listing[T any] struct {
	use            string // "list" when empty
	short, example string
	path           string
	filters        []filter
	columns        []column[T]
	empty          string // what to say when there are none: how to get one
}

// filter is a flag whose value the API filters by.
type filter struct{ flag, parameter, usage string }

type column[T any] struct {
	head string
	cell func(T) string
}

const (
	listPage    = 100 // rows that one request asks for, as many as the API gives
	listDefault = 100
)

func newList[T any](a *app, l listing[T]) *cobra.Command {
	var limit int
	cmd := &cobra.Command{Use: cmp.Or(l.use, "list"), Short: l.short, Example: l.example, Args: arguments(l.path)}
	values := make([]*string, len(l.filters))
	for i, f := range l.filters {
		values[i] = cmd.Flags().String(f.flag, "", f.usage)
	}
	cmd.Flags().IntVar(&limit, "limit", listDefault, "at most `N`; 0 for all")
	a.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if limit < 0 {
			return usage(cmd, "--limit must be a number of rows, or 0 for all")
		}
		query := url.Values{}
		for i, f := range l.filters {
			if *values[i] != "" {
				query.Set(f.parameter, *values[i])
			}
		}
		filtered := len(query) > 0
		rows, more, err := a.list(pathTo(l.path, args), query, limit)
		if err != nil {
			return orList(cmd, err)
		}
		switch {
		case a.json:
			return a.printJSON(rows)
		case len(rows) == 0 && filtered:
			_, err = fmt.Fprintf(a.stdout, "None of these. See all with: %s\n", strings.Join(append([]string{cmd.CommandPath()}, args...), " "))
			return err
		case len(rows) == 0:
			_, err = fmt.Fprintln(a.stdout, l.empty)
			return err
		}
		if err := printTable(a.stdout, rows, l.columns); err != nil {
			return err
		}
		if more {
			fmt.Fprintf(a.stderr, "There are more than these %d; --limit 0 lists all.\n", len(rows))
		}
		return nil
	}
	return cmd
}

// arguments are as many as the path has places for.
func arguments(path string) cobra.PositionalArgs { return cobra.ExactArgs(strings.Count(path, "%s")) }

func pathTo(path string, args []string) string {
	escaped := make([]any, len(args))
	for i, arg := range args {
		escaped[i] = url.PathEscape(arg)
	}
	return fmt.Sprintf(path, escaped...)
}

// list reads up to limit rows, all when it is zero, and tells whether there
// are more.
func (a *app) list(path string, query url.Values, limit int) (rows []json.RawMessage, more bool, err error) {
	c, err := a.connect(http.MethodGet)
	if err != nil {
		return nil, false, err
	}
	defer c.close()
	rows = []json.RawMessage{}
	for {
		size := listPage
		if limit > 0 {
			size = min(size, limit-len(rows))
		}
		query.Set("limit", fmt.Sprint(size))
		page, err := c.page(path, query)
		if err != nil {
			return nil, false, err
		}
		rows = append(rows, page.Data...)
		if page.next == "" || limit > 0 && len(rows) == limit {
			return rows, page.next != "", nil
		}
		query.Set("after", page.next)
	}
}

// page is one page of a list.
type page struct {
	Data    []json.RawMessage `json:"data"`
	HasMore bool              `json:"has_more"`
	Cursor  string            `json:"next_cursor"`
	next    string            // what to go on after; empty at the end
}

func (c *client) page(path string, query url.Values) (p page, err error) {
	if err := c.call(http.MethodGet, path+"?"+query.Encode(), nil, &p); err != nil || !p.HasMore {
		return p, err
	}
	if p.next = p.Cursor; p.next == "" && len(p.Data) > 0 {
		var last struct{ ID string }
		err = json.Unmarshal(p.Data[len(p.Data)-1], &last)
		p.next = last.ID
	}
	return p, err
}

// each reads all rows of a list.
func (c *client) each(path string, query url.Values, do func(json.RawMessage) error) error {
	query = maps.Clone(query)
	if query == nil {
		query = url.Values{}
	}
	query.Set("limit", fmt.Sprint(listPage))
	for {
		page, err := c.page(path, query)
		if err != nil {
			return err
		}
		for _, row := range page.Data {
			if err := do(row); err != nil {
				return err
			}
		}
		if page.next == "" {
			return nil
		}
		query.Set("after", page.next)
	}
}

func printTable[T any](out io.Writer, rows []json.RawMessage, columns []column[T]) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := make([]string, len(columns))
	for i, c := range columns {
		line[i] = c.head
	}
	fmt.Fprintln(w, strings.Join(line, "\t"))
	for _, raw := range rows {
		var row T
		if err := json.Unmarshal(raw, &row); err != nil {
			return err
		}
		for i, c := range columns {
			line[i] = oneLine(c.cell(row))
		}
		fmt.Fprintln(w, strings.Join(line, "\t"))
	}
	return w.Flush()
}

// maxCell is how many characters of a text a line shows.
const maxCell = 60

// oneLine is a text that others wrote, as a line may show it: what could move
// the cursor or the columns is a space.
func oneLine(s string) string { return shortened(strings.Map(printable, s), maxCell) }

func printable(r rune) rune {
	if !unicode.IsPrint(r) {
		return ' '
	}
	return r
}

// visible is printable for texts of several lines.
func visible(r rune) rune {
	switch r {
	case '\n':
		return r
	case '\r':
		return -1
	}
	return printable(r)
}

// showing describes a command that prints one thing.
type showing[T any] struct {
	use, short, long, example string
	path                      string
	print                     func(w io.Writer, thing T) error
}

func newShow[T any](a *app, s showing[T]) *cobra.Command {
	cmd := &cobra.Command{
		Use: s.use, Short: s.short, Long: s.long, Example: s.example, Args: arguments(s.path),
		RunE: func(cmd *cobra.Command, args []string) error {
			var raw json.RawMessage
			if err := a.call(http.MethodGet, pathTo(s.path, args), nil, &raw); err != nil {
				return orList(cmd, err)
			}
			if a.json {
				return a.printJSON(raw)
			}
			var thing T
			if err := json.Unmarshal(raw, &thing); err != nil {
				return err
			}
			return s.print(a.stdout, thing)
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

// action describes a command that does one thing to what its arguments name.
type action struct {
	use, short, long, example string
	method                    string
	path                      string
	done                      string // with %s for the id
	waits                     bool   // a server does the rest
}

func newAction(a *app, act action) *cobra.Command {
	cmd := &cobra.Command{
		Use: act.use, Short: act.short, Long: act.long, Example: act.example, Args: arguments(act.path),
		RunE: func(cmd *cobra.Command, args []string) error {
			return orList(cmd, a.do(act, args, nil))
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

// do makes the request of an action and prints what came of it.
func (a *app) do(act action, args []string, in any) error {
	c, err := a.connect(act.method)
	if err != nil {
		return err
	}
	defer c.close()
	var raw json.RawMessage
	if err := c.call(act.method, pathTo(act.path, args), in, &raw); err != nil {
		return err
	}
	if act.waits && c.offline {
		fmt.Fprintln(a.stderr, noServer)
	}
	if a.json {
		return a.printJSON(raw)
	}
	var thing struct{ ID string }
	if err := json.Unmarshal(raw, &thing); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, act.done+"\n", thing.ID)
	return err
}

const noServer = "No server is running: the rest happens when one does. Start it with: opensend serve"

// orList adds to the error that there is no such thing how to find those that
// there are.
func orList(cmd *cobra.Command, err error) error {
	group := cmd.Parent()
	refused, ok := errors.AsType[*refusedError](err)
	if !ok || refused.status != http.StatusNotFound || !slices.ContainsFunc(group.Commands(), func(c *cobra.Command) bool { return c.Name() == "list" }) {
		return err
	}
	return &exitError{exitFailed, err, group.CommandPath() + " list"}
}

// fields prints names and values below each other; what has no value is left
// out.
func fields(out io.Writer, pairs ...[2]string) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, p := range pairs {
		if p[1] != "" {
			fmt.Fprintf(w, "%s\t%s\n", p[0], strings.Map(printable, p[1]))
		}
	}
	return w.Flush()
}

func orDash(s *string) string {
	if s == nil {
		return "-"
	}
	return *s
}

func orNever(t *time.Time) string {
	if t == nil {
		return "never"
	}
	return t.Format(time.DateTime)
}

// timeText is the time, or empty.
func timeText(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.Format(time.DateTime)
}

func textOf(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// shortened cuts text to at most so many characters.
func shortened(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}
