package cmd

import (
	"bufio"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// must runs a command of the binary and returns what it prints.
func (s *liveServer) must(args ...string) string {
	s.t.Helper()
	cmd := s.command(args...)
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("opensend %s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}

// poll asks until the answer has what is wanted in it.
func (s *liveServer) poll(path, want string) []byte {
	s.t.Helper()
	var answer []byte
	came := eventually(func() bool {
		answer = s.call(http.MethodGet, path, "", http.StatusOK)
		return strings.Contains(string(answer), want)
	})
	if !came {
		s.t.Fatalf("%s answers %s, not %s", path, answer, want)
	}
	return answer
}

// emailID is the id of the newest mail to the address, once it has the status.
func (s *liveServer) emailID(address, status string) string {
	s.t.Helper()
	var list struct{ Data []struct{ ID string } }
	if err := json.Unmarshal(s.poll("/emails?to="+address, `"status":"`+status+`"`), &list); err != nil {
		s.t.Fatal(err)
	}
	return list.Data[0].ID
}

// settled waits until the mail has been sent.
func (s *liveServer) settled(id string) { s.poll("/emails/"+id, `"status":"sent"`) }

// Mail that was captured while there was no mail server, or with a test key
// beside one, is released; mail that a kill left in doubt is sent again or
// confirmed. Commands do it with and without a server.
func TestDecideOnTheCommandLine(t *testing.T) {
	s := startLive(t, "mail: {from: Example <hello@example.com>}\n")
	s.post("/automations", mailAutomation, http.StatusCreated)
	s.must("events", "send", "go", "early@example.com", "--data", `{"n":1}`)
	early := s.emailID("early@example.com", "captured")
	s.server.Process.Signal(os.Interrupt)
	s.server.Wait()

	box := &mailbox{arrived: make(chan arrival)}
	if err := os.WriteFile(filepath.Join(s.dir, "config.yaml"), []byte(box.serve(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := s.must("emails", "release", early); out != "released "+early+"\n" { // the file is ours, and says who it is sent through
		t.Error(out)
	}
	s.start()
	mail := <-box.arrived
	close(mail.answer)
	if !strings.Contains(mail.message, "To: early@example.com\r\n") {
		t.Errorf("released:\n%s", mail.message)
	}
	s.settled(early)
	if source := s.must("emails", "show", early, "--source"); source != mail.message {
		t.Errorf("the source is\n%s\nbut this was sent:\n%s", source, mail.message)
	}

	live := s.key
	s.key = strings.TrimSpace(s.must("apikeys", "create", "--name", "try", "--test"))
	s.post("/events/send", `{"event":"go","email":"test@example.com","payload":{"n":2}}`, http.StatusAccepted)
	s.key = live
	test := s.emailID("test@example.com", "captured")
	s.must("emails", "release", test)
	mail = <-box.arrived
	close(mail.answer)
	if !strings.Contains(mail.message, "To: test@example.com\r\n") {
		t.Errorf("released:\n%s", mail.message)
	}

	for _, c := range []struct{ what, address string }{{"resend", "lost@example.com"}, {"confirm", "came@example.com"}} {
		s.must("events", "send", "go", c.address, "--data", `{"n":3}`)
		first := <-box.arrived
		s.server.Process.Kill()
		s.server.Wait()
		close(first.answer)
		s.start()
		id := s.emailID(c.address, "unconfirmed")
		if shown := s.must("emails", "show", id); !strings.Contains(shown, "If it did not:  opensend emails resend "+id) {
			t.Error(shown)
		}
		s.must("emails", c.what, id)
		if c.what == "resend" {
			again := <-box.arrived
			close(again.answer)
			if again.message != first.message {
				t.Errorf("sent again:\n%s\nnot:\n%s", again.message, first.message)
			}
		}
		s.settled(id)
	}
}

// Events are printed as they come, and an interrupt ends it well.
func TestEventsTail(t *testing.T) {
	s := startLive(t, "")
	s.must("events", "send", "before", "ada@example.com")
	for _, args := range [][]string{{"events", "tail"}, {"events", "tail", "--event", "wanted", "--json"}} {
		cmd := s.command(args...)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		says, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(says).ReadString('\n'); line != "Waiting for events; Ctrl-C ends.\n" {
			t.Fatal(line, err)
		}
		lines := bufio.NewScanner(out)
		for _, name := range []string{"wanted", "other", "wanted"} {
			s.must("events", "send", name, "ada@example.com")
			if name != "wanted" && len(args) > 2 {
				continue
			}
			want := "  " + name + "  ada@example.com  unmatched  "
			if len(args) > 2 {
				want = `"event":"` + name + `","contact_id":`
			}
			if !lines.Scan() || !strings.Contains(lines.Text(), want) {
				t.Errorf("printed %q, %v", lines.Text(), lines.Err())
			}
		}
		cmd.Process.Signal(os.Interrupt)
		if lines.Scan() {
			t.Errorf("printed %q at the end", lines.Text())
		}
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
}
