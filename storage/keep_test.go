package storage

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	bolt "go.etcd.io/bbolt"

	"github.com/opensend/opensend/automations"
)

func openAt(t testing.TB, path string) *DB {
	t.Helper()
	db, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func (db *DB) must(t testing.TB, fn func(*Tx) error) {
	t.Helper()
	if err := db.Update(fn); err != nil {
		t.Fatal(err)
	}
}

func newID() automations.ID { return uuid.Must(uuid.NewV7()) }

// seeded is a file with rows in every bucket.
type seeded struct {
	db                              *DB
	contact, segment, email, hook   automations.ID
	sleeping, waiting, mailing, end *automations.Run
}

const seedSteps = `[{"key":"t","type":"trigger","config":{"event_name":"go"}},
	{"key":"w","type":"wait_for_event","config":{"event_name":"paid","timeout":"3 days"}},
	{"key":"m","type":"send_email","config":{"from":"a@example.com","subject":"Hi","text":"x"}}]`

func seed(t testing.TB, db *DB) *seeded {
	t.Helper()
	now := time.Now().UTC().Truncate(time.Millisecond)
	s := &seeded{db: db, contact: newID(), segment: newID(), email: newID(), hook: newID()}
	definition, err := automations.ParseDefinition(json.RawMessage(seedSteps), nil, "", newID)
	if err != nil {
		t.Fatal(err)
	}
	w := &automations.Workflow{ID: newID(), Name: "w", Status: automations.StatusEnabled, Revision: 1, Trigger: "go", StepCount: 3}
	d := &automations.Delivery{ID: newID(), Event: "go", Email: "ada@example.com", ContactID: s.contact, Payload: json.RawMessage("{}"), ReceivedAt: now}
	run := func(status automations.RunStatus) *automations.Run {
		return &automations.Run{ID: newID(), WorkflowID: w.ID, Revision: 1, Status: status, TriggerEventID: d.ID, ContactID: s.contact, CurrentStep: "w", CreatedAt: now, UpdatedAt: now}
	}
	s.sleeping, s.waiting, s.mailing, s.end = run(automations.RunWaiting), run(automations.RunWaiting), run(automations.RunRunning), run(automations.RunCompleted)
	s.sleeping.WakeAt = now.Add(time.Hour)
	s.waiting.Steps = map[string]*automations.StepState{"w": {Status: automations.StepWaiting}}
	s.mailing.CurrentStep, s.mailing.EmailID = "m", s.email
	user := &automations.User{ID: newID(), Name: "Ada", CreatedAt: now}
	db.must(t, func(tx *Tx) error {
		errs := []error{
			tx.SaveSegment(&automations.Segment{ID: s.segment, Name: "s"}),
			tx.SaveTopic(&automations.Topic{ID: newID(), Name: "t"}),
			tx.SaveContactProperty(&automations.ContactProperty{ID: newID(), Key: "plan"}),
			tx.SaveEventType(&automations.EventType{ID: newID(), Name: "go"}),
			tx.CreateContact(&automations.Contact{ID: s.contact, Email: "ada@example.com", Segments: []automations.ID{s.segment}}),
			tx.SaveWorkflow(w),
			tx.AddRevision(&automations.Revision{WorkflowID: w.ID, Number: 1, Definition: definition}),
			tx.AddDelivery(d),
			tx.InsertEmail(&automations.Email{ID: s.email, Status: automations.EmailQueued, Run: s.mailing.Ref(), StepKey: "m", To: []string{"ada@example.com"}, NextAttemptAt: now}, &automations.EmailContent{Text: "x"}),
			tx.InsertEmail(&automations.Email{ID: newID(), Status: automations.EmailSending, To: []string{"b@example.com"}}, &automations.EmailContent{Text: "x"}),
			tx.CountMail(now),
			tx.SaveTemplate(&automations.Template{ID: newID(), Alias: "welcome"}),
			tx.CreateAPIKey(&automations.APIKey{ID: newID(), Hash: nameHash("token")}),
			tx.AddDedup(nameHash("d"), Dedup{DeliveryID: d.ID, Since: now, Until: now.Add(5 * time.Minute)}),
			tx.AddIdempotentAnswer("door", "key", &IdempotentAnswer{CreatedAt: now}),
			tx.SaveWebhook(&automations.Webhook{ID: s.hook}),
			tx.putRecord(erasuresBucket, idKey(newID()), Erasure{}),
			tx.CreateUser(user),
			tx.AddChange(&automations.Change{ID: newID(), At: now, By: "command"}),
			tx.SaveSession("session", &automations.Session{UserID: user.ID, CreatedAt: now, SeenAt: now}),
			tx.Invite("invitation", &automations.Invitation{UserID: user.ID, CreatedAt: now}),
		}
		_, arrived := tx.AddArrival(s.sleeping.Ref(), d.ID)
		_, _, err := tx.Suppress(&automations.Suppression{ID: newID(), Email: "no@example.com"})
		_, noticed := tx.QueueNotice(s.hook, automations.NoticeType("email.sent"), []byte("{}"), now)
		errs = append(errs, noticed)
		for _, r := range []*automations.Run{s.sleeping, s.waiting, s.mailing, s.end} {
			errs = append(errs, tx.InsertRun(r))
			if !r.Status.Final() {
				errs = append(errs, tx.AddWaits(r, []string{"paid"}))
			}
		}
		return errors.Join(append(errs, err, arrived)...)
	})
	return s
}

func idKey(id automations.ID) []byte { return id[:] }

// Every bucket has a check, and the seed has rows in every one of them.
func TestEveryBucketIsChecked(t *testing.T) {
	for b, check := range checks {
		if check.record == nil && check.owner == nil && check.row == nil && check.slot == nil {
			t.Errorf("%s is not checked", bucket(b))
		}
	}
	db := openAt(t, filepath.Join(t.TempDir(), "x.db"))
	seed(t, db)
	db.View(func(tx *Tx) error {
		for b := range bucketCount {
			if key, _ := tx.bucket(b).Cursor().First(); key == nil {
				t.Errorf("the seed has nothing in %s", b)
			}
		}
		if faults, rows := tx.Faults(nil); len(faults) > 0 || rows < int(bucketCount) {
			t.Errorf("a whole file of %d rows: %v", rows, faults)
		}
		return nil
	})
}

// What does not fit together is found; what follows from records is repaired,
// and nothing else is touched.
func TestFaultsAndRepair(t *testing.T) {
	first := func(tx *Tx, b bucket) []byte {
		key, _ := tx.bucket(b).Cursor().First()
		return key
	}
	drop := func(b bucket) func(*Tx, *seeded) error {
		return func(tx *Tx, _ *seeded) error { return tx.delete(b, first(tx, b)) }
	}
	spoil := func(b bucket) func(*Tx, *seeded) error {
		return func(tx *Tx, _ *seeded) error {
			tx.writes++
			return tx.bucket(b).Put(first(tx, b), []byte("\x01spoiled"))
		}
	}
	run := func(r func(*seeded) *automations.Run, change func(*automations.Run)) func(*Tx, *seeded) error {
		return func(tx *Tx, s *seeded) error {
			return tx.changeRun(r(s).Ref(), func(row *RunRow) error { change(row.Run); return nil })
		}
	}
	mailing := func(s *seeded) *automations.Run { return s.mailing }
	for name, c := range map[string]struct {
		damage func(*Tx, *seeded) error
		text   string
		left   bool // it cannot be repaired
	}{
		"no address":       {drop(contactEmailsBucket), "has no row in contact_emails", false},
		"no member":        {drop(segmentMembersBucket), "has no row in segment_members", false},
		"no property key":  {drop(contactPropertyKeysBucket), "has no row in contact_property_keys", false},
		"no event name":    {drop(eventTypeNamesBucket), "has no row in event_type_names", false},
		"no alias":         {drop(templateAliasesBucket), "has no row in template_aliases", false},
		"no hash":          {drop(suppressionHashesBucket), "has no row in suppression_hashes", false},
		"no key hash":      {drop(apiKeyHashesBucket), "has no row in api_key_hashes", false},
		"no wake":          {drop(wakesBucket), "has no row in wakes", false},
		"no wait":          {drop(waitsBucket), "has no row in waits", false},
		"no outbox":        {drop(outboxBucket), "has no row in outbox", false},
		"no sending":       {drop(sendingBucket), "has no row in sending", false},
		"spoiled address":  {spoil(contactEmailsBucket), "a row of contact_emails (key 000f6164", false},
		"spoiled wake":     {spoil(wakesBucket), "fails its checksum", false},
		"spoiled count":    {spoil(runCountsBucket), "a damaged number of runs", false},
		"spoiled contact":  {spoil(contactsBucket), "a record in contacts", true},
		"spoiled run":      {spoil(runsBucket), "a record in runs", true},
		"spoiled delivery": {spoil(deliveriesBucket), "a record in deliveries", true},
		"no contact":       {drop(contactsBucket), "points at a record that is gone", false},
		"no due":           {drop(webhookDueBucket), "has no row in webhook_due", false},
		"no mail":          {drop(emailsBucket), "which is gone", true},
		"no event":         {drop(deliveriesBucket), "the event that started it is gone", true},
		"no revision":      {drop(revisionsBucket), "its revision 1: not found", true},
		"stray wake":       {func(tx *Tx, s *seeded) error { return tx.put(wakesBucket, tuple(time.Now(), s.waiting.Ref()), nil) }, "does not expect it", false},
		"stray wait":       {func(tx *Tx, s *seeded) error { return tx.AddWaits(s.end, []string{"paid"}) }, "a row of waits", false},
		"stray arrival":    {func(tx *Tx, s *seeded) error { _, err := tx.AddArrival(s.end.Ref(), s.end.TriggerEventID); return err }, "is kept for run", false},
		"wrong count": {func(tx *Tx, s *seeded) error {
			return tx.put(runCountsBucket, tuple(s.end.WorkflowID, "completed"), countBody(7))
		}, "7 runs completed of automation", false},
		"count of none": {func(tx *Tx, s *seeded) error {
			return tx.put(runCountsBucket, tuple(newID(), "completed"), countBody(7))
		}, "and there are none", false},
		"nothing moves it": {run(func(s *seeded) *automations.Run { return s.sleeping }, func(r *automations.Run) { r.WakeAt = time.Time{} }), "nothing will move it", false},
		"wake and mail":    {run(mailing, func(r *automations.Run) { r.WakeAt = time.Now() }), "has a wake and a mail at once", false},
		"over and awake":   {run(mailing, func(r *automations.Run) { r.Status = automations.RunCompleted }), "still expects something", false},
		"never told": {func(tx *Tx, s *seeded) error {
			row, err := tx.Email(s.email)
			row.Status = automations.EmailSent
			return errors.Join(err, tx.SaveEmail(row))
		}, "which is sent", false},
		"two of one address": {func(tx *Tx, _ *seeded) error {
			id := newID()
			return tx.putRecord(contactsBucket, id[:], &automations.Contact{ID: id, Email: "ada@example.com"})
		}, "both claim a row of contact_emails", true},
		"late record": {func(tx *Tx, _ *seeded) error {
			slot, err := tx.bucket(dedupBucket).CreateBucketIfNotExists(slotKey(0, time.Now(), 0))
			key := nameHash("late")
			return errors.Join(err, slot.Put(key, sealed(key, tuple(newID(), time.Now(), time.Now().Add(time.Hour)))))
		}, "after its slot is dropped", true},
	} {
		t.Run(name, func(t *testing.T) {
			db := openAt(t, filepath.Join(t.TempDir(), "x.db"))
			s := seed(t, db)
			db.must(t, func(tx *Tx) error { tx.writes++; return c.damage(tx, s) })
			var found string
			db.View(func(tx *Tx) error {
				faults, _ := tx.Faults(nil)
				for _, f := range faults {
					found += f.Text + "\n"
				}
				return nil
			})
			if !strings.Contains(found, c.text) {
				t.Fatalf("found %q", found)
			}
			records := countRecords(db)
			db.must(t, func(tx *Tx) error {
				_, left, err := tx.Repair()
				if len(left) > 0 != c.left {
					t.Errorf("left: %v", left)
				}
				return err
			})
			db.View(func(tx *Tx) error {
				if err := tx.Check(); err != nil != c.left {
					t.Errorf("after the repair: %v", err)
				}
				return nil
			})
			if after := countRecords(db); after != records {
				t.Errorf("%d records, %d after the repair", records, after)
			}
		})
	}
}

func countRecords(db *DB) (n int) {
	db.View(func(tx *Tx) error {
		for b, check := range checks {
			if check.owner == nil && bucket(b) != runCountsBucket && bucket(b) != arrivalsBucket {
				tx.each(bucket(b), nil, func([]byte) bool { n++; return true })
			}
		}
		return nil
	})
	return n
}

// However a file is damaged, looking at it ends in faults or an error, and what
// seems whole is whole.
func TestInspectDamagedFiles(t *testing.T) {
	dir := t.TempDir()
	db := openAt(t, filepath.Join(dir, "x.db"))
	seed(t, db)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(db.path)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "damaged.db")
	look := func(content []byte) (bool, error) {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		report, err := Inspect(path, nil)
		return err != nil || len(report.Faults) > 0, err
	}
	if met, err := look(whole); met {
		t.Fatalf("the whole file: %v", err)
	}
	whole = whole[:strings.LastIndexFunc(string(whole), func(r rune) bool { return r != 0 })/4096*4096+4096]
	met, total, page := 0, 0, make([]byte, 64)
	for at := 0; at < len(whole); at += 61 {
		if at%4096 > 64 && string(whole[at&^63:at&^63+64]) == string(page) {
			continue // a gap in a page
		}
		whole[at] ^= 1 << (at % 8)
		total++
		if found, _ := look(whole); found {
			met++
		}
		whole[at] ^= 1 << (at % 8)
	}
	t.Logf("%d flips, %d met; the others lie in free pages and gaps", total, met)
	if met < 100 {
		t.Errorf("only %d flips were met", met)
	}
	for name, content := range map[string][]byte{
		"empty": {}, "text": []byte("hello"), "half": whole[:len(whole)/2], "zeros": make([]byte, len(whole)),
		"no pages": append(append([]byte(nil), whole[:8192]...), make([]byte, len(whole)-8192)...),
	} {
		if found, err := look(content); !found {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Inspect(filepath.Join(dir, "none.db"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// Opening a file whose pages are damaged ends in words too, as far as opening
// it looks, and never takes a page from a list of free ones that is damaged.
func TestOpenDamagedPages(t *testing.T) {
	dir := t.TempDir()
	db := openAt(t, filepath.Join(dir, "x.db"))
	seed(t, db)
	db.Close()
	whole, err := os.ReadFile(db.path)
	if err != nil {
		t.Fatal(err)
	}
	head, ok := newestMeta(bytes.NewReader(whole))
	if !ok {
		t.Fatal("the file has no head")
	}
	free, root := int(head.freelist)*int(head.pageSize), int(head.root)*int(head.pageSize)
	for name, damage := range map[string]func(content []byte){
		"free pages of another kind":    func(content []byte) { content[free+8] = leafPage },
		"more free pages than fit":      func(content []byte) { content[free+10], content[free+11] = 0xfe, 0xfe },
		"a free page beyond the end":    func(content []byte) { content[free+pageHeader+3] = 1 },
		"a root of another kind":        func(content []byte) { content[root+8] = 0 },
		"a root that was never written": func(content []byte) { clear(content[root : root+int(head.pageSize)]) },
	} {
		path := filepath.Join(dir, "damaged.db")
		content := bytes.Clone(whole)
		damage(content)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		db, err := Open(path)
		if err == nil {
			db.Close()
		}
		if err == nil || !strings.HasPrefix(err.Error(), path+" is damaged: ") || !strings.HasSuffix(err.Error(), "; restore a backup over it") {
			t.Errorf("%s: %v", name, err)
		}
		os.Remove(path)
	}
}

// Copies made while eight writers write are whole, and have everything that was
// acknowledged before they began.
func TestBackupWhileWriting(t *testing.T) {
	dir := t.TempDir()
	db := openAt(t, filepath.Join(dir, "x.db"))
	seed(t, db)
	stop := make(chan struct{})
	var mu sync.Mutex
	var written []automations.ID
	var writers sync.WaitGroup
	for range 8 {
		writers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				c := &automations.Contact{ID: newID()}
				c.Email = c.ID.String() + "@example.com"
				if err := db.Update(func(tx *Tx) error { return tx.CreateContact(c) }); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				written = append(written, c.ID)
				mu.Unlock()
			}
		})
	}
	for n := range 10 {
		mu.Lock()
		before := written[:len(written):len(written)]
		mu.Unlock()
		path := filepath.Join(dir, fmt.Sprintf("%d.db", n))
		b, err := db.Backup(path, false, nil)
		if err != nil || !b.Verified || b.Path != path {
			t.Fatalf("%+v %v", b, err)
		}
		err = viewFile(path, func(tx *Tx) error {
			for _, id := range before {
				if _, err := tx.Contact(id); err != nil {
					return fmt.Errorf("contact %s: %w", id, err)
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	close(stop)
	writers.Wait()
	if len(written) == 0 {
		t.Error("nothing was written")
	}
	if _, err := db.Backup(filepath.Join(dir, "0.db"), false, nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over a file that exists: %v", err)
	}
	if _, err := db.Backup(filepath.Join(dir, "0.db"), true, nil); err != nil {
		t.Errorf("over a file that may go: %v", err)
	}
	for _, path := range []string{db.path, dir, filepath.Join(dir, "none", "x.db")} {
		if _, err := db.Backup(path, true, nil); err == nil {
			t.Errorf("a backup to %s", path)
		}
	}
	info, err := os.Stat(filepath.Join(dir, "0.db"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	old, fresh := filepath.Join(dir, ".opensend.backup-1"), filepath.Join(dir, ".opensend.restore-2")
	for _, path := range []string{old, fresh} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(old, time.Time{}, time.Now().Add(-25*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Backup(filepath.Join(dir, "0.db"), true, nil); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) != 1 || left[0] != fresh {
		t.Errorf("left behind: %v", left)
	}
}

// A copy of the file is held wherever it is served; the file itself never is.
func TestClaim(t *testing.T) {
	dir := t.TempDir()
	path, other := filepath.Join(dir, "x.db"), filepath.Join(dir, "y.db")
	serve := func(path string) (held *Held, epoch automations.ID) {
		t.Helper()
		db := openAt(t, path)
		if err := db.Claim(time.Now()); err != nil {
			t.Fatal(err)
		}
		db.View(func(tx *Tx) (err error) {
			epoch, _ = tx.Epoch()
			held, err = tx.Held()
			return err
		})
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		return held, epoch
	}
	release := func(path string) {
		t.Helper()
		db := openAt(t, path)
		db.must(t, (*Tx).Release)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	copyOver := func(from, to string) {
		t.Helper()
		content, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(to, content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	_, born := serve(path)
	if held, epoch := serve(path); held != nil || epoch != born {
		t.Errorf("a restart: %+v, epoch %s after %s", held, epoch, born)
	}
	copyOver(path, other)
	held, epoch := serve(other)
	if held == nil || !strings.Contains(held.Reason, "it is a copy") || epoch == born {
		t.Errorf("a copy: %+v, epoch %s", held, epoch)
	}
	if again, _ := serve(other); again == nil || !again.Since.Equal(held.Since) {
		t.Errorf("a copy, started again: %+v", again)
	}
	release(other)
	if held, _ := serve(other); held != nil {
		t.Errorf("a copy that was released: %+v", held)
	}
	if err := os.Rename(path, path+".moved"); err != nil {
		t.Fatal(err)
	}
	if held, _ := serve(path + ".moved"); held != nil {
		t.Errorf("a renamed file: %+v", held)
	}
	path += ".moved"
	copyOver(path, other)
	if held, _ := serve(path); held != nil {
		t.Errorf("the file itself, after it was copied: %+v", held)
	}
	copyOver(other, path)
	if held, _ := serve(path); held == nil || !strings.Contains(held.Reason, "an older copy") {
		t.Errorf("an older copy over the file: %+v", held)
	}
	release(path)
	if _, _, err := Compact(path, nil); err != nil {
		t.Fatal(err)
	}
	if held, _ := serve(path); held != nil {
		t.Errorf("a compacted file: %+v", held)
	}
	db := openAt(t, path)
	backup := filepath.Join(dir, "backup.db")
	b, err := db.Backup(backup, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	db.Close()
	if held, _ := serve(backup); held == nil || !held.AsOf.Equal(b.At) {
		t.Errorf("a backup: %+v", held)
	}
	if held, _ := serve(path); held != nil {
		t.Errorf("the file after its backup: %+v", held)
	}
}

func TestRestore(t *testing.T) {
	dir := t.TempDir()
	path, backup := filepath.Join(dir, "x.db"), filepath.Join(dir, "backup.db")
	db := openAt(t, path)
	s := seed(t, db)
	if err := db.Claim(time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Backup(backup, false, nil); err != nil {
		t.Fatal(err)
	}
	later := &automations.Contact{ID: newID(), Email: "later@example.com"}
	db.must(t, func(tx *Tx) error { return tx.CreateContact(later) })
	if _, err := Restore(backup, path, time.Now(), nil); !isInUse(err) {
		t.Errorf("over a file in use: %v", err)
	}
	served := openAt(t, filepath.Join(dir, "served.db"))
	if _, err := Restore(served.path, filepath.Join(dir, "new.db"), time.Now(), nil); !isInUse(err) {
		t.Errorf("from a file in use: %v", err)
	}
	db.Close()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	damaged := filepath.Join(dir, "damaged.db")
	spoilt, _ := os.ReadFile(backup)
	if err := os.WriteFile(damaged, bytes.ReplaceAll(spoilt, []byte("ada@example.com"), []byte("eve@example.com")), 0o600); err != nil {
		t.Fatal(err)
	}
	newer := openAt(t, filepath.Join(dir, "newer.db"))
	newer.must(t, func(tx *Tx) error { return tx.putLayout(SchemaVersion+1, "9.9.9") })
	newer.Close()
	write := func(name string, content []byte) string {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
		return filepath.Join(dir, name)
	}
	foreign := func(bucket string) string {
		path := filepath.Join(dir, bucket+".db")
		b, err := openBolt(path)
		if err != nil {
			t.Fatal(err)
		}
		err = b.Update(func(btx *bolt.Tx) error {
			_, err := btx.CreateBucket([]byte(bucket))
			return err
		})
		if err := errors.Join(err, b.Close()); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for from, words := range map[string]string{
		damaged: "damaged.db is damaged: a record in contacts", newer.path: "newer.db has layout 2 and this program knows 1; use opensend 9.9.9 or newer", path: "is the data file itself",
		filepath.Join(dir, "none.db"): "does not exist", dir: "is a folder; name a backup in it",
		write("empty.db", nil): "is empty; use another backup", write("text.db", []byte("hello")): "or its head is damaged; use another backup",
		write("x.gz", []byte("\x1f\x8b\x08")): "is compressed; unpack it", write("short.db", spoilt[:20000]): "bytes; use another backup",
		foreign("a"): "a.db is not an opensend data file; use another backup", foreign("meta"): "meta.db is not an opensend data file; use another backup",
		os.DevNull: "is not an ordinary file; use another backup",
	} {
		_, err := Restore(from, path, time.Now(), nil)
		if err == nil || !strings.Contains(err.Error(), words) || !strings.HasPrefix(err.Error(), from) {
			t.Errorf("restoring %s: %v", from, err)
		}
	}
	if now, _ := os.ReadFile(path); string(now) != string(whole) {
		t.Error("a refused restore changed the file")
	}
	got, err := Restore(backup, path, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), nil)
	if err != nil || got.Kept != path+".replaced-20260102T030405Z" || got.AsOf.IsZero() {
		t.Fatalf("%+v %v", got, err)
	}
	kept := openAt(t, got.Kept)
	kept.View(func(tx *Tx) error {
		if _, err := tx.Contact(later.ID); err != nil {
			t.Errorf("the replaced file has lost a contact: %v", err)
		}
		return nil
	})
	db = openAt(t, path)
	db.View(func(tx *Tx) error {
		held, err := tx.Held()
		if err != nil || held == nil || !strings.Contains(held.Reason, "restored from backup.db") {
			t.Errorf("%+v %v", held, err)
		}
		if _, err := tx.Contact(later.ID); !errors.Is(err, ErrNotFound) {
			t.Errorf("a contact from after the backup: %v", err)
		}
		if _, err := tx.Contact(s.contact); err != nil {
			t.Error(err)
		}
		return tx.Check()
	})
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func isInUse(err error) bool {
	_, ok := errors.AsType[*InUseError](err)
	return ok
}

// Compaction gives free pages back, forgets what was deleted, and keeps the rest.
func TestCompact(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	db := openAt(t, path)
	s := seed(t, db)
	needle := strings.Repeat("needle", 20_000)
	d := &automations.Delivery{ID: newID(), Event: "x", Payload: json.RawMessage(`"` + needle + `"`)}
	db.must(t, func(tx *Tx) error { return tx.AddDelivery(d) })
	db.must(t, func(tx *Tx) error { return tx.delete(deliveriesBucket, d.ID[:]) })
	db.must(t, (*Tx).Probe)
	if _, _, err := Compact(path, nil); !isInUse(err) {
		t.Errorf("a file in use: %v", err)
	}
	usage, err := db.Breakdown()
	if err != nil || usage.FreePages < 10 || len(usage.Buckets) != int(bucketCount) || usage.Buckets[runsBucket].Rows != 4 || usage.Buckets[dedupBucket].Rows != 1 {
		t.Errorf("%+v %v", usage, err)
	}
	db.Close()
	before, after, err := Compact(path, nil)
	if err != nil || after >= before {
		t.Errorf("%d bytes, then %d: %v", before, after, err)
	}
	content, err := os.ReadFile(path)
	if err != nil || strings.Contains(string(content), "needle") {
		t.Errorf("what was deleted is still there: %v", err)
	}
	db = openAt(t, path)
	db.View(func(tx *Tx) error {
		if _, err := tx.Contact(s.contact); err != nil {
			t.Error(err)
		}
		return tx.Check()
	})
}

// A link that is the data file's name stays one: what it leads to is replaced.
func TestLinksStay(t *testing.T) {
	dir := t.TempDir()
	path, link, backup := filepath.Join(dir, "far", "x.db"), filepath.Join(dir, "x.db"), filepath.Join(dir, "backup.db")
	db := openAt(t, path)
	if _, err := db.Backup(backup, false, nil); err != nil {
		t.Fatal(err)
	}
	db.Close()
	if err := os.Symlink(path, link); err != nil {
		t.Skip(err)
	}
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	stays := func(after string, err error) {
		t.Helper()
		to, linkErr := os.Readlink(link)
		info, statErr := os.Stat(path)
		if err := errors.Join(err, linkErr, statErr); err != nil || to != path || os.SameFile(before, info) {
			t.Errorf("after %s the link leads to %q: %v", after, to, err)
		}
		before = info
	}
	_, _, err = Compact(link, nil)
	stays("a compaction", err)
	restored, err := Restore(backup, link, time.Now(), nil)
	stays("a restore", err)
	if err == nil && filepath.Dir(restored.Kept) != filepath.Dir(path) {
		t.Errorf("the replaced file is %s", restored.Kept)
	}
}
