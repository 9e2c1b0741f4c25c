package server

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// controls is what the control socket answers beside the API: commands that
// take care of the data file while it is served.
func controls() []route {
	const get, post = http.MethodGet, http.MethodPost
	return []route{
		{get, "/control/status", plainDoor, accessFull, (*Server).controlStatus},
		{get, "/control/storage", plainDoor, accessFull, (*Server).controlStorage},
		{get, "/control/copy", plainDoor, accessFull, (*Server).controlCopy},
		{post, "/control/backups", plainDoor, accessFull, (*Server).controlNoteBackup},
		{get, "/control/users", plainDoor, accessFull, (*Server).controlUsers},
		{post, "/control/users", plainDoor, accessFull, (*Server).controlInvite},
		{http.MethodDelete, "/control/users/{name}", plainDoor, accessFull, (*Server).controlRemoveUser},
		{post, "/control/resume", plainDoor, accessFull, (*Server).controlResume},
	}
}

// Status is what a command wants to know of the server or the file.
type Status struct {
	PID     int              `json:"pid"`
	Epoch   automations.ID   `json:"epoch"`
	Held    *storage.Held    `json:"held"` // null when nothing is held
	Overdue *storage.Overdue `json:"overdue"`
	Backup  storage.Backup   `json:"backup"` // the last one
}

func (s *Server) controlStatus(*request) (answer, error) {
	status := Status{PID: os.Getpid(), Held: s.engine.Held()}
	err := s.db.View(func(tx *storage.Tx) (err error) {
		if status.Epoch, err = tx.Epoch(); err == nil {
			status.Backup, err = tx.LastBackup()
		}
		return err
	})
	if err != nil {
		return answer{}, err
	}
	if status.Overdue, err = s.engine.Overdue(); err != nil {
		return answer{}, err
	}
	return ok(status)
}

func (s *Server) controlStorage(*request) (answer, error) {
	breakdown, err := s.db.Breakdown()
	if err != nil {
		return answer{}, err
	}
	return ok(breakdown)
}

// CopiedAt is the header of a copy with the moment that it shows.
const CopiedAt = "Opensend-Copied-At"

// controlCopy sends a copy of the data file, unverified. It is written to a
// file first, so that a slow reader holds up nobody.
func (s *Server) controlCopy(*request) (answer, error) {
	tmp, at, err := s.db.Spool(filepath.Dir(s.db.Path()), nil)
	if err != nil {
		return answer{}, automations.Errorf(automations.KindUnavailable, "copy_failed", "the data file could not be copied: %s", err)
	}
	f, err := os.Open(tmp)
	os.Remove(tmp) // the open file stays until it is closed, where the system allows
	if err != nil {
		return answer{}, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return answer{}, err
	}
	return answer{
		status: http.StatusOK,
		header: map[string]string{
			"Content-Type": "application/octet-stream", "Content-Length": strconv.FormatInt(info.Size(), 10), CopiedAt: at.Format(time.RFC3339Nano),
		},
		stream: func(w io.Writer) error {
			defer os.Remove(tmp)
			defer f.Close()
			_, err := io.Copy(w, f)
			return err
		},
	}, nil
}

// controlNoteBackup remembers a backup that a command has made of a copy.
func (s *Server) controlNoteBackup(r *request) (answer, error) {
	f, err := r.fields()
	if err != nil {
		return answer{}, err
	}
	var p automations.Problems
	b := storage.Backup{Path: f.String(&p, "path"), Verified: true}
	if b.At, err = time.Parse(time.RFC3339Nano, f.String(&p, "at")); err != nil {
		p.Add("", "at", "at must be a time")
	}
	if n := f.Int(&p, "bytes"); n != nil {
		b.Bytes = *n
	}
	if err := p.Err(); err != nil {
		return answer{}, err
	}
	if err := r.update(func(tx *storage.Tx) error { return tx.NoteBackup(b) }); err != nil {
		return answer{}, err
	}
	return ok(b)
}

// controlResume ends that the file is held. Without a decision it does so only
// when nothing fell due.
func (s *Server) controlResume(r *request) (answer, error) {
	f, err := r.fields()
	if err != nil {
		return answer{}, err
	}
	var p automations.Problems
	decision := readWord(f, &p, []string{"send", "drop"}, "overdue")
	if err := p.Err(); err != nil {
		return answer{}, err
	}
	if decision == "" && s.engine.Held() != nil {
		overdue, err := s.engine.Overdue()
		if err != nil {
			return answer{}, err
		}
		if !overdue.None() {
			return answer{}, automations.Errorf(automations.KindConflict, "overdue", "something fell due while the file was away: say what happens to it")
		}
	}
	overdue, err := s.engine.Resume(decision == "drop", r.note)
	if err != nil {
		return answer{}, err
	}
	return ok(overdue)
}
