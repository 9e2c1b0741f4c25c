package schema

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// suiteGroup is one schema of the official test suite with its cases.
type suiteGroup struct {
	Description string          `json:"description"`
	Schema      json.RawMessage `json:"schema"`
	Tests       []struct {
		Description string          `json:"description"`
		Data        json.RawMessage `json:"data"`
		Valid       bool            `json:"valid"`
	} `json:"tests"`
}

// notOurs says why a file of the suite asks for what is left out by design.
var notOurs = map[string]string{
	"format.json": "formats are asserted here, which the suite leaves to the implementation",
}

// TestOfficialSuite runs the required cases of the JSON Schema Test Suite
// through the guard. No answer may be wrong, and the guard may refuse only
// schemas that refer to other documents.
func TestOfficialSuite(t *testing.T) {
	dir := os.Getenv("JSON_SCHEMA_SUITE")
	if dir == "" {
		t.Skip("SKIPPED: set JSON_SCHEMA_SUITE to a folder with draft7 and draft2020-12 of the JSON Schema Test Suite; .ci/run fetches one")
	}
	for name, draft := range map[string]string{"draft7": draft7, "draft2020-12": draft2020} {
		files, err := filepath.Glob(filepath.Join(dir, name, "*.json"))
		if err != nil || len(files) < 30 {
			t.Fatalf("%d files in %s: %v", len(files), name, err)
		}
		total, passed, refused, left := 0, 0, 0, 0
		for _, file := range files {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var groups []suiteGroup
			if err := json.Unmarshal(raw, &groups); err != nil {
				t.Fatal(err)
			}
			for _, group := range groups {
				total += len(group.Tests)
				if notOurs[filepath.Base(file)] != "" {
					left += len(group.Tests)
					continue
				}
				s, err := Compile(withDraft(t, group.Schema, draft))
				if err != nil {
					if !strings.Contains(err.Error(), "leads out of the schema") {
						t.Errorf("%s: %s is refused: %v", filepath.Base(file), group.Description, err)
					}
					refused += len(group.Tests)
					continue
				}
				for _, c := range group.Tests {
					if err := s.Validate("x", c.Data); (err == nil) != c.Valid {
						t.Errorf("%s %s: %s: %s: %v", name, filepath.Base(file), group.Description, c.Description, err)
						continue
					}
					passed++
				}
			}
		}
		t.Logf("%s: %d of %d cases passed, %d left out, %d refused", name, passed, total, left, refused)
		if passed < total*8/10 {
			t.Errorf("%s: only %d of %d cases were tried", name, passed, total)
		}
	}
}

// withDraft makes the schema say its draft, which keeps it from being read as a
// flat map, and wraps true and false.
func withDraft(t *testing.T, raw json.RawMessage, draft string) json.RawMessage {
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil || members == nil {
		members = map[string]json.RawMessage{"allOf": json.RawMessage("[" + string(raw) + "]")}
	}
	if members["$schema"] == nil {
		members["$schema"] = json.RawMessage(`"` + draft + `"`)
	}
	out, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
