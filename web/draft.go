package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/opensend/opensend/automations"
)

// draft is what the builder changes: all of an automation that is published
// together. Its text is what PATCH /automations/{id} takes.
type draft struct {
	automations.Definition
	Deduplication *automations.Deduplication
}

// draftStep is a step in the text of a draft. Its id and its place are not an
// author's matter.
type draftStep struct {
	Key    string               `json:"key"`
	Type   automations.StepType `json:"type"`
	Config json.RawMessage      `json:"config"`
}

// text is the draft as JSON for people: a line for each connection and small
// step.
func (d draft) text() string {
	var out strings.Builder
	out.WriteString("{\n  \"deduplication\": ")
	out.Write(encodeJSON(d.Deduplication))
	out.WriteString(",\n  \"steps\": [")
	for i, s := range d.Steps {
		item := encodeJSON(draftStep{s.Key, s.Type, plainJSON(s.Config)})
		if len(item) > 110 {
			var long bytes.Buffer
			json.Indent(&long, item, "    ", "  ")
			item = long.Bytes()
		}
		listItem(&out, i, item)
	}
	out.WriteString("\n  ],\n  \"connections\": [")
	for i, c := range d.Connections {
		listItem(&out, i, encodeJSON(c))
	}
	if len(d.Connections) > 0 {
		out.WriteString("\n  ")
	}
	out.WriteString("]\n}\n")
	return out.String()
}

// plainJSON is JSON in which <, > and & are written as they are.
func plainJSON(raw json.RawMessage) json.RawMessage {
	var out bytes.Buffer
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' || i+1 == len(raw) {
			out.WriteByte(raw[i])
			continue
		}
		plain := map[string]byte{"u003c": '<', "u003e": '>', "u0026": '&'}[string(bytes.ToLower(raw[i+1:min(i+6, len(raw))]))]
		if plain != 0 {
			out.WriteByte(plain)
			i += 5
			continue
		}
		out.Write(raw[i : i+2])
		i++
	}
	return out.Bytes()
}

func listItem(out *strings.Builder, i int, item []byte) {
	if i > 0 {
		out.WriteByte(',')
	}
	out.WriteString("\n    ")
	out.Write(item)
}

// readDraft reads a draft's text. What the steps mean together is for Compile
// to judge.
func readDraft(text string) (d draft, err error) {
	f, err := automations.DecodeObject([]byte(text))
	if err != nil {
		return d, err
	}
	var p automations.Problems
	f.Unknown(&p, "deduplication", "steps", "connections")
	d.Deduplication, err = automations.ParseDeduplication(f.Raw("deduplication"))
	p.Include("deduplication", err)
	d.Definition, err = automations.ParseDefinition(f.Array(&p, "steps"), f.Array(&p, "connections"), "", newID)
	p.Include("", err)
	if len(d.Steps) == 0 {
		p.Add("", "steps", "an automation needs steps; the first is its trigger")
	}
	if err := p.Err(); err != nil {
		return d, err
	}
	d.Definition = d.Connected()
	return d, nil
}

func newID() automations.ID { return uuid.Must(uuid.NewV7()) }

// withIDsOf gives steps the ids that the steps of the same keys have already.
func (d draft) withIDsOf(now automations.Definition) draft {
	d.Steps = slices.Clone(d.Steps)
	for i, s := range d.Steps {
		if at := now.Index(s.Key); at >= 0 {
			d.Steps[i].ID = now.Steps[at].ID
		}
	}
	return d
}

// stepProblem is something wrong with a draft.
type stepProblem struct {
	Step    string // key; "" when no step is to blame
	Where   string // within the step
	Message string
}

var stepPath = regexp.MustCompile(`^steps\[(\d+)\]\.?(.*)$`)

// problemsOf says what Compile, or the API, finds wrong with a draft.
func (d draft) problemsOf(err error) (list []stepProblem) {
	p := problemOf(err)
	if p == nil {
		return nil
	}
	details := p.Details
	if len(details) == 0 {
		details = []automations.Detail{{Message: p.Message}}
	}
	for _, detail := range details {
		problem := stepProblem{Where: detail.Path, Message: detail.Message}
		if m := stepPath.FindStringSubmatch(detail.Path); m != nil {
			if n, err := strconv.Atoi(m[1]); err == nil && n < len(d.Steps) {
				problem.Step, problem.Where = d.Steps[n].Key, strings.TrimPrefix(m[2], "config.")
			}
		}
		if detail.Line > 0 {
			problem.Message += fmt.Sprintf(" (line %d, column %d)", detail.Line, detail.Column)
		}
		list = append(list, problem)
	}
	return list
}

// change is one difference between two editions of an automation.
type change struct {
	Kind  string // "added", "removed" or "changed"
	What  string
	Lines []diffLine // of a step that changed
}

// changesTo lists what is different in the other draft.
func (d draft) changesTo(other draft) (list []change) {
	for _, s := range d.Steps {
		at := other.Index(s.Key)
		if at < 0 {
			list = append(list, change{Kind: "removed", What: fmt.Sprintf("step %s (%s)", s.Key, stepTypeWords[s.Type])})
			continue
		}
		was, now := stepText(s), stepText(other.Steps[at])
		if was != now {
			list = append(list, change{"changed", "step " + s.Key, diffLines(was, now)})
		}
	}
	for _, s := range other.Steps {
		if d.Index(s.Key) < 0 {
			list = append(list, change{Kind: "added", What: fmt.Sprintf("step %s (%s)", s.Key, stepTypeWords[s.Type]), Lines: diffLines("", stepText(s))})
		}
	}
	was, now := d.Connected().Connections, other.Connected().Connections
	for _, c := range was {
		if !slices.Contains(now, c) {
			list = append(list, change{Kind: "removed", What: connectionWords(c)})
		}
	}
	for _, c := range now {
		if !slices.Contains(was, c) {
			list = append(list, change{Kind: "added", What: connectionWords(c)})
		}
	}
	if a, b := string(encodeJSON(d.Deduplication)), string(encodeJSON(other.Deduplication)); a != b {
		list = append(list, change{Kind: "changed", What: "deduplication", Lines: diffLines(a, b)})
	}
	return list
}

func stepText(s automations.Step) string {
	return string(s.Type) + "\n" + prettyJSON(plainJSON(s.Config))
}

func connectionWords(c automations.Connection) string {
	words := c.From + " → " + c.To
	if label := wayWords[c.Type]; label != "" {
		words = c.From + " " + label + " → " + c.To
	}
	return "connection " + words
}

// diffLine is a line of one or both of two texts.
type diffLine struct {
	Mark string // "+", "−" or ""
	Text string
}

// maxDiffLines bounds the texts that are compared line by line.
const maxDiffLines = 600

// diffLines compares two texts by their longest common run of lines.
func diffLines(was, now string) (lines []diffLine) {
	a, b := textLines(was), textLines(now)
	if len(a) > maxDiffLines || len(b) > maxDiffLines {
		return []diffLine{{"", "too long to compare line by line"}}
	}
	common := make([][]int, len(a)+1) // common[i][j]: lines that a[i:] and b[j:] share
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if common[i][j] = max(common[i+1][j], common[i][j+1]); a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			}
		}
	}
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			lines = append(lines, diffLine{"", a[i]})
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			lines = append(lines, diffLine{"−", a[i]})
			i++
		default:
			lines = append(lines, diffLine{"+", b[j]})
			j++
		}
	}
	return nearChanges(lines)
}

// nearChanges leaves out lines that are far from any change.
func nearChanges(lines []diffLine) (near []diffLine) {
	const around = 2
	shown := make([]bool, len(lines))
	for i, line := range lines {
		for j := max(i-around, 0); line.Mark != "" && j < min(i+around+1, len(lines)); j++ {
			shown[j] = true
		}
	}
	for i, line := range lines {
		switch {
		case shown[i]:
			near = append(near, line)
		case i == 0 || shown[i-1]:
			near = append(near, diffLine{"", "…"})
		}
	}
	return near
}

func textLines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}
