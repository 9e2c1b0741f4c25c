package schema

import (
	"errors"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/opensend/opensend/automations"
)

// maxProblems bounds the details of one answer.
const maxProblems = 50

// compileError says in which place the library did not understand a schema.
func compileError(err error) error {
	if bad, ok := errors.AsType[*jsonschema.SchemaValidationError](err); ok {
		if failure, ok := errors.AsType[*jsonschema.ValidationError](bad.Err); ok {
			if details := leaves(failure, "schema", nil); len(details) > 0 {
				tidy := sorted(details)
				return &automations.Error{
					Kind: automations.KindInvalid, Code: "event_schema_invalid", Field: tidy[0].Path,
					Msg: tidy[0].Path + ": " + tidy[0].Message, Details: tidy,
				}
			}
		}
	}
	text := strings.ReplaceAll(err.Error(), location+"#", "schema")
	return invalid("schema", "%s", clip(strings.ReplaceAll(text, location, "schema")))
}

// problems lists what is wrong with a payload.
func problems(failure *jsonschema.ValidationError) []automations.Detail {
	return sorted(leaves(failure, "payload", nil))
}

// leaves gathers the errors that have no cause below them. Of several that the
// library lists for alternatives, all are shown.
func leaves(failure *jsonschema.ValidationError, root string, details []automations.Detail) []automations.Detail {
	path := root
	for _, token := range failure.InstanceLocation {
		path += "." + clip(token)
	}
	for _, cause := range failure.Causes {
		details = leaves(cause, root, details)
	}
	if len(failure.Causes) > 0 {
		return details
	}
	switch k := failure.ErrorKind.(type) {
	case *kind.Required:
		for _, name := range k.Missing {
			details = append(details, automations.Detail{Path: path + "." + clip(name), Message: "is required"})
		}
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			details = append(details, automations.Detail{Path: path + "." + clip(name), Message: "is not allowed"})
		}
	default:
		text := failure.ErrorKind.LocalizedString(message.NewPrinter(language.English))
		details = append(details, automations.Detail{Path: path, Message: clip(text)})
	}
	return details
}

// sorted puts details into an order that is always the same, each once; the
// library's own order is random.
func sorted(details []automations.Detail) []automations.Detail {
	slices.SortFunc(details, func(a, b automations.Detail) int {
		return strings.Compare(a.Path+"\x00"+a.Message, b.Path+"\x00"+b.Message)
	})
	details = slices.Compact(details)
	return details[:min(len(details), maxProblems)]
}
