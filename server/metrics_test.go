package server

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// scraped is an answer of /metrics as the official parser reads it: the values by
// name and labels, such as a{b="c"}. Of a histogram it has _count and _sum.
func scraped(t *testing.T, raw []byte) map[string]float64 {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("%v in\n%s", err, raw)
	}
	values := map[string]float64{}
	for name, family := range families {
		if family.GetHelp() == "" || family.GetType() == dto.MetricType_UNTYPED {
			t.Errorf("%s has no help or no type", name)
		}
		if (family.GetType() == dto.MetricType_COUNTER) != strings.HasSuffix(name, "_total") {
			t.Errorf("%s is a %s", name, family.GetType())
		}
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			slices.Sort(labels)
			key := name
			if len(labels) > 0 {
				key += "{" + strings.Join(labels, ",") + "}"
			}
			switch h := m.GetHistogram(); {
			case h != nil:
				values[strings.Replace(key, name, name+"_count", 1)] = float64(h.GetSampleCount())
				values[strings.Replace(key, name, name+"_sum", 1)] = h.GetSampleSum()
				checkBuckets(t, key, h)
			case m.GetCounter() != nil:
				values[key] = m.GetCounter().GetValue()
			default:
				values[key] = m.GetGauge().GetValue()
			}
		}
	}
	return values
}

// checkBuckets makes sure that buckets grow and that the last has everything.
func checkBuckets(t *testing.T, key string, h *dto.Histogram) {
	t.Helper()
	last := uint64(0)
	for _, b := range h.GetBucket() {
		if b.GetCumulativeCount() < last {
			t.Errorf("%s: the bucket up to %v has %d, the one before %d", key, b.GetUpperBound(), b.GetCumulativeCount(), last)
		}
		last = b.GetCumulativeCount()
	}
	if len(h.GetBucket()) == 0 || last != h.GetSampleCount() {
		t.Errorf("%s: %d of %d are in a bucket", key, last, h.GetSampleCount())
	}
}

func TestMetrics(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		key := r.newKey("metrics_access")
		r.automation("a", `[{"key":"t","type":"trigger","config":{"event_name":"go"}},{"key":"m","type":"send_email","config":{"subject":"Hi","html":"x"}}]`, "")
		r.automation("b", `[{"key":"t","type":"trigger","config":{"event_name":"wait"}},{"key":"d","type":"delay","config":{"duration":"1 day"}}]`, "")
		for range 3 {
			r.do(http.MethodPost, "/events/send", `{"event":"go","email":"ada@example.com"}`).want(202)
		}
		r.do(http.MethodPost, "/events/send", `{"event":"go","email":"ada@example.com"}`, "Idempotency-Key", "k").want(202)
		r.do(http.MethodPost, "/events/send", `{"event":"go","email":"ada@example.com"}`, "Idempotency-Key", "k").want(202) // a repeat is no event
		r.do(http.MethodPost, "/events/send", `{"event":"go"}`).want(422)
		r.do(http.MethodPost, "/api/events/send/batch", `[{"event":"wait","email":"bob@example.com"},{"event":"wait"}]`).want(202)
		r.do(http.MethodPost, "/v1/events", `{"event_name":"wait","email":"eve@example.com"}`).want(200)
		r.do(http.MethodPost, "/v1/events", `{"event_name":"wait","email":"eve@example.com"}`).want(200)
		r.do(http.MethodPost, "/v1/events", `{"event_name":"nothing","email":"eve@example.com"}`).want(404)
		r.do(http.MethodGet, "/nowhere", "").want(404)
		time.Sleep(time.Second)
		a := r.send(r.public, key, http.MethodGet, "/metrics", "").want(200)
		if got := a.header.Get("Content-Type"); got != "text/plain; version=0.0.4; charset=utf-8" {
			t.Error(got)
		}
		got := scraped(t, a.raw)
		for name, want := range map[string]float64{
			`opensend_events_total{door="opensend"}`:                                           5,
			`opensend_events_total{door="maildiver"}`:                                          3,
			`opensend_events_refused_total{door="opensend"}`:                                   2,
			`opensend_events_refused_total{door="maildiver"}`:                                  0,
			`opensend_event_verdicts_total{door="opensend",verdict="started"}`:                 5,
			`opensend_event_verdicts_total{door="maildiver",verdict="started"}`:                1,
			`opensend_event_verdicts_total{door="maildiver",verdict="deduplicated"}`:           1,
			`opensend_event_verdicts_total{door="maildiver",verdict="unmatched"}`:              1,
			`opensend_runs{status="completed"}`:                                                4,
			`opensend_runs{status="waiting"}`:                                                  2,
			`opensend_runs_started_total`:                                                      6,
			`opensend_runs_finished_total{status="completed"}`:                                 4,
			`opensend_emails_total{status="captured"}`:                                         4,
			`opensend_smtp_attempts_total{outcome="taken"}`:                                    0,
			`opensend_wakes_due`:                                                               0,
			`opensend_held`:                                                                    0,
			`opensend_updates_waiting`:                                                         0,
			`opensend_http_requests_total{class="2xx",family="/events/send"}`:                  5,
			`opensend_http_requests_total{class="4xx",family="/events/send"}`:                  1,
			`opensend_http_requests_total{class="2xx",family="/events/send/batch"}`:            1,
			`opensend_http_requests_total{class="2xx",family="/v1/events"}`:                    2,
			`opensend_http_requests_total{class="4xx",family="/v1/events"}`:                    1,
			`opensend_http_requests_total{class="4xx",family="unknown"}`:                       1,
			`opensend_http_request_duration_seconds_count{family="/events/send"}`:              6,
			`opensend_build_info{goversion="` + runtime.Version() + `",schema="1",version=""}`: 1,
		} {
			if value, there := got[name]; !there || value != want {
				t.Errorf("%s is %v (there: %v), want %v", name, value, there, want)
			}
		}
		for _, name := range []string{"opensend_file_bytes", "opensend_commit_duration_seconds_count", "opensend_commit_updates_sum", "go_goroutines", "go_memstats_heap_alloc_bytes", "process_start_time_seconds"} {
			if got[name] <= 0 {
				t.Errorf("%s is %v", name, got[name])
			}
		}
		if _, there := got["opensend_last_backup_age_seconds"]; there {
			t.Error("a backup that was never made has an age")
		}
		if strings.Contains(string(a.raw), "example.com") {
			t.Error("the metrics name an address")
		}
		later := scraped(t, r.send(r.public, key, http.MethodGet, "/metrics", "").want(200).raw)
		if later[`opensend_http_requests_total{class="2xx",family="/metrics"}`] != 1 {
			t.Error("the metrics do not count themselves")
		}
		for _, name := range slices.Sorted(maps.Keys(got)) {
			if _, there := later[name]; !there {
				t.Errorf("%s is gone", name)
			}
		}
		r.send(r.public, key, http.MethodGet, "/contacts", "").want(403)
	})
}

// What stands in a label cannot end it.
func TestMetricsEscape(t *testing.T) {
	r := newRigWith(t, Config{Version: "a\"}\n b\\"})
	got := scraped(t, r.do(http.MethodGet, "/metrics", "").want(200).raw)
	if got[fmt.Sprintf(`opensend_build_info{goversion=%q,schema="1",version=%q}`, runtime.Version(), "a\"}\n b\\")] != 1 {
		t.Error(slices.Sorted(maps.Keys(got)))
	}
}

// Every verdict that there is has a series from the start, so that a rule sees
// the first of them as an increase.
func TestMetricsNameEveryVerdict(t *testing.T) {
	r := newRig(t)
	got := scraped(t, r.do(http.MethodGet, "/metrics", "").want(200).raw)
	for _, reason := range automations.Reasons() {
		if value, there := got[fmt.Sprintf(`opensend_event_verdicts_total{door="opensend",verdict=%q}`, string(reason))]; !there || value != 0 {
			t.Errorf("%s: %v %v", reason, value, there)
		}
	}
}

// The rules in docs/alerts.yml ask for metrics that are served, and say what they
// are meant to.
func TestAlertRules(t *testing.T) {
	r := newRig(t)
	rules, err := os.ReadFile("../docs/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.db.Update(func(tx *storage.Tx) error { return tx.NoteBackup(storage.Backup{At: time.Now()}) }); err != nil {
		t.Fatal(err)
	}
	r.do(http.MethodGet, "/metrics", "").want(200) // requests are counted from the first on
	served := string(r.do(http.MethodGet, "/metrics", "").want(200).raw)
	for _, name := range regexp.MustCompile(`opensend_[a-z_]+`).FindAllString(string(rules), -1) {
		if !strings.Contains(served, "\n"+name+"{") && !strings.Contains(served, "\n"+name+" ") {
			t.Errorf("a rule asks for %s, which is not served", name)
		}
	}
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("SKIPPED, not tested here: whether the rules parse and fire needs promtool, of Debian's package prometheus")
	}
	full, err := filepath.Abs("../docs/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	test := filepath.Join(t.TempDir(), "test.yml")
	if err := os.WriteFile(test, []byte("rule_files: ["+full+"]\n"+ruleTests), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"check", "rules", full}, {"test", "rules", test}} {
		if out, err := exec.Command(promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", args[0], err, out)
		}
	}
}

// ruleTests is in promtool's own words: of two servers one is well, and the
// other's mail server takes nothing, its runs are late, and it has 100 MB left.
const ruleTests = `
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {series: 'opensend_alert{instance="bad",kind="mail_failing"}', values: '0x15 1x25'}
      - {series: 'opensend_alert{instance="well",kind="mail_failing"}', values: '0x40'}
      - {series: 'opensend_alert{instance="well",kind="runs_overdue"}', values: '1x40'}
      - {series: 'opensend_wake_lag_seconds{instance="bad"}', values: '61x40'}
      - {series: 'opensend_wake_lag_seconds{instance="well"}', values: '1x40'}
      - {series: 'opensend_held{instance="bad"}', values: '0x40'}
      - {series: 'opensend_held{instance="well"}', values: '0x40'}
      - {series: 'opensend_disk_free_bytes{instance="bad"}', values: '100000000x40'}
      - {series: 'opensend_file_free_bytes{instance="bad"}', values: '0x40'}
      - {series: 'opensend_disk_free_bytes{instance="well"}', values: '200000000x40'}
      - {series: 'opensend_file_free_bytes{instance="well"}', values: '100000000x40'}
    alert_rule_test:
      - eval_time: 30m
        alertname: OpensendMailNotTaken
        exp_alerts:
          - exp_labels: {severity: page, instance: bad, kind: mail_failing}
            exp_annotations:
              summary: The mail server has taken no mail for 15 minutes.
              description: opensend doctor looks at the mail server; opensend emails list --status queued shows its last words.
      - eval_time: 30m
        alertname: OpensendRunsOverdue
        exp_alerts:
          - exp_labels: {severity: page, instance: bad}
            exp_annotations: {summary: Runs are overdue by 1m 1s.}
      - eval_time: 30m
        alertname: OpensendDiskLow
        exp_alerts:
          - exp_labels: {severity: page, instance: bad}
            exp_annotations:
              summary: The disk of the data file has 95.37MiB left.
              description: At 32 MiB new events are answered with 503.
`
