package server

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// apiDocument is openapi.yaml and the schemas in it. OpenAPI 3.1 schemas are
// JSON Schema 2020-12, so the library that checks payloads checks exchanges.
type apiDocument struct {
	tree     map[string]any
	mux      *http.ServeMux // to find a request's route
	compiler *jsonschema.Compiler

	mu      sync.Mutex
	schemas map[string]*jsonschema.Schema // by pointer
	used    map[string]bool               // "METHOD /path status" that was validated
}

const documentURL = "mem:///openapi.json"

var document = sync.OnceValue(func() *apiDocument {
	d := &apiDocument{mux: http.NewServeMux(), compiler: jsonschema.NewCompiler(), schemas: map[string]*jsonschema.Schema{}, used: map[string]bool{}}
	if err := yaml.Unmarshal(openapiYAML, &d.tree); err != nil {
		panic(err)
	}
	raw, err := json.Marshal(d.tree)
	if err != nil {
		panic(err)
	}
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		panic(err)
	}
	d.compiler.AssertFormat()
	if err := d.compiler.AddResource(documentURL, parsed); err != nil {
		panic(err)
	}
	for _, rt := range routes() {
		for _, prefix := range rt.prefixes() {
			d.mux.Handle(rt.method+" "+prefix+rt.path, http.NotFoundHandler())
		}
	}
	return d
})

// at is the value of the document under the keys, with references followed;
// nil when there is none.
func (d *apiDocument) at(keys ...string) any {
	var v any = d.tree
	for _, key := range keys {
		m, _ := v.(map[string]any)
		if v = m[key]; v == nil {
			return nil
		}
		if m, ok := v.(map[string]any); ok {
			if ref, ok := m["$ref"].(string); ok {
				v = d.at(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
			}
		}
	}
	return v
}

// operation names the operation of a request; empty when there is none.
func (d *apiDocument) operation(r *http.Request) (method, path string) {
	_, pattern := d.mux.Handler(r)
	method, path, _ = strings.Cut(pattern, " ")
	if rest, ok := strings.CutPrefix(path, "/api/"); ok {
		path = "/" + rest
	}
	return strings.ToLower(method), path
}

func pointer(keys ...string) string {
	escape := strings.NewReplacer("~", "~0", "/", "~1", "%", "%25", "{", "%7B", "}", "%7D")
	for i := range keys {
		keys[i] = escape.Replace(keys[i])
	}
	return documentURL + "#/" + strings.Join(keys, "/")
}

func (d *apiDocument) schema(t testing.TB, keys ...string) *jsonschema.Schema {
	at := pointer(keys...)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.schemas[at] == nil {
		s, err := d.compiler.Compile(at)
		if err != nil {
			t.Fatalf("%s: %v", at, err)
		}
		d.schemas[at] = s
	}
	return d.schemas[at]
}

// checkExchange holds a request and its answer to openapi.yaml: what was taken
// must be allowed there, and what was answered must be described.
func checkExchange(t testing.TB, r *http.Request, body string, rec *httptest.ResponseRecorder) {
	t.Helper()
	d := document()
	method, path := d.operation(r)
	if path == "" {
		return // no such route
	}
	operation := []string{"paths", path, method}
	status := strconv.Itoa(rec.Code)
	responses := append(operation, "responses")
	if d.at(append(responses, status)...) == nil {
		if rec.Code < 400 {
			t.Errorf("%s %s: the answer %s is not in openapi.yaml", method, path, status)
			return
		}
		status = "default"
	}
	d.mu.Lock()
	d.used[method+" "+path+" "+status] = true
	d.mu.Unlock()
	media, _, err := mime.ParseMediaType(rec.Header().Get("Content-Type"))
	if err != nil || d.at(append(responses, status, "content", media)...) == nil {
		t.Errorf("%s %s %s: an answer of %q is not in openapi.yaml", method, path, status, media)
		return
	}
	if media == "application/json" {
		keys := append(responses, status, "content", media, "schema")
		if ref, ok := d.tree["paths"].(map[string]any)[path].(map[string]any)[method].(map[string]any)["responses"].(map[string]any)[status].(map[string]any)["$ref"].(string); ok {
			keys = append(strings.Split(strings.TrimPrefix(ref, "#/"), "/"), "content", media, "schema")
		}
		checkAgainst(t, d.schema(t, keys...), rec.Body.Bytes(), method+" "+path+" answered")
	}
	if rec.Code < 300 && body != "" {
		media = "application/json"
		if d.at(append(operation, "requestBody", "content", media)...) == nil {
			return // nobody reads it, or it is not JSON
		}
		checkAgainst(t, d.schema(t, append(operation, "requestBody", "content", media, "schema")...), withoutNulls(t, body), method+" "+path+" took")
	}
}

// checked holds what passes through a handler to openapi.yaml.
func checked(t testing.TB, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		checkExchange(t, r, string(body), rec)
		checkQuery(t, r)
		maps.Copy(w.Header(), rec.Header())
		w.WriteHeader(rec.Code)
		w.Write(rec.Body.Bytes())
	})
}

// TestMain fails a full run that has not seen every operation succeed.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 && flag.Lookup("test.run").Value.String() == "" && flag.Lookup("test.bench").Value.String() == "" && flag.Lookup("test.fuzz").Value.String() == "" {
		for _, rt := range routes() {
			succeeded := false
			for _, status := range []string{"200", "201", "202"} {
				succeeded = succeeded || document().used[strings.ToLower(rt.method)+" "+rt.path+" "+status]
			}
			if !succeeded {
				fmt.Printf("no test has seen %s %s succeed\n", rt.method, rt.path)
				code = 1
			}
		}
	}
	os.Exit(code)
}

// withoutNulls leaves out the members of a body that are null: null means
// absent, whatever the member is called.
func withoutNulls(t testing.TB, body string) []byte {
	dec := json.NewDecoder(strings.NewReader(body))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		t.Errorf("a body that is not JSON was taken: %v\n%s", err, body)
	}
	var strip func(any)
	strip = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			maps.DeleteFunc(v, func(_ string, member any) bool { return member == nil })
			for _, member := range v {
				strip(member)
			}
		case []any:
			for _, item := range v {
				strip(item)
			}
		}
	}
	strip(v)
	return encode(v)
}

func checkAgainst(t testing.TB, s *jsonschema.Schema, body []byte, what string) {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err == nil {
		err = s.Validate(value)
	}
	if err != nil {
		t.Errorf("%s what openapi.yaml does not allow: %v\n%s", what, err, body)
	}
}

// checkQuery holds the parameters of a request to openapi.yaml.
func checkQuery(t testing.TB, r *http.Request) {
	t.Helper()
	d := document()
	method, path := d.operation(r)
	parameters, _ := d.at("paths", path, method, "parameters").([]any)
	for name := range r.URL.Query() {
		if !slices.ContainsFunc(parameters, func(p any) bool {
			m := p.(map[string]any)
			if ref, ok := m["$ref"].(string); ok {
				m = d.at(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...).(map[string]any)
			}
			return m["name"] == name && m["in"] == "query"
		}) {
			t.Errorf("%s %s took the parameter %s, which is not in openapi.yaml", method, path, name)
		}
	}
}

// Every route is in the document with its permission, and every entry of the
// document is a route.
func TestOpenAPICoversTheRoutes(t *testing.T) {
	d := document()
	known := map[string]bool{}
	for _, rt := range routes() {
		method := strings.ToLower(rt.method)
		known[method+" "+rt.path] = true
		op, _ := d.at("paths", rt.path, method).(map[string]any)
		if op == nil {
			t.Errorf("%s %s is not in openapi.yaml", rt.method, rt.path)
			continue
		}
		want := map[access]any{accessFull: nil, accessSending: "sending_access", accessEvents: "events_access", accessMetrics: "metrics_access", accessNone: nil, accessProvider: nil}[rt.access]
		if op["x-permission"] != want {
			t.Errorf("%s %s: x-permission is %v, want %v", rt.method, rt.path, op["x-permission"], want)
		}
		if open := op["security"] != nil; open != (rt.access == accessNone || rt.access == accessProvider) {
			t.Errorf("%s %s: security is %v", rt.method, rt.path, op["security"])
		}
		if atRoot := d.at("paths", rt.path, "servers") != nil; atRoot != (rt.door != openSendDoor) {
			t.Errorf("%s %s: the document has the wrong prefixes", rt.method, rt.path)
		}
	}
	ids := map[any]bool{}
	for path, item := range d.tree["paths"].(map[string]any) {
		for method, op := range item.(map[string]any) {
			if method == "servers" || method == "parameters" {
				continue
			}
			if !known[method+" "+path] {
				t.Errorf("openapi.yaml has %s %s, which is no route", method, path)
			}
			id := op.(map[string]any)["operationId"]
			if ids[id] {
				t.Errorf("two operations are called %v", id)
			}
			ids[id] = true
		}
	}
	for name := range d.at("components", "schemas").(map[string]any) {
		d.schema(t, "components", "schemas", name)
		if !bytes.Contains(openapiYAML, []byte("#/components/schemas/"+name+"'")) {
			t.Errorf("nothing refers to the schema %s", name)
		}
	}
}

func TestOpenAPIIsServed(t *testing.T) {
	r := newRig(t)
	a := r.send(r.public, "", http.MethodGet, "/openapi.json", "").want(200).has("openapi", "3.1.0")
	if a.header.Get("Content-Type") != "application/json" {
		t.Error(a.header)
	}
	page := r.send(r.public, "", http.MethodGet, "/docs", "").want(200)
	text := string(page.raw)
	if strings.Contains(text, "http://") || strings.Contains(text, "https://") || strings.Contains(text, "<script") {
		t.Error("the page refers to something outside")
	}
	if policy := page.header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-") {
		t.Error(policy)
	}
	for _, rt := range routes() {
		id := document().at("paths", rt.path, strings.ToLower(rt.method), "operationId")
		if strings.Count(text, `<article id="`+id.(string)+`">`) != 1 {
			t.Errorf("%s %s is not on the page once", rt.method, rt.path)
		}
	}
	for part := range strings.SplitSeq(text, ` id="`) {
		name, _, _ := strings.Cut(part, `"`)
		if !strings.HasPrefix(part, "<") && strings.Count(text, ` id="`+name+`"`) != 1 {
			t.Errorf("#%s is on the page more than once", name)
		}
	}
	for part := range strings.SplitSeq(text, `href="#`) {
		name, _, _ := strings.Cut(part, `"`)
		if !strings.HasPrefix(part, "<") && !strings.Contains(text, `id="`+name+`"`) {
			t.Errorf("a link leads to #%s, which is not there", name)
		}
	}
}
