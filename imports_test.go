package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/opensend/opensend"

// arrows is the plan of the house: who may import whom. Everything points
// down; a new package must be put here.
var arrows = map[string][]string{
	"":                     {"/cmd"},
	"/cmd":                 {"/server", "/web", "/automations/engine", "/automations/inbound", "/storage", "/automations", "/automations/schema", "/automations/mail"},
	"/server":              {"/automations/engine", "/automations/inbound", "/storage", "/automations", "/automations/schema", "/automations/mail", "/metrics"},
	"/web":                 {"/automations/engine", "/storage", "/automations", "/automations/schema", "/automations/mail"},
	"/automations/engine":  {"/storage", "/automations", "/automations/inbound", "/automations/schema", "/automations/mail"},
	"/storage":             {"/automations", "/metrics"},
	"/storage/storagetest": {"/storage"},
	"/automations/schema":  {"/automations"},
	"/automations":         {"/automations/mail"},
	"/automations/mail":    {},
	"/metrics":             {},
	"/automations/inbound": {"/automations", "/automations/mail"},
	"/internal/bench":      {"/storage", "/automations", "/internal/port"},
	"/internal/torture":    {"/storage", "/automations", "/internal/port"},
	"/internal/port":       {},
}

// only names who may import what is fenced in.
var only = map[string]string{
	"go.etcd.io/bbolt":       "/storage",
	"github.com/spf13/cobra": "/cmd",
	"github.com/spf13/viper": "/cmd",
}

type listed struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,Deps", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; seen++ {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		checkPackage(t, p)
	}
	if seen != len(arrows) {
		t.Errorf("%d packages, %d on the map", seen, len(arrows))
	}
}

func checkPackage(t *testing.T, p listed) {
	name := strings.TrimPrefix(p.ImportPath, module)
	allowed, known := arrows[name]
	if !known {
		t.Errorf("%s is not on the map", p.ImportPath)
	}
	for _, path := range p.Imports {
		if own, ok := strings.CutPrefix(path, module); ok && !slices.Contains(allowed, own) {
			t.Errorf("%s must not import %s", p.ImportPath, path)
		}
		for fenced, owner := range only {
			if (path == fenced || strings.HasPrefix(path, fenced+"/")) && name != owner {
				t.Errorf("%s must not import %s: only %s may", p.ImportPath, path, owner)
			}
		}
	}
	if name == "" && slices.Contains(p.Deps, "testing") {
		t.Error("the program links package testing")
	}
}
