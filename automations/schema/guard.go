package schema

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// guard walks over a decoded document.
type guard struct {
	seen    int // values
	objects int
}

// check refuses documents that are too deep or too large to be compiled, and
// references out of them.
func (g *guard) check(v any, path string, depth int) error {
	switch v := v.(type) {
	case map[string]any:
		if g.objects++; g.objects > maxObjects {
			return invalid("schema", "the schema has more than %d subschemas", maxObjects)
		}
		if depth > maxDepth {
			return invalid("schema", "the schema nests deeper than %d levels", maxDepth)
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if err := g.member(key, v[key], path, depth); err != nil {
				return err
			}
		}
	case []any:
		for i, item := range v {
			if err := g.check(item, fmt.Sprintf("%s[%d]", path, i), depth+1); err != nil {
				return err
			}
		}
	case json.Number:
		if isHuge(string(v)) {
			return invalid(path, "the number has too many digits")
		}
	}
	return nil
}

func (g *guard) member(key string, value any, path string, depth int) error {
	below := path + "." + clip(key)
	if text, ok := value.(string); ok {
		switch key {
		case "$schema":
			if base := strings.TrimSuffix(text, "#"); base != draft7 && base != draft2020 {
				return invalid(below, "%q is not known; use %s or %s", clip(text), draft2020, draft7)
			}
		case "$ref", "$dynamicRef", "$recursiveRef":
			if !strings.HasPrefix(text, "#") {
				return invalid(below, "%q leads out of the schema; only references that begin with # are followed", clip(text))
			}
		}
	}
	return g.check(value, below, depth+1)
}

// hugeNumber finds a number that would take long to handle, and counts the
// values on the way.
func (g *guard) hugeNumber(v any, path string) string {
	g.seen++
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			if found := g.hugeNumber(value, path+"."+clip(key)); found != "" {
				return found
			}
		}
	case []any:
		for i, item := range v {
			if found := g.hugeNumber(item, path+"."+strconv.Itoa(i)); found != "" {
				return found
			}
		}
	case json.Number:
		if isHuge(string(v)) {
			return path
		}
	}
	return ""
}

// isHuge reports more than 64 digits or an exponent beyond 308: the library
// expands numbers to fractions.
func isHuge(number string) bool {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(number), "e")
	if len(mantissa) > 66 { // a sign and a point beside 64 digits
		return true
	}
	if exponent == "" {
		return false
	}
	n, err := strconv.Atoi(exponent)
	return err != nil || n > 308 || n < -308
}

// weigh bounds the work of a compiled schema. Every value of a payload meets
// each path through the schema at most once, so the number of paths is the
// cost; it explodes when references double at every step. A schema that
// contains itself may do so through one branch only: through two, the paths
// double with every level of the payload.
func weigh(root *jsonschema.Schema) (int, error) {
	w := &weigher{index: map[*jsonschema.Schema]int{}, low: map[*jsonschema.Schema]int{}, cost: map[*jsonschema.Schema]int{}}
	w.visit(root)
	switch {
	case w.branching != "":
		return 0, invalid(w.branching, "the schema contains itself through more than one branch")
	case w.cost[root] >= maxCost:
		return 0, invalid("schema", "the schema has too many combinations of subschemas")
	}
	return w.cost[root], nil
}

// weigher finds the circles of the schema by Tarjan's algorithm; its recursion
// is bounded by the number of subschemas.
type weigher struct {
	index, low map[*jsonschema.Schema]int
	stack      []*jsonschema.Schema
	cost       map[*jsonschema.Schema]int // of what has left the stack
	branching  string                     // where a circle branches
}

func (w *weigher) visit(s *jsonschema.Schema) {
	n := len(w.index) + 1
	w.index[s], w.low[s] = n, n
	w.stack = append(w.stack, s)
	for _, child := range children(s) {
		if w.index[child] == 0 {
			w.visit(child)
			w.low[s] = min(w.low[s], w.low[child])
		} else if _, done := w.cost[child]; !done {
			w.low[s] = min(w.low[s], w.index[child])
		}
	}
	if w.low[s] == n {
		at := slices.Index(w.stack, s)
		w.settle(w.stack[at:])
		w.stack = w.stack[:at]
	}
}

// settle weighs one circle, or one schema that is in none: together they cost
// what each costs besides the others.
func (w *weigher) settle(circle []*jsonschema.Schema) {
	total := 0
	for _, s := range circle {
		total++
		if s.Enum != nil {
			total += len(s.Enum.Values)
		}
		within := 0
		for _, child := range children(s) {
			if slices.Contains(circle, child) {
				within++
			} else {
				total = min(total+w.cost[child], maxCost)
			}
		}
		if within > 1 {
			_, fragment, _ := strings.Cut(s.Location, "#")
			w.branching = "schema" + clip(strings.ReplaceAll(fragment, "/", "."))
		}
	}
	for _, s := range circle {
		w.cost[s] = total
	}
}

// children are the subschemas that a schema applies, as often as it does.
func children(s *jsonschema.Schema) (all []*jsonschema.Schema) {
	add := func(subs ...*jsonschema.Schema) {
		for _, sub := range subs {
			if sub != nil {
				all = append(all, sub)
			}
		}
	}
	addAny := func(v any) {
		switch v := v.(type) {
		case *jsonschema.Schema:
			add(v)
		case []*jsonschema.Schema:
			add(v...)
		}
	}
	add(s.Ref, s.RecursiveRef, s.Not, s.If, s.Then, s.Else, s.PropertyNames, s.UnevaluatedProperties,
		s.Contains, s.Items2020, s.UnevaluatedItems, s.ContentSchema)
	if s.DynamicRef != nil {
		add(s.DynamicRef.Ref)
	}
	for _, list := range [][]*jsonschema.Schema{s.AllOf, s.AnyOf, s.OneOf, s.PrefixItems} {
		add(list...)
	}
	addAny(s.AdditionalProperties)
	addAny(s.Items)
	addAny(s.AdditionalItems)
	for _, sub := range s.Properties {
		add(sub)
	}
	for _, sub := range s.PatternProperties {
		add(sub)
	}
	for _, sub := range s.DependentSchemas {
		add(sub)
	}
	for _, sub := range s.Dependencies {
		addAny(sub)
	}
	return all
}

// maxRegexpWork bounds instructions times bytes of one match.
const maxRegexpWork = 8 << 20

// bounded is a pattern that matches no text it would take long to match.
type bounded struct {
	*regexp.Regexp
	size int
}

func boundedRegexp(pattern string) (jsonschema.Regexp, error) {
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, err
	}
	prog, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil, err
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, err
	}
	return &bounded{re, len(prog.Inst)}, nil
}

func (b *bounded) MatchString(s string) bool {
	return len(s)*b.size <= maxRegexpWork && b.Regexp.MatchString(s)
}
