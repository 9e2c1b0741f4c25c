package cmd

import (
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/mail"
	"github.com/opensend/opensend/storage"
)

// demoScript is what the demo sets up and posts.
//
//go:embed demo.json
var demoScript []byte

type script struct {
	Setup []struct {
		Say  string          `json:"say"`
		Path string          `json:"path"`
		Body json.RawMessage `json:"body"`
	} `json:"setup"`
	Events []struct {
		Say  string          `json:"say"`
		Path string          `json:"path"`
		Body json.RawMessage `json:"body"`
	} `json:"events"`
}

func newDemo(a *app) *cobra.Command {
	var once bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show the whole thing on a temporary file",
		Long: `Start a server on a temporary data file, set up an event type, a template and
two automations, post events over HTTP, and print what they did: verdicts, run
steps and the mail. Then stay up, so that you can look around.`,
		Example: "  opensend demo\n  opensend demo --once",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			context.AfterFunc(ctx, stop)
			return a.demo(ctx, once)
		},
	}
	cmd.Flags().BoolVar(&once, "once", false, "exit when everything has been printed")
	return cmd
}

func (a *app) demo(ctx context.Context, once bool) (err error) {
	dir, err := os.MkdirTemp("", "opensend-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ln, err := listen("127.0.0.1:0")
	if err != nil {
		return err
	}
	cfg := defaultConfig()
	cfg.BaseURL, cfg.Data, cfg.Mail.From = "http://"+ln.Addr().String(), filepath.Join(dir, "demo.db"), "Demo <hello@example.com>"
	ap, err := newAppliance(cfg, origins{"base_url": "the demo", "data": "the demo", "mail.from": "the demo"}, slog.New(slog.DiscardHandler))
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	stopped := make(chan error, 1)
	go func() { stopped <- ap.run(ctx, doors{public: []net.Listener{ln}}) }()

	show := &demonstration{app: a, appliance: ap}
	err = show.play(ctx)
	if err == nil && !once {
		err = show.stay(ctx)
	}
	stop()
	return errors.Join(err, <-stopped)
}

// stay says how to look around, and waits.
func (d *demonstration) stay(ctx context.Context) error {
	password := strings.ToLower(rand.Text()[:12])
	if err := d.appliance.web.AddUser("demo", password); err != nil {
		return err
	}
	fmt.Fprintf(d.app.stdout, "Look around: %s/dashboard with the name demo and the password %s\nPost your own events to %s with the key %s\nCtrl-C ends the demo and deletes its data.\n",
		d.appliance.cfg.BaseURL, password, d.appliance.cfg.BaseURL, d.token)
	<-ctx.Done()
	return nil
}

// demonstration plays the script against a running appliance.
type demonstration struct {
	*app
	appliance *appliance
	token     string
}

func (d *demonstration) play(ctx context.Context) error {
	var s script
	if err := json.Unmarshal(demoScript, &s); err != nil {
		return err
	}
	control := &client{http: &http.Client{Transport: handlerTransport{d.appliance.api.Control()}}}
	var key apiKey
	if err := control.call(http.MethodPost, "/api-keys", map[string]string{"name": "demo"}, &key); err != nil {
		return err
	}
	d.token = key.Token
	fmt.Fprintf(d.stdout, "opensend demo at %s\n\nSet up over the API\n", d.appliance.cfg.BaseURL)
	for _, step := range s.Setup {
		if _, err := d.post(step.Path, step.Body); err != nil {
			return fmt.Errorf("%s: %w", step.Say, err)
		}
		fmt.Fprintf(d.stdout, "  POST %-28s %s\n", step.Path, step.Say)
	}
	for _, event := range s.Events {
		fmt.Fprintf(d.stdout, "\n%s\n  POST %s %s\n", event.Say, event.Path, automations.CompactJSON(event.Body))
		answer, err := d.post(event.Path, event.Body)
		if err != nil {
			return err
		}
		if err := d.follow(ctx, answer); err != nil {
			return err
		}
	}
	fmt.Fprintln(d.stdout)
	return nil
}

func (d *demonstration) post(path string, body json.RawMessage) (map[string]any, error) {
	req, err := http.NewRequest(http.MethodPost, d.appliance.cfg.BaseURL+path, strings.NewReader(string(body)))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+d.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var answer map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return nil, err
	}
	if resp.StatusCode >= 400 {
		return nil, fmt.Errorf("%s: %v", resp.Status, answer["message"])
	}
	return answer, nil
}

// settleTime is how long the demo waits for a run to come to rest.
const settleTime = 10 * time.Second

// follow prints what an event did, once its runs have come to rest.
func (d *demonstration) follow(ctx context.Context, answer map[string]any) error {
	if answer["status"] == string(automations.Deduplicated) {
		fmt.Fprintf(d.stdout, "  verdict: deduplicated, it repeats event %v\n", answer["original_event_id"])
		return nil
	}
	id, _ := answer["event_id"].(string)
	if delivery, ok := answer["delivery"].(map[string]any); ok {
		id, _ = delivery["id"].(string)
	}
	deliveryID, _ := automations.ParseID(id)
	var delivery *automations.Delivery
	err := d.appliance.db.View(func(tx *storage.Tx) (err error) {
		delivery, err = tx.Delivery(deliveryID)
		return err
	})
	if err != nil {
		return err
	}
	for _, v := range delivery.Verdicts {
		fmt.Fprintf(d.stdout, "  verdict: %s\n", v.Reason)
		if v.RunID == (automations.ID{}) {
			continue
		}
		run, err := d.settled(ctx, automations.RunRef{WorkflowID: v.WorkflowID, RunID: v.RunID})
		if err != nil {
			return err
		}
		if err := d.printRun(run); err != nil {
			return err
		}
	}
	return nil
}

func (d *demonstration) settled(ctx context.Context, ref automations.RunRef) (run *automations.Run, err error) {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	for {
		err := d.appliance.db.View(func(tx *storage.Tx) error {
			row, err := tx.Run(ref)
			if err == nil {
				run = row.Run
			}
			return err
		})
		if err != nil || run.Status.Final() || run.Status == automations.RunWaiting {
			return run, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("run %s is still %s", ref.RunID, run.Status)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (d *demonstration) printRun(run *automations.Run) error {
	return d.appliance.db.View(func(tx *storage.Tx) error {
		w, err := tx.Workflow(run.WorkflowID)
		if err != nil {
			return err
		}
		revision, err := tx.Revision(run.WorkflowID, run.Revision)
		if err != nil {
			return err
		}
		fmt.Fprintf(d.stdout, "  run of %q is %s\n", w.Name, run.Status)
		for _, step := range revision.Definition.Steps {
			st := run.Steps[step.Key]
			if st == nil {
				continue
			}
			fmt.Fprintf(d.stdout, "    %-14s %-16s %s", step.Key, step.Type, st.Status)
			if st.Status == automations.StepWaiting {
				fmt.Fprintf(d.stdout, " until %s", st.ScheduledFor.Format(time.RFC3339))
			}
			fmt.Fprintln(d.stdout)
			if err := d.printMail(tx, st.Output); err != nil {
				return err
			}
		}
		return nil
	})
}

// printMail prints the mail that a step's output names.
func (d *demonstration) printMail(tx *storage.Tx, output json.RawMessage) error {
	var sent struct {
		EmailID automations.ID `json:"email_id"`
	}
	if json.Unmarshal(output, &sent) != nil || sent.EmailID == (automations.ID{}) {
		return nil
	}
	email, err := tx.Email(sent.EmailID)
	if err != nil {
		return err
	}
	content, err := tx.EmailContent(sent.EmailID)
	if err != nil {
		return err
	}
	view, err := mail.ParseView(content.Message)
	if err != nil {
		return err
	}
	fmt.Fprintf(d.stdout, "      | From:    %s\n      | To:      %s\n      | Subject: %s\n      |\n", email.From, strings.Join(email.To, ", "), email.Subject)
	for line := range strings.SplitSeq(strings.TrimSpace(view.Text), "\n") {
		fmt.Fprintln(d.stdout, strings.TrimRight("      | "+line, " \r"))
	}
	return nil
}
