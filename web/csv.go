package web

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/opensend/opensend/automations"
)

// Limits of a file that is imported.
const (
	maxImportBytes   = 10 << 20
	maxImportRows    = 100_000
	maxImportColumns = 100
	maxRowBytes      = 64 << 10
)

// csvRow is a row of a file, with the line that it begins at.
type csvRow struct {
	line  int
	cells []string
}

// size is how many bytes its cells have.
func (row csvRow) size() (n int) {
	for _, cell := range row.cells {
		n += len(cell)
	}
	return n
}

// readCSV reads a file in UTF-8 with a first line that names the columns, which
// commas, semicolons or tabs keep apart.
func readCSV(raw []byte) (head []string, rows []csvRow, err error) {
	refuse := func(format string, args ...any) ([]string, []csvRow, error) {
		return nil, nil, automations.Errorf(automations.KindInvalid, "", format, args...)
	}
	raw = bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf")) // spreadsheets write a byte order mark
	if !utf8.Valid(raw) {
		return refuse("the file is not in UTF-8; save it once more as CSV in UTF-8")
	}
	in := csv.NewReader(bytes.NewReader(raw))
	in.FieldsPerRecord, in.Comma = -1, separator(raw)
	for {
		cells, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if wrong, ok := errors.AsType[*csv.ParseError](err); ok {
			return refuse("line %d is not CSV: %s", wrong.Line, wrong.Err)
		}
		if err != nil {
			return nil, nil, err
		}
		if head == nil {
			head = cells
			continue
		}
		if len(rows) == maxImportRows {
			return refuse("the file has more than %s rows; split it", number(maxImportRows))
		}
		line, _ := in.FieldPos(0)
		rows = append(rows, csvRow{line, cells})
	}
	switch {
	case len(head) == 0:
		return refuse("the file is empty; its first line must name the columns, one of them email")
	case len(head) > maxImportColumns:
		return refuse("the file has %d columns; %d are read", len(head), maxImportColumns)
	case len(rows) == 0:
		return refuse("the file has a first line and nothing below it")
	}
	return head, rows, nil
}

// separator is the one that the first line has most of.
func separator(raw []byte) rune {
	line, _, _ := bytes.Cut(raw, []byte("\n"))
	most, best := 0, ','
	for _, c := range ",;\t" {
		if n := bytes.Count(line, []byte(string(c))); n > most {
			most, best = n, c
		}
	}
	return best
}

// What a column can mean.
const (
	columnEmail        = "email"
	columnFirstName    = "first_name"
	columnLastName     = "last_name"
	columnUnsubscribed = "unsubscribed"
	columnProperty     = "property" // of the name that the first line has
	columnNothing      = ""         // it is left out
)

// columnKinds lists every meaning, with its words.
var columnKinds = []struct{ Kind, Words string }{
	{columnNothing, "leave out"}, {columnEmail, "address"}, {columnFirstName, "first name"}, {columnLastName, "last name"},
	{columnUnsubscribed, "unsubscribed"}, {columnProperty, "property of this name"},
}

// columnNames are the names by which columns are known, without case and with
// one underscore for whatever else is between words.
var columnNames = map[string]string{
	"email": columnEmail, "e_mail": columnEmail, "email_address": columnEmail, "mail": columnEmail,
	"first_name": columnFirstName, "firstname": columnFirstName, "given_name": columnFirstName,
	"last_name": columnLastName, "lastname": columnLastName, "surname": columnLastName, "family_name": columnLastName,
	"unsubscribed": columnUnsubscribed,
}

// guessColumns says what the columns most likely mean.
func guessColumns(head []string) []string {
	kinds := make([]string, len(head))
	for i, name := range head {
		words := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return r == ' ' || r == '_' || r == '-' })
		kind, known := columnNames[strings.Join(words, "_")]
		switch {
		case len(words) == 0:
			kind = columnNothing
		case !known, slices.Contains(kinds[:i], kind):
			kind = columnProperty
		}
		kinds[i] = kind
	}
	return kinds
}

// contactOf is a row as the API takes contacts. Empty cells change nothing.
// texts are the properties that are declared to be texts.
func (row csvRow) contactOf(head, kinds []string, texts map[string]bool) (map[string]any, error) {
	if len(row.cells) > len(head) {
		return nil, automations.Errorf(automations.KindInvalid, "", "the row has %d cells and the first line %d", len(row.cells), len(head))
	}
	if row.size() > maxRowBytes {
		return nil, automations.Errorf(automations.KindTooLarge, "", "the row has more than %s", byteSize(maxRowBytes))
	}
	contact, properties := map[string]any{}, map[string]json.RawMessage{}
	for i, cell := range row.cells {
		if cell = strings.TrimSpace(cell); cell == "" {
			continue
		}
		switch kinds[i] {
		case columnEmail, columnFirstName, columnLastName:
			contact[kinds[i]] = cell
		case columnUnsubscribed:
			yes, err := yesOrNo(cell)
			if err != nil {
				return nil, err
			}
			contact[kinds[i]] = yes
		case columnProperty:
			name := strings.TrimSpace(head[i])
			properties[name] = automations.PropertyValue(cell)
			if texts[name] {
				properties[name] = automations.QuoteText(cell)
			}
		}
	}
	if len(properties) > 0 {
		contact["properties"] = properties
	}
	return contact, nil
}

func yesOrNo(cell string) (bool, error) {
	switch strings.ToLower(cell) {
	case "true", "yes", "y", "1":
		return true, nil
	case "false", "no", "n", "0":
		return false, nil
	}
	return false, automations.Errorf(automations.KindInvalid, "", "unsubscribed is %.40q; it must be true or false", cell)
}
