package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// mutant is a small fault in the program, put in when it is built. The text it
// replaces must stand in the file exactly once.
type mutant struct {
	name  string
	edits []edit
}

type edit struct {
	file     string // below the module
	from, to string
}

// rig is the place where a lane works.
type rig struct {
	dir     string // of its own
	binary  string // the program, with the mutants
	reader  string // this program, with the mutants; made when it is first needed
	cycles  int
	mutants []mutant
	// programs is all that there were.
	programs []*program
}

// build compiles a package of the module, with the mutants.
func (r *rig) build(name, pkg string) (binary string, err error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("torture builds the program: run it inside the module, with Go installed: %w", err)
	}
	module := strings.TrimSpace(string(out))
	overlay, err := r.overlay(module)
	if err != nil {
		return "", err
	}
	binary = filepath.Join(r.dir, name)
	cmd := exec.Command("go", "build", "-overlay", overlay, "-o", binary, pkg)
	cmd.Dir = module
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return binary, nil
}

// overlay writes the changed files and the list of them that the go command
// reads.
func (r *rig) overlay(module string) (path string, err error) {
	changed := map[string]string{} // text of the changed files
	for _, m := range r.mutants {
		for _, e := range m.edits {
			original := filepath.Join(module, e.file)
			text, known := changed[original]
			if !known {
				read, err := os.ReadFile(original)
				if err != nil {
					return "", err
				}
				text = string(read)
			}
			if strings.Count(text, e.from) != 1 {
				return "", fmt.Errorf("%q does not stand in %s exactly once: adapt the control to the program", e.from, e.file)
			}
			changed[original] = strings.Replace(text, e.from, e.to, 1)
		}
	}
	replace := map[string]string{}
	for original, text := range changed {
		replace[original] = filepath.Join(r.dir, fmt.Sprintf("mutant%d.go", len(replace)))
		if err := os.WriteFile(replace[original], []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	path = filepath.Join(r.dir, "overlay.json")
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	return path, os.WriteFile(path, list, 0o600)
}
