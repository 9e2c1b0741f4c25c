package cmd

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opensend/opensend/storage"
)

// A copy that is whole is a backup, also when the server ends before it can be
// told: a script that asks for backups need not ask again.
func TestBackupOutlivesServer(t *testing.T) {
	s := startLive(t, "")
	var told strings.Builder
	a := &app{stdout: io.Discard, stderr: &told}
	file := filepath.Join(t.TempDir(), "backup.db")
	made, err := a.copyFile(Config{Data: filepath.Join(s.dir, "opensend.db")}, filepath.Dir(file), func(tmp string, tell storage.Progress) (*storage.Report, error) {
		report, err := storage.Publish(tmp, file, false, tell)
		s.server.Process.Signal(os.Interrupt)
		s.server.Wait()
		return report, err
	}, file)
	if err != nil || !made.Verified || made.Path != file {
		t.Errorf("made %+v, %v", made, err)
	}
	if !strings.Contains(told.String(), "the copy is whole, but the data file does not remember it") {
		t.Errorf("told %q", told.String())
	}
}
