package engine

import (
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opensend/opensend/storage/storagetest"
)

// An engine whose scheduler stands still while runs are due is not alive, one that
// keeps up is; and to ask costs the file nothing.
func TestAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := storagetest.Open(t)
		e := newEngine(t, Config{DB: db})
		workflow(t, db, sendNow, "", nil)
		if err := e.Alive(); err != nil {
			t.Errorf("with nothing to do: %v", err)
		}
		e.mustAccept(t, event("start", "a@example.com")) // and nobody moves it
		time.Sleep(maxLag - time.Second)
		synctest.Wait()
		if err := e.Alive(); err != nil {
			t.Errorf("late, but not by too much: %v", err)
		}
		time.Sleep(2 * time.Second)
		if err := e.Alive(); err == nil {
			t.Error("a scheduler that stands still is taken for alive")
		}
		e.start(t)
		time.Sleep(idle)
		synctest.Wait()
		before, err := os.ReadFile(db.Path())
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Alive(); err != nil {
			t.Errorf("when it goes on: %v", err)
		}
		if after, err := os.ReadFile(db.Path()); err != nil || string(after) != string(before) {
			t.Errorf("to ask changed the file: %v", err)
		}
	})
}
