package server

import (
	"testing"

	"github.com/opensend/opensend/automations"
)

func TestRunStatusInWords(t *testing.T) {
	resend := map[automations.RunStatus]string{
		automations.RunQueued: "running", automations.RunWaiting: "running", automations.RunRunning: "running", automations.RunSkipped: "completed",
	}
	for _, status := range automations.RunStatuses() {
		if got := runStatus(&request{}, status); got != string(status) {
			t.Errorf("%s is %s in OpenSend's words", status, got)
		}
		want := resend[status]
		if want == "" {
			want = string(status)
		}
		if got := runStatus(&request{resend: true}, status); got != want {
			t.Errorf("%s is %s in Resend's words, want %s", status, got, want)
		}
	}
}
