package automations

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// Table is a CSV file about people: a first line that names the columns, and
// rows below it.
type Table struct {
	Head []string // with underscores for spaces, which templates cannot name
	Rows []TableRow
}

// TableRow is a row of a table, with the line that it begins at.
type TableRow struct {
	Line  int
	Cells []string
}

// ReadTable reads a file in UTF-8, its columns kept apart by commas, semicolons
// or tabs. Its errors are for who has made the file.
func ReadTable(raw []byte) (t Table, err error) {
	refuse := func(format string, args ...any) (Table, error) {
		return Table{}, Errorf(KindInvalid, "", format, args...)
	}
	raw = bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf")) // spreadsheets write a byte order mark
	if !utf8.Valid(raw) {
		return refuse("the file is not in UTF-8; save it once more as CSV in UTF-8")
	}
	in := csv.NewReader(bytes.NewReader(raw))
	in.FieldsPerRecord, in.Comma = -1, separator(raw)
	in.TrimLeadingSpace = in.Comma != '\t' // else empty cells would go
	for {
		cells, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if wrong, ok := errors.AsType[*csv.ParseError](err); ok {
			return refuse("line %d is not CSV: %s", wrong.Line, wrong.Err)
		}
		if err != nil {
			return Table{}, err
		}
		if t.Head == nil {
			for _, name := range cells {
				t.Head = append(t.Head, strings.Join(strings.Fields(name), "_"))
			}
			continue
		}
		line, _ := in.FieldPos(0)
		t.Rows = append(t.Rows, TableRow{line, cells})
	}
	if len(t.Head) == 0 {
		return refuse("the file is empty; its first line must name the columns, one of them email")
	}
	return t, nil
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
	ColumnEmail        = "email"
	ColumnFirstName    = "first_name"
	ColumnLastName     = "last_name"
	ColumnUnsubscribed = "unsubscribed"
	ColumnProperty     = "property" // of the name that the first line has
	ColumnNothing      = ""         // it is left out
)

// columnNames are the names by which columns are known, without case and with
// one underscore for whatever else is between words.
var columnNames = map[string]string{
	"email": ColumnEmail, "e_mail": ColumnEmail, "email_address": ColumnEmail, "mail": ColumnEmail,
	"first_name": ColumnFirstName, "firstname": ColumnFirstName, "given_name": ColumnFirstName,
	"last_name": ColumnLastName, "lastname": ColumnLastName, "surname": ColumnLastName, "family_name": ColumnLastName,
	"unsubscribed": ColumnUnsubscribed,
	"id":           ColumnNothing, "created_at": ColumnNothing, "updated_at": ColumnNothing, "": ColumnNothing, // of other programs
}

// Columns says what the columns most likely mean.
func (t Table) Columns() []string {
	kinds := make([]string, len(t.Head))
	for i, name := range t.Head {
		words := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return r == '_' || r == '-' })
		kind, known := columnNames[strings.Join(words, "_")]
		if !known || kind != ColumnNothing && slices.Contains(kinds[:i], kind) {
			kind = ColumnProperty
		}
		kinds[i] = kind
	}
	return kinds
}

// Size is how many bytes the cells have.
func (row TableRow) Size() (n int) {
	for _, cell := range row.Cells {
		n += len(cell)
	}
	return n
}

// Contact is the row as the API takes contacts. Empty cells say nothing. texts
// are the properties that are declared to be texts: 0123 is no number there.
func (row TableRow) Contact(head, kinds []string, texts map[string]bool) (map[string]json.RawMessage, error) {
	if len(row.Cells) > len(head) {
		return nil, Errorf(KindInvalid, "", "the row has %d cells and the first line %d", len(row.Cells), len(head))
	}
	contact, properties := map[string]json.RawMessage{}, map[string]json.RawMessage{}
	for i, cell := range row.Cells {
		if cell = strings.TrimSpace(cell); cell == "" {
			continue
		}
		switch kinds[i] {
		case ColumnEmail, ColumnFirstName, ColumnLastName:
			contact[kinds[i]] = QuoteText(cell)
		case ColumnUnsubscribed:
			yes, err := yesOrNo(cell)
			if err != nil {
				return nil, err
			}
			contact[kinds[i]] = yes
		case ColumnProperty:
			properties[head[i]] = PropertyValue(cell)
			if texts[head[i]] {
				properties[head[i]] = QuoteText(cell)
			}
		}
	}
	if len(properties) > 0 {
		contact["properties"], _ = EncodeJSON(properties) // each is JSON
	}
	return contact, nil
}

func yesOrNo(cell string) (json.RawMessage, error) {
	switch strings.ToLower(cell) {
	case "true", "yes", "y", "t", "1":
		return json.RawMessage("true"), nil
	case "false", "no", "n", "f", "0":
		return json.RawMessage("false"), nil
	}
	return nil, Errorf(KindInvalid, "", "unsubscribed must be true or false; it is %.40q", cell)
}
