package web

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/engine"
	"github.com/opensend/opensend/storage"
)

// backupsPage is the backups that there are.
type backupsPage struct {
	Dir   string // empty when none is configured
	Files []engine.BackupFile
	Last  storage.Backup
	Data  string // path of the data file
}

func (v *visit) system() (any, error) { return redirect{to: home + "/system/backups"}, nil }

func (v *visit) backups() (any, error) { return v.backupsPage() }

func (v *visit) backupsPage() (page backupsPage, err error) {
	page.Data = v.d.cfg.DB.Path()
	if page.Dir, page.Files, err = v.d.cfg.Engine.Backups(); err != nil {
		return page, err
	}
	return page, v.read(func(tx *storage.Tx) (err error) {
		page.Last, err = tx.LastBackup()
		return err
	})
}

// takeTime lets an answer take longer than others may: the file is read from
// one end to the other.
func (v *visit) takeTime() { http.NewResponseController(v.w).SetWriteDeadline(time.Time{}) }

func (v *visit) makeBackup() (any, error) {
	v.takeTime()
	b, err := v.d.cfg.Engine.BackUp()
	if err == nil {
		return v.doneWithBackup("Backed up to " + filepath.Base(b.Path) + ", and verified.")
	}
	return v.backupRefused(err)
}

// doneWithBackup notes what was done and comes back.
func (v *visit) doneWithBackup(done string) (any, error) {
	err := v.d.cfg.DB.Update(func(tx *storage.Tx) error { return tx.AddChange(v.change()) })
	return redirect{home + "/system/backups", done}, err
}

// backupRefused shows why there is no backup. What the system says of a folder
// is for whoever may sign in here: they look after it.
func (v *visit) backupRefused(cause error) (any, error) {
	v.d.cfg.Log.Error("a backup was asked for and failed", "error", cause)
	page, err := v.backupsPage()
	if problemOf(cause) == nil {
		cause = automations.Errorf(automations.KindConflict, "", "%s", cause)
	}
	return refused{page, cause}, err
}

func (v *visit) verifyBackup() (any, error) {
	path, ok := v.d.cfg.Engine.BackupPath(v.PathValue("name"))
	if !ok {
		return nil, storage.ErrNotFound
	}
	if _, err := os.Stat(path); err != nil {
		return nil, storage.ErrNotFound
	}
	v.takeTime()
	report, err := storage.VerifyBackup(path, nil)
	if err != nil {
		return v.backupRefused(err)
	}
	return redirect{home + "/system/backups", v.PathValue("name") + " is whole: " + number(report.Rows) + " rows in " + byteSize(report.Bytes) + "."}, nil
}

func (v *visit) downloadBackup() (any, error) {
	path, ok := v.d.cfg.Engine.BackupPath(v.PathValue("name"))
	if !ok {
		return nil, storage.ErrNotFound
	}
	return v.sendFile(path, v.PathValue("name"))
}

// downloadCopy sends a copy of the data file as it is now, verified.
func (v *visit) downloadCopy() (any, error) {
	v.takeTime()
	tmp, at, err := v.d.cfg.DB.Spool(filepath.Dir(v.d.cfg.DB.Path()), nil)
	if err != nil {
		return v.backupRefused(err)
	}
	defer os.Remove(tmp)
	if _, err := storage.VerifyCopy(tmp, nil); err != nil {
		return v.backupRefused(err)
	}
	if err := v.d.cfg.DB.Update(func(tx *storage.Tx) error { return tx.AddChange(v.change()) }); err != nil {
		return nil, err
	}
	return v.sendFile(tmp, "opensend-"+at.Format("20060102T150405Z")+".db")
}

// sendFile answers with a file, however long that takes.
func (v *visit) sendFile(path, name string) (any, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, storage.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	v.takeTime()
	h := v.w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Length", strconv.FormatInt(info.Size(), 10))
	h.Set("Content-Disposition", `attachment; filename="`+name+`"`)
	if _, err := io.Copy(v.w, f); err != nil {
		v.d.cfg.Log.Info("a download of a backup broke off", "file", name, "error", err)
	}
	return written{}, nil
}
