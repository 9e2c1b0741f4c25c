package cmd

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/opensend/opensend/storage"
)

// tryPost posts and tells the status, and when to try again.
func (s *liveServer) tryPost(path, body string) (status int, retryAfter string, err error) {
	req, err := http.NewRequest(http.MethodPost, s.base+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+s.key)
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, "", err
	}
	resp.Body.Close()
	return resp.StatusCode, resp.Header.Get("Retry-After"), nil
}

const bigEvent = `{"event":"go","email":"ada@example.com","payload":{"n":"%s"}}`

// The disk of a running server fills up and is freed again. New events are
// refused while it is nearly full, and when not a byte is left; reading and
// sending go on in the reserve; when there is room the server goes on by itself.
func TestDiskFull(t *testing.T) {
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=64m"); err != nil {
		t.Skipf("SKIPPED, not tested here: a full disk needs a file system of its own, which only root can mount: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(disk, syscall.MNT_DETACH) })
	s := startLive(t, "data: "+filepath.Join(disk, "x.db")+"\nmail: {from: Example <hello@example.com>}\n")
	t.Cleanup(func() { // before the disk goes
		s.server.Process.Signal(os.Interrupt)
		s.server.Wait()
	})
	s.post("/automations", mailAutomation, http.StatusCreated)
	event := fmt.Sprintf(bigEvent, strings.Repeat("x", 1000))
	s.post("/events/send", event, http.StatusAccepted)

	ballast := filepath.Join(disk, "ballast")
	fill := func(leave int) {
		t.Helper()
		var fs syscall.Statfs_t
		if err := syscall.Statfs(disk, &fs); err != nil {
			t.Fatal(err)
		}
		grow := int(fs.Bavail)*int(fs.Bsize) - leave
		f, err := os.OpenFile(ballast, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.Write(make([]byte, grow))
		if errors.Is(err, syscall.ENOSPC) {
			err = nil // the server has taken of it meanwhile
		}
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	until := func(what string, want int) {
		t.Helper()
		last, after := 0, ""
		came := eventually(func() bool {
			last, after, _ = s.tryPost("/events/send", event)
			return last == want
		})
		if !came {
			t.Fatalf("%s: %d, want %d", what, last, want)
		}
		if want == http.StatusServiceUnavailable && after == "" {
			t.Errorf("%s: no Retry-After", what)
		}
	}
	fill(20 << 20) // less than the reserve
	until("with the reserve alone", http.StatusServiceUnavailable)
	s.call(http.MethodGet, "/deliveries", "", http.StatusOK)
	s.call(http.MethodDelete, "/contacts/ada@example.com", "", http.StatusOK)
	s.post("/segments", `{"name":"small things go on"}`, http.StatusCreated)

	fill(0)
	until("without a byte", http.StatusServiceUnavailable)
	s.call(http.MethodGet, "/deliveries", "", http.StatusOK)
	for range 100 { // what needs pages that are not there is refused too, and harms nothing
		if status, _, err := s.tryPost("/segments", `{"name":"`+strings.Repeat("x", 50)+`"}`); err != nil || status != http.StatusCreated && status != http.StatusServiceUnavailable {
			t.Fatalf("a segment on a full disk: %d %v", status, err)
		}
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	until("when there is room again", http.StatusAccepted)
	s.server.Process.Signal(os.Interrupt)
	if err := s.server.Wait(); err != nil {
		t.Error(err)
	}
	db, err := storage.Open(filepath.Join(disk, "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.View(func(tx *storage.Tx) error { return tx.Check() }), db.Close()); err != nil {
		t.Error(err)
	}
}

// A file that fails in another way than by being full ends the program with 70:
// nobody can tell what is on disk. Started again it has everything that was
// acknowledged.
func TestFailStop(t *testing.T) {
	s := startLive(t, "")
	const acknowledged = 5
	event := fmt.Sprintf(bigEvent, strings.Repeat("x", 500_000))
	for range acknowledged {
		s.post("/events/send", event, http.StatusAccepted)
	}
	info, err := os.Stat(filepath.Join(s.dir, "opensend.db"))
	if err != nil {
		t.Fatal(err)
	}
	limit := syscall.Rlimit{Cur: uint64(info.Size()), Max: uint64(info.Size())}
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(s.server.Process.Pid), syscall.RLIMIT_FSIZE, uintptr(unsafe.Pointer(&limit)), 0, 0, 0); errno != 0 {
		t.Skipf("SKIPPED, not tested here: the limit of a file cannot be set: %v", errno)
	}
	more := 0
	for ; more < 1000; more++ {
		status, _, err := s.tryPost("/events/send", event)
		if err != nil || status != http.StatusAccepted {
			break
		}
	}
	exit, ok := errors.AsType[*exec.ExitError](s.server.Wait())
	if !ok || exit.ExitCode() != exitStorage {
		t.Errorf("the program ended with %v, want %d", exit, exitStorage)
	}
	s.start()
	listed := strings.Count(string(s.call(http.MethodGet, "/deliveries?limit=100", "", http.StatusOK)), `"object":"event_delivery"`)
	if want := acknowledged + more; listed < want || listed > want+1 {
		t.Errorf("%d events are there, %d were acknowledged", listed, want)
	}
}
