package server

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// What takes care of the data file is answered at the control socket alone.
func TestControlIsNotPublic(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		for _, c := range controls() {
			r.do(c.method, c.path, "{}").want(http.StatusNotFound)
			answer := httptest.NewRecorder()
			r.trust.ServeHTTP(answer, httptest.NewRequest(c.method, c.path, strings.NewReader("{}")))
			if strings.Contains(answer.Body.String(), "no route") || answer.Code >= 500 {
				t.Errorf("%s %s at the socket: %d %s", c.method, c.path, answer.Code, answer.Body)
			}
		}
	})
}
