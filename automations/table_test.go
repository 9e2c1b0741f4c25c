package automations

import (
	"encoding/json"
	"strings"
	"testing"
)

// Files as spreadsheets and other programs write them.
func TestReadTable(t *testing.T) {
	for file, want := range map[string]string{
		"email\na@b.de\n": `{"email":"a@b.de"}`,
		"\xef\xbb\xbfE-Mail;First Name;Plan Name;n\r\na@b.de;\"A; B\";pro;5\r\n":  `{"email":"a@b.de","first_name":"A; B","properties":{"Plan_Name":"pro","n":5}}`,
		"Mail\tsurname\tunsubscribed\tzip\ty\na@b.de\t\tYes\t1234\t":              `{"email":"a@b.de","properties":{"zip":"1234"},"unsubscribed":true}`,
		"email, first_name, id, created_at,\n\na@b.de, \"A\nB\", 7, 2020-01-01,x": `{"email":"a@b.de","first_name":"A\nB"}`,
		"email,first_name,EMAIL\na@b.de\n":                                        `{"email":"a@b.de"}`,
		"email,EMAIL\na@b.de,b@b.de\n":                                            `{"email":"a@b.de","properties":{"EMAIL":"b@b.de"}}`,
		"email\na@b.de,x\n":                                                       "the row has 2 cells and the first line 1",
		"email,unsubscribed\na@b.de,perhaps\n":                                    `unsubscribed must be true or false; it is "perhaps"`,
		"":                                                                        "the file is empty",
		"email\n\xfc\n":                                                           "not in UTF-8",
		"email\n\"a@b.de\n":                                                       "line 2 is not CSV",
	} {
		table, err := ReadTable([]byte(file))
		got := ""
		if err == nil {
			var contact map[string]json.RawMessage
			contact, err = table.Rows[0].Contact(table.Head, table.Columns(), map[string]bool{"zip": true})
			raw, _ := json.Marshal(contact)
			got = string(raw)
		}
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) || err == nil && got != want {
			t.Errorf("%q: %s, want %s", file, got, want)
		}
	}
}
