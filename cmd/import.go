package cmd

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/opensend/opensend/storage"
)

// supplier is where things come from: another server, or a file.
type supplier interface {
	// rows are the objects of a kind; errNotOffered when there is no such kind.
	rows(k kind, tell func(n int)) ([]row, error)
	// complete adds to an object what its list did not have.
	complete(k kind, r row) (row, error)
}

var errNotOffered = errors.New("not offered")

const importRules = `

First everything is read and compared with what is here, and the counts are
shown: --dry-run ends there, --yes goes on without asking. What is here, told by
its address, alias, key or name, stays as it is. Of contacts that are here, names,
properties and segments that are missing are filled in, and who has unsubscribed
there, or opted out of a topic, is so here. So it can be run again, and goes on
where it stopped.

Automations come as drafts: enable them when the other side is switched off.
Events, runs, mail, API keys and webhooks do not come along.`

func newImport(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "import",
		Short:   "Bring in contacts, templates and automations from elsewhere",
		Long:    "Bring in contacts, segments, topics, templates, automations and suppressed\naddresses from another server or from a file." + importRules,
		Example: "  opensend import resend --key-file resend-key --dry-run\n  opensend import csv contacts.csv --segment Newsletter",
	}
	cmd.AddCommand(
		newImportAPI(a, "resend", "https://api.resend.com", "Bring in everything from Resend",
			"  opensend import resend --key-file resend-key --dry-run\n  opensend import resend --key-file resend-key --yes"),
		newImportAPI(a, "opensend", "", "Bring in everything from another opensend, or an OpenSend server",
			"  opensend import opensend --url https://mail.example.com --key-file key --dry-run"),
		newImportCSV(a),
		newImportLines(a),
	)
	return cmd
}

// importing is what all of these commands share.
type importing struct {
	app         *app
	dryRun, yes bool
}

func (a *app) importFlags(cmd *cobra.Command) *importing {
	im := &importing{app: a}
	cmd.Flags().BoolVar(&im.dryRun, "dry-run", false, "show what would be brought in, and change nothing")
	cmd.Flags().BoolVar(&im.yes, "yes", false, "do not ask")
	a.jsonFlag(cmd)
	return im
}

func newImportAPI(a *app, use, address, short, example string) *cobra.Command {
	var keyFile string
	cmd := &cobra.Command{
		Use: use, Short: short, Example: example, Args: cobra.NoArgs,
		Long: short + ".\n\nIt is read over the API, with a key that may read everything there: the one in the\n--key-file, - being standard input, or one that is asked for." + importRules,
	}
	im := a.importFlags(cmd)
	cmd.Flags().StringVar(&address, "url", address, "base `URL` of the other side")
	cmd.Flags().StringVar(&keyFile, "key-file", "", "`file` with the API key of the other side")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		base, err := url.Parse(address)
		if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" {
			return usage(cmd, "--url must be a URL such as https://mail.example.com; it is %q", address)
		}
		key, err := a.foreignKey(cmd, keyFile)
		if err != nil {
			return err
		}
		return im.run(cmd, newRemote(strings.TrimSuffix(address, "/"), key))
	}
	return cmd
}

// foreignKey reads the key of the other side.
func (a *app) foreignKey(cmd *cobra.Command, file string) (key string, err error) {
	var raw []byte
	in, isFile := a.stdin.(*os.File)
	switch {
	case file == "-":
		raw, err = io.ReadAll(io.LimitReader(a.stdin, 1<<16))
	case file != "":
		if raw, err = os.ReadFile(file); err != nil {
			return "", fmt.Errorf("the key file %s cannot be read: it must exist and be readable by this user", file)
		}
	case isFile && term.IsTerminal(int(in.Fd())):
		fmt.Fprint(a.stderr, "API key of the other side: ")
		raw, err = term.ReadPassword(int(in.Fd()))
		fmt.Fprintln(a.stderr)
	default:
		return "", usage(cmd, "the other side wants an API key: give a file with it as --key-file")
	}
	if err != nil {
		return "", err
	}
	if key = strings.TrimSpace(string(raw)); key == "" || strings.ContainsAny(key, " \r\n\t") {
		return "", usage(cmd, "there must be one API key in %s, and nothing else", file)
	}
	return key, nil
}

func newImportCSV(a *app) *cobra.Command {
	var segment string
	cmd := &cobra.Command{
		Use:   "csv FILE|-",
		Short: "Bring in contacts from a CSV file",
		Long: `Bring in contacts from a CSV file whose first line names its columns: email, and
first_name, last_name and unsubscribed where there are such. Other columns are
properties of that name, with underscores for spaces, but for id, created_at and
updated_at, which are left out. The file is in UTF-8, its columns kept apart by
commas, semicolons or tabs.` + importRules,
		Example: "  opensend import csv contacts.csv --dry-run\n  opensend import csv contacts.csv --segment Newsletter --yes",
		Args:    cobra.ExactArgs(1),
	}
	im := a.importFlags(cmd)
	cmd.Flags().StringVar(&segment, "segment", "", "put them into the segment of this `name`, which is made if there is none")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return im.file(cmd, args[0], func(r io.Reader) (supplier, error) {
			texts, err := a.declaredTexts()
			if err != nil {
				return nil, err
			}
			return readCSV(r, segment, texts)
		})
	}
	return cmd
}

// declaredTexts are the contact properties that are declared to be texts.
func (a *app) declaredTexts() (map[string]bool, error) {
	texts := map[string]bool{}
	c, err := a.connect(http.MethodPost)
	if err != nil {
		return nil, err
	}
	defer c.close()
	return texts, c.each("/contact-properties", nil, func(raw json.RawMessage) error {
		var p struct{ Key, Type string }
		err := json.Unmarshal(raw, &p)
		texts[p.Key] = p.Type == "string"
		return err
	})
}

func newImportLines(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "opensend-export FILE|-",
		Short:   "Bring in what opensend export has written",
		Long:    "Bring in what opensend export has written." + importRules,
		Example: "  opensend import opensend-export everything.jsonl --dry-run\n  opensend import opensend-export everything.jsonl --yes",
		Args:    cobra.ExactArgs(1),
	}
	im := a.importFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return im.file(cmd, args[0], readLines) }
	return cmd
}

func (im *importing) file(cmd *cobra.Command, path string, read func(io.Reader) (supplier, error)) error {
	in := io.NopCloser(im.app.stdin)
	if path != "-" {
		f, err := os.Open(path)
		if errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("there is no file %s", path)
		}
		if err != nil {
			return err
		}
		in = f
	}
	src, err := read(bufio.NewReaderSize(in, 1<<16))
	in.Close()
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return im.run(cmd, src)
}

// run reads both sides, shows what would be done, and does it.
func (im *importing) run(cmd *cobra.Command, src supplier) error {
	c, err := im.app.connect(http.MethodPost)
	if err != nil {
		return err
	}
	defer c.close()
	tell, done := im.app.progress()
	m := &move{src: src, to: c, ids: map[string]string{}, tell: tell}
	err = m.plan()
	done()
	if err != nil {
		return err
	}
	if !im.app.json {
		if err := m.print(im.app.stdout); err != nil {
			return err
		}
	}
	if m.todo() > 0 && !im.dryRun {
		if err := im.app.confirm(cmd, "Bring these in?", im.yes); err != nil {
			return err
		}
		tell, done = im.app.progress()
		m.tell = tell
		err = m.carry()
		done()
	}
	if im.app.json {
		err = errors.Join(err, im.app.printJSON(m.parts))
	}
	if err != nil {
		return fmt.Errorf("%w; run it again to go on from here", err)
	}
	return m.outcome(im.app, im.dryRun)
}

// move is one import: what comes, what is here, and what becomes of it.
type move struct {
	src   supplier
	to    *client
	ids   map[string]string // from there to here
	tell  storage.Progress
	parts []*part
}

// part is what an import does about one kind.
type part struct {
	Kind     string   `json:"kind"`
	Found    int      `json:"found"`
	New      int      `json:"new"`
	Fill     int      `json:"fill"`  // here, and lacking something
	There    int      `json:"there"` // here, and complete
	Skipped  int      `json:"skipped"`
	Offered  bool     `json:"offered"` // whether the other side has such things
	Done     int      `json:"done"`
	Problems []string `json:"problems"`

	kind  kind
	tasks []task
}

// task is one object to be brought in.
type task struct {
	key  string
	row  row
	have row      // what is here; nil when nothing is
	also []string // ids of others with the same key, which it stands for
}

func (m *move) plan() error {
	for _, k := range kinds() {
		p := &part{Kind: k.plural, Offered: true, Problems: []string{}, kind: k}
		m.parts = append(m.parts, p)
		rows, err := m.src.rows(k, func(n int) { m.tell("reading "+k.plural, int64(n), 0) })
		if errors.Is(err, errNotOffered) {
			p.Offered = false
			continue
		}
		if err != nil {
			return fmt.Errorf("reading %s: %w", k.plural, err)
		}
		if err := m.compare(p, rows); err != nil {
			return err
		}
	}
	if !slices.ContainsFunc(m.parts, func(p *part) bool { return p.Offered }) {
		return errors.New("the other side has none of these lists; check --url")
	}
	return nil
}

// compare finds for each row what is here.
func (m *move) compare(p *part, rows []row) error {
	p.Found = len(rows)
	if len(rows) == 0 {
		return nil
	}
	here := map[string]row{}
	err := m.to.each(p.kind.path, nil, func(raw json.RawMessage) error {
		var r row
		err := json.Unmarshal(raw, &r)
		here[p.kind.key(r)] = r
		return err
	})
	if err != nil {
		return err
	}
	seen := map[string]int{} // the place of its task, plus one
	for _, r := range rows {
		key := p.kind.key(r)
		have := here[key]
		if have != nil {
			m.ids[r.text("id")] = have.text("id")
		}
		switch {
		case key == "": // an address that was erased
			p.Skipped++
			continue
		case seen[key] > 0:
			p.Skipped++
			if n := seen[key] - 1; n < len(p.tasks) && p.tasks[n].key == key {
				p.tasks[n].also = append(p.tasks[n].also, r.text("id"))
			}
			continue
		case have == nil:
			p.New++
		default:
			lacks, err := m.lacks(p.kind, r, have)
			if err != nil {
				return err
			}
			if !lacks {
				p.There++
				seen[key] = len(p.tasks) + 1
				continue
			}
			p.Fill++
		}
		p.tasks = append(p.tasks, task{key: key, row: r, have: have})
		seen[key] = len(p.tasks)
	}
	return nil
}

// lacks tells whether something is missing in what is here.
func (m *move) lacks(k kind, r, have row) (bool, error) {
	switch k.object {
	case "contact":
		patch, segments := filling(r, have, m.ids)
		isNew := func(c topicChoice) bool { return c.Subscription == "opt_out" && m.ids[c.ID] == "" }
		if len(patch)+len(segments) > 0 || slices.ContainsFunc(r.choices(), isNew) {
			return true, nil
		}
		declined, err := m.declined(r, have)
		return len(declined) > 0, err
	case "template": // an import that was cut short
		return r.text("status") == "published" && have.text("status") != "published", nil
	}
	return false, nil
}

// declined are the topics that the contact does not want there and still gets
// here.
func (m *move) declined(r, have row) (choices []topicChoice, err error) {
	for _, c := range r.topics(m.ids) {
		if c.Subscription == "opt_out" {
			choices = append(choices, c)
		}
	}
	if len(choices) == 0 {
		return nil, nil
	}
	err = m.to.each("/contacts/"+url.PathEscape(have.text("id"))+"/topics", nil, func(raw json.RawMessage) error {
		var here topicChoice
		err := json.Unmarshal(raw, &here)
		choices = slices.DeleteFunc(choices, func(c topicChoice) bool { return c == here })
		return err
	})
	return choices, err
}

func (m *move) todo() (n int) {
	for _, p := range m.parts {
		n += len(p.tasks)
	}
	return n
}

func (m *move) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KIND\tFOUND\tNEW\tTO FILL IN\tHERE\tLEFT OUT")
	for _, p := range m.parts {
		if !p.Offered {
			fmt.Fprintf(w, "%s\t-\t-\t-\t-\t-\n", p.Kind)
			continue
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\n", p.Kind, p.Found, p.New, p.Fill, p.There, p.Skipped)
	}
	return w.Flush()
}

// maxRefused is how many refused objects are told one by one.
const maxRefused = 20

// outcome tells how it went.
func (m *move) outcome(a *app, dryRun bool) error {
	done, refused, drafts := 0, 0, 0
	for _, p := range m.parts {
		done += p.Done
		if p.kind.object == "automation" {
			drafts = p.Done
		}
		for _, text := range p.Problems {
			if refused++; refused <= maxRefused {
				fmt.Fprintf(a.stderr, "%s\n", text)
			}
		}
	}
	switch {
	case refused > 0:
		return fmt.Errorf("%d brought in, %d refused; what is in is not brought in twice: mend the others and run it again", done, refused)
	case a.json:
		return nil
	case dryRun || m.todo() == 0:
		_, err := fmt.Fprintf(a.stdout, "nothing is changed; %d to bring in\n", m.todo())
		return err
	}
	if drafts > 0 {
		fmt.Fprintf(a.stderr, "%s came as drafts: enable them when the other side is switched off.\n", plural(drafts, "automation"))
	}
	_, err := fmt.Fprintf(a.stdout, "%d brought in\n", done)
	return err
}

// together is how many contacts of a file are brought in at once: they share
// commits. Of everything else, and from other servers, one follows the other.
const together = 32

// carry brings everything in. An object that is refused is noted, and the others
// go on; any other error ends it.
func (m *move) carry() error {
	for _, p := range m.parts {
		workers := 1
		if _, file := m.src.(fileSource); file && p.kind.object == "contact" {
			workers = together
		}
		if err := m.carryPart(p, workers); err != nil {
			return err
		}
	}
	return nil
}

func (m *move) carryPart(p *part, workers int) (failed error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	next := 0
	take := func() (t task, ok bool) {
		mu.Lock()
		defer mu.Unlock()
		if failed != nil || next == len(p.tasks) {
			return t, false
		}
		next++
		return p.tasks[next-1], true
	}
	settle := func(t task, err error) {
		mu.Lock()
		defer mu.Unlock()
		refused, ok := errors.AsType[*refusedError](err)
		switch {
		case ok && refused.status < 500:
			p.Problems = append(p.Problems, fmt.Sprintf("%s %s: %s", p.kind.object, strings.TrimPrefix(t.key, "alias "), refused.message))
		case err != nil:
			failed = errors.Join(failed, err)
		default:
			p.Done++
			m.tell("bringing in "+p.kind.plural, int64(p.Done), 0)
		}
	}
	for range workers {
		wg.Go(func() {
			for t, ok := take(); ok; t, ok = take() {
				settle(t, m.bring(p.kind, t))
			}
		})
	}
	wg.Wait()
	return failed
}

func (m *move) bring(k kind, t task) error {
	r, err := m.src.complete(k, t.row)
	if err != nil {
		return err
	}
	var made row
	switch {
	case t.have == nil:
		if made, err = m.create(k, r); err != nil {
			return err
		}
		if k.object == "contact" { // nothing refers to it
			return nil
		}
		for _, id := range append(t.also, t.row.text("id")) {
			m.ids[id] = made.text("id")
		}
	case k.object == "contact":
		return m.fill(r, t.have)
	default:
		made = t.have
	}
	if k.object == "template" && r.text("status") == "published" {
		return m.publish(k, r, made.text("id"))
	}
	return nil
}

// create makes the object. Of a template that was edited since it was published
// the published content comes first.
func (m *move) create(k kind, r row) (made row, err error) {
	body := k.body(r, m.ids)
	var published row
	if json.Unmarshal(r["published"], &published) == nil && published != nil {
		published["name"], published["alias"] = r["name"], r["alias"]
		body = k.body(published, m.ids)
	}
	return made, m.to.call(http.MethodPost, k.path, body, &made)
}

func (m *move) publish(k kind, r row, id string) error {
	var out json.RawMessage
	path := k.path + "/" + url.PathEscape(id)
	if err := m.to.call(http.MethodPost, path+"/publish", nil, &out); err != nil || r.null("published") {
		return err
	}
	draft := k.body(r, m.ids)
	delete(draft, "name")
	delete(draft, "alias")
	return m.to.call(http.MethodPatch, path, draft, &out)
}

func (m *move) fill(r, have row) error {
	patch, segments := filling(r, have, m.ids)
	path := "/contacts/" + url.PathEscape(have.text("id"))
	var out json.RawMessage
	if len(patch) > 0 {
		if err := m.to.call(http.MethodPatch, path, patch, &out); err != nil {
			return err
		}
	}
	declined, err := m.declined(r, have)
	if err != nil {
		return err
	}
	if len(declined) > 0 {
		if err := m.to.call(http.MethodPatch, path+"/topics", declined, &out); err != nil {
			return err
		}
	}
	for _, id := range mapped(segments, m.ids) {
		if err := m.to.call(http.MethodPost, path+"/segments/"+id, nil, &out); err != nil {
			return err
		}
	}
	return nil
}
