package server

import (
	"net/http"
	"runtime"
	runtimemetrics "runtime/metrics"
	"strconv"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/engine"
	"github.com/opensend/opensend/metrics"
	"github.com/opensend/opensend/storage"
)

// metrics answers GET /metrics: what happened since the program started, and how
// things stand now, in Prometheus' text format. docs/monitoring.md lists it.
func (s *Server) metrics(*request) (answer, error) {
	figures, err := s.engine.Figures()
	if err != nil {
		return answer{}, err
	}
	var t metrics.Text
	s.writeBuild(&t)
	s.writeEvents(&t)
	s.writeRuns(&t, &figures)
	s.writeMail(&t, &figures)
	s.writeFile(&t, &figures)
	s.writeRequests(&t)
	return answer{status: http.StatusOK, raw: t.Bytes(), header: map[string]string{"Content-Type": metrics.ContentType}}, nil
}

func (s *Server) writeBuild(t *metrics.Text) {
	t.Family(metrics.Gauge, "opensend_build_info", "Always 1; the labels say which program this is.")
	t.Sample(1, "version", s.version, "goversion", runtime.Version(), "schema", strconv.Itoa(storage.SchemaVersion))
	t.One(metrics.Gauge, "process_start_time_seconds", "When the program started, in Unix time.", float64(s.started.UnixMilli())/1000)
	t.Family(metrics.Gauge, "go_info", "Always 1; the label says which Go made the program.")
	t.Sample(1, "version", runtime.Version())
	t.One(metrics.Gauge, "go_goroutines", "Goroutines.", float64(runtime.NumGoroutine()))
	memory := []runtimemetrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/total:bytes"}, {Name: "/gc/heap/goal:bytes"}}
	runtimemetrics.Read(memory)
	t.One(metrics.Gauge, "go_memstats_heap_alloc_bytes", "Memory in objects of the heap.", float64(memory[0].Value.Uint64()))
	t.One(metrics.Gauge, "go_memstats_sys_bytes", "Memory that the Go runtime has from the system.", float64(memory[1].Value.Uint64()))
	t.One(metrics.Gauge, "go_memstats_next_gc_bytes", "Size of the heap at which it is collected next.", float64(memory[2].Value.Uint64()))
}

func (s *Server) writeEvents(t *metrics.Text) {
	doors := []*doorMeter{s.meter.doors[openSendDoor], s.meter.doors[mailDiverDoor]}
	t.Family(metrics.Counter, "opensend_events_total", "Events stored, by the door they came through.")
	for _, d := range doors {
		t.Sample(float64(d.events.Load()), "door", d.name)
	}
	t.Family(metrics.Counter, "opensend_events_refused_total", "Events refused and not stored, by door.")
	for _, d := range doors {
		t.Sample(float64(d.refused.Load()), "door", d.name)
	}
	t.Family(metrics.Counter, "opensend_event_verdicts_total", "What was decided about stored events, once for each automation considered.")
	for _, d := range doors {
		for _, reason := range automations.Reasons() {
			t.Sample(float64(d.verdicts[reason].Load()), "door", d.name, "verdict", string(reason))
		}
	}
}

func (s *Server) writeRuns(t *metrics.Text, f *engine.Figures) {
	done := s.db.Meter()
	t.Family(metrics.Gauge, "opensend_runs", "Runs in the data file, by status.")
	for _, status := range automations.RunStatuses() {
		t.Sample(float64(f.Runs[status]), "status", string(status))
	}
	t.One(metrics.Counter, "opensend_runs_started_total", "Runs started.", float64(done.Tally(automations.TallyRunsStarted)))
	t.Family(metrics.Counter, "opensend_runs_finished_total", "Runs that ended, by the status they ended with.")
	for _, status := range automations.RunStatuses() {
		if kind, ok := status.Tally(); ok {
			t.Sample(float64(done.Tally(kind)), "status", string(status))
		}
	}
	t.One(metrics.Gauge, "opensend_wakes_due", "Runs that should go on now; at most 10000 are counted.", float64(f.Wakes.Due))
	t.One(metrics.Gauge, "opensend_wake_lag_seconds", "For how long the first of them should have.", f.Wakes.Age(f.At).Seconds())
	t.One(metrics.Gauge, "opensend_held", "1 while nothing moves because the data file is a copy; see opensend resume.", truth(s.engine.Held() != nil))
}

func (s *Server) writeMail(t *metrics.Text, f *engine.Figures) {
	t.Family(metrics.Counter, "opensend_emails_total", "Mails that came to a status.")
	for _, status := range automations.EmailStatuses() {
		if kind, ok := status.Tally(); ok {
			t.Sample(float64(s.db.Meter().Tally(kind)), "status", string(status))
		}
	}
	h := s.engine.Handovers()
	t.Family(metrics.Counter, "opensend_smtp_attempts_total", "Attempts to hand a mail to the mail server, by what came of them.")
	t.Sample(float64(h.Taken.Load()), "outcome", "taken")
	t.Sample(float64(h.Partly.Load()), "outcome", "partly")
	t.Sample(float64(h.Temporary.Load()), "outcome", "temporary")
	t.Sample(float64(h.Permanent.Load()), "outcome", "permanent")
	t.Sample(float64(h.Unknown.Load()), "outcome", "unknown")
	t.One(metrics.Gauge, "opensend_outbox_due", "Mails whose next attempt is due; at most 10000 are counted.", float64(f.Mail.Due))
	t.One(metrics.Gauge, "opensend_outbox_lag_seconds", "For how long the first of them has been due.", f.Mail.Age(f.At).Seconds())
	t.One(metrics.Gauge, "opensend_webhook_deliveries_due", "Notices to webhooks whose next attempt is due; at most 10000 are counted.", float64(f.Notice.Due))
	t.One(metrics.Gauge, "opensend_webhook_lag_seconds", "For how long the first of them has been due.", f.Notice.Age(f.At).Seconds())
}

func (s *Server) writeFile(t *metrics.Text, f *engine.Figures) {
	done := s.db.Meter()
	t.Histograms("opensend_commit_duration_seconds", "How long transactions took until they were on disk.")
	t.Histogram(done.Commits)
	t.Histograms("opensend_commit_updates", "How many updates shared a transaction.")
	t.Histogram(done.Batches)
	t.One(metrics.Counter, "opensend_commits_failed_total", "Transactions that could not be written.", float64(done.Failed.Load()))
	t.One(metrics.Counter, "opensend_updates_refused_total", "Updates refused because too many waited.", float64(done.Refused.Load()))
	t.One(metrics.Gauge, "opensend_updates_waiting", "Updates that wait to be written.", float64(s.db.Waiting()))
	t.One(metrics.Gauge, "opensend_file_bytes", "Size of the data file.", float64(f.Room.File))
	t.One(metrics.Gauge, "opensend_file_free_bytes", "Of it, in pages that are used again before the file grows.", float64(f.Room.Free))
	t.One(metrics.Gauge, "opensend_file_free_pages", "How many pages these are.", float64(f.Room.FreePages))
	if f.Room.Known {
		t.One(metrics.Gauge, "opensend_disk_free_bytes", "Room on the disk of the data file.", float64(f.Room.Disk))
	}
	open := map[string]bool{}
	for _, a := range s.engine.Alerts() {
		open[a.Kind] = true
	}
	t.Family(metrics.Gauge, "opensend_alert", "1 while the program itself says that something is wrong, by kind.")
	for _, kind := range engine.AlertKinds() {
		t.Sample(truth(open[kind]), "kind", kind)
	}
	if !f.Backup.At.IsZero() {
		t.One(metrics.Gauge, "opensend_last_backup_age_seconds", "Age of the last backup; absent when there is none.", max(time.Since(f.Backup.At).Seconds(), 0))
	}
	t.One(metrics.Gauge, "opensend_last_backup_failed", "1 when the last try to make a backup failed.", truth(!f.Backup.FailedAt.IsZero()))
}

func (s *Server) writeRequests(t *metrics.Text) {
	t.Family(metrics.Counter, "opensend_http_requests_total", "Requests to the API, by the family of the route and the class of the status.")
	for _, f := range s.meter.order {
		for class := range f.classes {
			if n := f.classes[class].Load(); n > 0 {
				t.Sample(float64(n), "family", f.name, "class", strconv.Itoa(class)+"xx")
			}
		}
	}
	t.Histograms("opensend_http_request_duration_seconds", "How long requests to the API took.")
	for _, f := range s.meter.order {
		t.Histogram(f.latency, "family", f.name)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
