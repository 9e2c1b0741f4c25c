package server

import (
	"net/http"
	"net/http/pprof"
)

// profiles answers what go tool pprof asks for: /control/pprof, the list, and
// below it the profiles of net/http/pprof under their names. The path is that
// package's own when it gets to see it.
func profiles() http.Handler {
	own := http.NewServeMux()
	own.HandleFunc("/debug/pprof/", pprof.Index)
	own.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	own.HandleFunc("/debug/pprof/profile", pprof.Profile)
	own.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	own.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		there := *r.URL
		there.Path = "/debug/pprof/" + r.PathValue("name")
		r = r.Clone(r.Context())
		r.URL = &there
		own.ServeHTTP(w.(*unmatched).ResponseWriter, r)
	})
}
