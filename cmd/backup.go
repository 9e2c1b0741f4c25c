package cmd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/opensend/opensend/server"
	"github.com/opensend/opensend/storage"
)

func newBackup(a *app) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "backup FILE|-",
		Short: "Copy the data file, while the server runs or when it does not",
		Long: `Write a copy of the data file, as it is at one moment, to FILE, readable by you
alone, or to standard output. The copy is verified before FILE gets its name.

The server goes on meanwhile. For backups at regular times see backup in
config.example.yaml.`,
		Example: "  opensend backup /var/backups/opensend-monday.db\n  opensend backup - | gzip > opensend.db.gz",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[0] == "-" {
				return a.backupToStdout(cmd)
			}
			return a.backup(args[0], force)
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "replace FILE if it exists")
	a.jsonFlag(cmd)
	return cmd
}

// backedUp is what backup prints.
type backedUp struct {
	storage.Backup
	Rows int `json:"rows"`
}

func (a *app) backup(file string, force bool) error {
	cfg, err := a.config()
	if err != nil {
		return err
	}
	err = storage.MayReplace(file, cfg.Data, force)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists already; name another file, or replace it with --force", file)
	}
	if err != nil {
		return err
	}
	made, err := a.copyFile(cfg, filepath.Dir(file), func(tmp string, tell storage.Progress) (*storage.Report, error) {
		return storage.Publish(tmp, file, force, tell)
	}, file)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(made)
	}
	_, err = fmt.Fprintf(a.stdout, "backed up to %s: %s, %d rows, verified\n", file, size(made.Bytes), made.Rows)
	return err
}

func (a *app) backupToStdout(cmd *cobra.Command) error {
	if f, ok := a.stdout.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return usage(cmd, "a data file is nothing for a terminal; name a file, or send the output somewhere")
	}
	cfg, err := a.config()
	if err != nil {
		return err
	}
	made, err := a.copyFile(cfg, filepath.Dir(cfg.Data), func(tmp string, tell storage.Progress) (*storage.Report, error) {
		report, err := storage.VerifyCopy(tmp, tell)
		if err != nil {
			return nil, err
		}
		f, err := os.Open(tmp)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		_, err = io.Copy(a.stdout, f)
		return report, err
	}, "-")
	if err == nil {
		fmt.Fprintf(a.stderr, "backed up: %s, %d rows, verified\n", size(made.Bytes), made.Rows)
	}
	return err
}

// copyFile makes a copy of the data file in dir, hands it to use, which verifies
// it, and has the backup at path remembered, if that can be.
func (a *app) copyFile(cfg Config, dir string, use func(tmp string, tell storage.Progress) (*storage.Report, error), path string) (*backedUp, error) {
	src, err := openSource(cfg)
	if err != nil {
		return nil, err
	}
	defer src.close()
	tell, done := a.progress()
	defer done()
	tmp, at, err := src.copyTo(dir, tell)
	if err != nil {
		return nil, err
	}
	defer os.Remove(tmp)
	report, err := use(tmp, tell)
	if err != nil {
		return nil, err
	}
	if full, err := filepath.Abs(path); err == nil && path != "-" {
		path = full
	}
	made := &backedUp{storage.Backup{At: at, Path: path, Bytes: report.Bytes, Verified: true}, report.Rows}
	if err := src.note(made.Backup); err != nil { // it may have ended meanwhile, or have no room
		fmt.Fprintf(a.stderr, "the copy is whole, but the data file does not remember it: %s\n", err)
	}
	return made, nil
}

// source is where a copy of the data file comes from: the server that holds it,
// or the file.
type source struct {
	client *client // of the server; nil when there is none
	db     *storage.DB
}

func openSource(cfg Config) (*source, error) {
	c, err := serving(cfg)
	if c != nil || err != nil {
		return &source{client: c}, err
	}
	if err := mustExist(cfg); err != nil {
		return nil, err
	}
	db, err := cfg.open()
	return &source{db: db}, err
}

// mustExist keeps a command that makes nothing from making a new data file.
func mustExist(cfg Config) error {
	if _, err := os.Stat(cfg.Data); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no data file %s; run this in the folder of the server, or name its configuration with --config", cfg.Data)
	}
	return nil
}

func (s *source) close() {
	if s.client != nil {
		s.client.close()
	} else {
		s.db.Close()
	}
}

func (s *source) note(b storage.Backup) error {
	if s.client == nil {
		return s.db.Update(func(tx *storage.Tx) error { return tx.NoteBackup(b) })
	}
	var noted storage.Backup
	return s.client.call(http.MethodPost, "/control/backups", map[string]any{"path": b.Path, "at": b.At, "bytes": b.Bytes}, &noted)
}

// copyTo makes a copy in dir. It is not verified.
func (s *source) copyTo(dir string, tell storage.Progress) (tmp string, at time.Time, err error) {
	if s.client == nil {
		return s.db.Spool(dir, tell)
	}
	f, err := storage.NewCopy(dir)
	if err != nil {
		return "", at, err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			os.Remove(f.Name())
		}
	}()
	tell("copying", 0, 0)
	resp, err := s.client.get("/control/copy")
	if err != nil {
		return "", at, err
	}
	defer resp.Body.Close()
	if at, err = time.Parse(time.RFC3339Nano, resp.Header.Get(server.CopiedAt)); err != nil {
		return "", at, err
	}
	count := &countingReader{r: resp.Body, tell: func(n int64) { tell("copying", n, resp.ContentLength) }}
	if _, err := io.Copy(f, count); err != nil {
		return "", at, fmt.Errorf("the copy broke off: %w", err)
	}
	return f.Name(), at, nil
}

type countingReader struct {
	r    io.Reader
	n    int64
	tell func(n int64)
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	c.tell(c.n)
	return n, err
}
