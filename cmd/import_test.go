package cmd

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
)

// A server that has contacts in audiences alone, gives properties with their
// types, only one by one, pages, and puts requests off, is read whole.
func TestRemoteOfOlderShape(t *testing.T) {
	answers := map[string]string{
		"/audiences?limit=100":                    `{"data":[{"id":"b","name":"B"},{"id":"a","name":"A"}]}`,
		"/audiences/a/contacts?limit=100":         `{"data":[{"id":"2","email":"two@example.com"}],"has_more":true}`,
		"/audiences/a/contacts?after=2&limit=100": `{"data":[{"id":"1","email":"one@example.com"}]}`,
		"/audiences/b/contacts?limit=100":         `{"data":[{"id":"1","email":"one@example.com"}]}`,
		"/contacts/1":                             `{"id":"1","properties":{"plan":{"type":"string","value":"pro"},"gone":null}}`,
	}
	var asked atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch answer := answers[r.URL.RequestURI()]; {
		case r.Header.Get("Authorization") != "Bearer k":
			w.WriteHeader(http.StatusUnauthorized)
		case asked.Add(1) == 1:
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusTooManyRequests)
		case answer == "":
			w.WriteHeader(http.StatusNotFound)
		default:
			fmt.Fprint(w, answer)
		}
	}))
	defer other.Close()
	from := newRemote(other.URL, "k")
	ids := map[string]string{"a": "A", "b": "B"}
	got := map[string]string{}
	for _, k := range kinds() {
		rows, err := from.rows(k, func(int) {})
		if err != nil && err != errNotOffered {
			t.Fatalf("%s: %v", k.plural, err)
		}
		for _, r := range rows {
			if k.object != "contact" {
				continue
			}
			whole, err := from.complete(k, r)
			if err != nil {
				t.Fatal(err)
			}
			body := k.body(whole, ids)
			got[body.text("email")] = string(body["segments"]) + string(body["properties"])
		}
	}
	if len(got) != 2 || got["one@example.com"] != `["A","B"]{"plan":"pro"}` || got["two@example.com"] != `["A"]{}` {
		t.Errorf("%v", got)
	}
}
