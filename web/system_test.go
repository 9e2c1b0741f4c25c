package web

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/engine"
	"github.com/opensend/opensend/server"
	"github.com/opensend/opensend/storage"
	"github.com/opensend/opensend/storage/storagetest"
)

// backedUpDashboard has a folder for backups.
func backedUpDashboard(t *testing.T, dir string) (*storage.DB, *Dashboard) {
	t.Helper()
	db := storagetest.Open(t)
	e, err := engine.New(engine.Config{DB: db, BaseURL: base, Backup: engine.BackupPlan{Dir: dir, Every: time.Hour, Keep: 2}})
	if err != nil {
		t.Fatal(err)
	}
	api, err := server.New(server.Config{DB: db, Engine: e})
	if err != nil {
		t.Fatal(err)
	}
	d, err := New(Config{
		DB: db, Engine: e, API: api.Control(), BaseURL: base, Settings: []Setting{{"base_url", base, "config.yaml:1"}, {"smtp.password", "(hidden)", "default"}},
		Doctor: func() []Finding { return []Finding{{"clock", "ok", "fine", ""}, {"disk", "fail", script, "make room"}} },
	})
	if err != nil {
		t.Fatal(err)
	}
	return db, d
}

func TestBackups(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "backups")
	_, d := backedUpDashboard(t, dir)
	b := signedIn(t, d)
	post := func(path string) *http.Response { return b.do(http.MethodPost, "/dashboard/system/backups"+path, "") }
	b.want(b.get("/dashboard/system"), 303, "")
	b.want(b.get("/dashboard/system/backups"), 200, "There was none yet")
	b.want(post(""), 303, "")
	body := b.want(b.get("/dashboard/system/backups"), 200, "and verified")
	made, err := filepath.Glob(filepath.Join(dir, "opensend-*.db"))
	if err != nil || len(made) != 1 {
		t.Fatalf("%v %v", made, err)
	}
	name := filepath.Base(made[0])
	if !strings.Contains(body, name) {
		t.Errorf("%s is not listed", name)
	}
	b.want(post("/"+name+"/verify"), 303, "")
	b.want(b.get("/dashboard/system/backups"), 200, "is whole")
	sent := b.get("/dashboard/system/backups/" + name)
	if raw, _ := os.ReadFile(made[0]); read(t, sent) != string(raw) || !strings.Contains(sent.Header.Get("Content-Disposition"), name) {
		t.Errorf("the download differs from the file: %v", sent.Header)
	}
	copied := b.do(http.MethodPost, "/dashboard/system/backups/copy", "")
	path := filepath.Join(t.TempDir(), "copy.db")
	if err := os.WriteFile(path, []byte(read(t, copied)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := storage.Verify(path, nil); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(d.cfg.DB.Path()), ".opensend.backup-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	for _, bad := range []string{"opensend-20200101T000000Z.db", "..%2F..%2Fetc%2Fpasswd", "other.db", "opensend-20200101T000000Z.db%2F.."} {
		b.want(b.get("/dashboard/system/backups/"+bad), 404, "")
		b.want(post("/"+bad+"/verify"), 404, "")
	}
	if err := os.WriteFile(made[0], []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.want(post("/"+name+"/verify"), 422, name)
	b.want(b.get("/dashboard/system/changes"), 200, "/dashboard/system/backups/copy")
}

func TestBackupsWithoutAFolder(t *testing.T) {
	_, d := newDashboard(t)
	b := signedIn(t, d)
	b.want(b.get("/dashboard/system/backups"), 200, "Backups at regular times are not set up")
	b.want(b.do(http.MethodPost, "/dashboard/system/backups", ""), 422, "there is no folder for backups")
	b.want(b.get("/dashboard/system/backups/opensend-20200101T000000Z.db"), 404, "")
	b.want(b.get("/dashboard/system/doctor?look=1"), 200, "opensend doctor")
	b.want(b.get("/dashboard/system/configuration"), 200, "opensend config")
}

func TestSystemPages(t *testing.T) {
	db, d := backedUpDashboard(t, t.TempDir())
	b := signedIn(t, d)
	if body := b.want(b.get("/dashboard/system/storage"), 200, "Measure every bucket"); strings.Contains(body, "webhook_due") {
		t.Error("measured without being asked")
	}
	b.want(b.get("/dashboard/system/storage?measure=1"), 200, "webhook_due")
	b.want(b.get("/dashboard/system/doctor"), 200, "Look now")
	if body := b.want(b.get("/dashboard/system/doctor?look=1"), 200, "1 of 2 looks failed"); strings.Contains(body, script) || !strings.Contains(body, "make room") {
		t.Errorf("the report is\n%s", body)
	}
	if body := b.want(b.get("/dashboard/system/configuration"), 200, "config.yaml:1"); !strings.Contains(body, "(hidden)") {
		t.Error("a key is missing")
	}
	b.want(b.get("/dashboard/system/changes"), 200, "No changes yet")
	for range pageRows {
		if err := db.Update(func(tx *storage.Tx) error {
			return tx.AddChange(&automations.Change{ID: uuid.Must(uuid.NewV7()), At: time.Now(), By: "key " + script, Method: "DELETE", Path: "/contacts/" + script})
		}); err != nil {
			t.Fatal(err)
		}
	}
	newTemplate(t, b, "T")
	body := b.want(b.get("/dashboard/system/changes"), 200, "user Ada")
	if strings.Contains(body, script) || !strings.Contains(body, "POST /templates") || !strings.Contains(body, "Older") {
		t.Errorf("the changes are\n%s", body)
	}
	if body := b.want(b.get("/dashboard/system/changes?by=ADA&what=post"), 200, "user Ada"); strings.Contains(body, "DELETE /contacts") {
		t.Error("the filters keep what they must not")
	}
	b.want(b.get("/dashboard/system/changes?by=nobody"), 200, "No change is like that")
}
