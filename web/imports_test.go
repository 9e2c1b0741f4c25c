package web

import (
	"bytes"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// upload sends a file with the form of the page.
func (b *browser) upload(file string, fields ...string) *http.Response {
	b.t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	for i := 0; i < len(fields); i += 2 {
		form.WriteField(fields[i], fields[i+1])
	}
	part, err := form.CreateFormFile("file", "people"+script+".csv")
	if err != nil {
		b.t.Fatal(err)
	}
	part.Write([]byte(file))
	form.Close()
	return b.do(http.MethodPost, "/dashboard/contacts/import", body.String(), "Content-Type", form.FormDataContentType())
}

func (b *browser) contacts() (n int) {
	b.t.Helper()
	err := b.d.cfg.DB.View(func(tx *storage.Tx) error {
		rows, _, err := tx.Contacts(storage.Page{Limit: 100_000}, storage.ContactFilter{})
		n = len(rows)
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return n
}

func TestImport(t *testing.T) {
	db, d := newDashboard(t)
	b := signedIn(t, d)
	segment := &automations.Segment{ID: uuid.Must(uuid.NewV7()), Name: "New" + script}
	err := db.Update(func(tx *storage.Tx) error {
		zip := &automations.ContactProperty{ID: uuid.Must(uuid.NewV7()), Key: "zip", Type: "string"}
		if err := tx.SaveContactProperty(zip); err != nil {
			return err
		}
		if err := tx.CreateContact(&automations.Contact{ID: uuid.Must(uuid.NewV7()), Email: "old@example.com", FirstName: "Old", LastName: "Stays"}); err != nil {
			return err
		}
		return tx.SaveSegment(segment)
	})
	if err != nil {
		t.Fatal(err)
	}
	b.want(b.get("/dashboard/contacts/import"), 200, "10.0 MiB and 100,000 rows")
	file := "\xef\xbb\xbfE-Mail;First Name;last_name;unsubscribed;zip;seats;" + script + "\r\n" +
		"Ada@example.com;Ada;\"L; Jr\";no;01234;12;x\r\n" +
		"old@example.com;Older;;;;;\r\n" +
		"not an address;;;;;;\r\n" +
		"\"bob@example.com\";\"two\nlines\";;;;;\r\n" +
		"eve@example.com;;;perhaps;;;\r\n" +
		"ADA@example.com;Ada2;;;;;\r\n" +
		"x@example.com;;;;;;;;;\r\n"
	resp := b.upload(file, "segment", segment.ID.String())
	b.want(resp, 303, "")
	path := resp.Header.Get("Location")
	body := b.want(b.get(path), 200, "Nothing is stored yet")
	for _, words := range []string{"<b>7</b> rows", "<b>1</b> would be created", "<b>2</b> changed", "<b>4</b> cannot be used", "Import 3 rows", `data-label="Line">4</td>`, `data-label="Line">5</td>`, `data-label="Line">7</td>`, `data-label="Line">9</td>`} {
		if !strings.Contains(body, words) {
			t.Errorf("the dry run has no %q:\n%s", words, body)
		}
	}
	if strings.Contains(body, script) || b.contacts() != 1 {
		t.Errorf("a script is let through, or a dry run has written: %d contacts", b.contacts())
	}
	kinds := url.Values{"kind": {"email", "first_name", "last_name", "unsubscribed", "property", "", ""}}
	b.want(b.post(path+"/columns", url.Values{"kind": {"email", "email"}}), 422, "two columns are the address")
	b.want(b.post(path+"/columns", url.Values{"kind": {"property"}}), 422, "choose the column that has the addresses")
	b.want(b.post(path+"/columns", url.Values{"kind": {"email", "odd"}}), 422, "a column cannot be")
	b.want(b.post(path+"/columns", kinds), 303, "")
	b.want(b.post(path+"/nonsense", nil), 404, "")
	b.want(b.post(path+"/go", nil), 303, "")
	body = b.want(b.get(path), 200, "Done: 1 contact created, 2 changed, 4 rows left out")
	if strings.Contains(body, script) {
		t.Error("a script is let through")
	}
	contactIs(t, db, "ada@example.com", func(c *automations.Contact) bool {
		return c.FirstName == "Ada2" && c.LastName == "L; Jr" && string(c.Properties["zip"]) == `"01234"` && len(c.Properties) == 1 && len(c.Segments) == 1
	})
	contactIs(t, db, "old@example.com", func(c *automations.Contact) bool { return c.FirstName == "Older" && c.LastName == "Stays" })
	b.want(b.post(path+"/go", nil), 303, "") // nothing is left
	b.want(b.get(path), 200, "Done: 1 contact created, 2 changed")

	skipped := b.upload("email,first_name\nold@example.com,Oldest\nnew@example.com,N\nnew@example.com,M\n", "existing", "skip")
	path = skipped.Header.Get("Location")
	b.want(b.get(path), 200, "<b>2</b> left alone")
	b.want(b.post(path+"/go", nil), 303, "")
	b.want(b.get(path), 200, "Done: 1 contact created, 0 changed, 2 left alone")
	contactIs(t, db, "old@example.com", func(c *automations.Contact) bool { return c.FirstName == "Older" })
	contactIs(t, db, "new@example.com", func(c *automations.Contact) bool { return c.FirstName == "N" })
}

func TestImportOfOddFiles(t *testing.T) {
	_, d := newDashboard(t)
	b := signedIn(t, d)
	for file, words := range map[string]string{
		"": "the file is empty", "email\n": "nothing below it", "email\n\xff\xfe\n": "not in UTF-8", "email,name\na@example.com,\"x\n": "is not CSV",
		strings.Repeat("x,", 200) + "\na\n": "has 201 columns", "email\n" + strings.Repeat("a@b.de\n", maxImportRows+1): "more than 100,000 rows; split it",
		"email\n" + strings.Repeat("x", maxImportBytes): "larger than 10.0 MiB",
	} {
		b.want(b.upload(file), 422, words)
	}
	b.want(b.upload("email\n"+strings.Repeat("x", maxImportBytes+2*maxForm)), 413, "too large")
	b.want(b.post("/dashboard/contacts/import", url.Values{"existing": {"skip"}}), 422, "choose a file")
	b.want(b.get("/dashboard/contacts/import/unknown"), 422, "not here any more")

	tabs := b.upload("who\twhat\na@example.com\tx\n")
	path := tabs.Header.Get("Location")
	b.want(b.get(path), 200, "No column is named email")
	b.want(b.post(path+"/go", nil), 422, "choose the column")
	b.want(b.post(path+"/columns", url.Values{"kind": {"email", ""}}), 303, "")
	b.want(b.get(path), 200, "Import 1 row")
	wide := b.upload("email,note\na@example.com," + strings.Repeat("<", maxRowBytes) + "\n" + strings.Repeat("b@example.com,"+strings.Repeat("<", 4000)+"\n", 700))
	b.want(b.get(wide.Header.Get("Location")), 200, "<b>699</b> changed</li><li class=\"error\"><b>1</b> cannot be used")
	for range maxImports {
		b.upload("email\na@example.com\n")
	}
	b.want(b.get(path), 422, "not here any more")
}

// A large file goes in step by step, each of which can be the last of a page.
func TestImportInSteps(t *testing.T) {
	_, d := newDashboard(t)
	b := signedIn(t, d)
	var file strings.Builder
	file.WriteString("email,first_name,plan\n")
	const rows = 2*importStep + 7
	for i := range rows {
		fmt.Fprintf(&file, "c%d@example.com,Name %d,pro\n", i, i)
	}
	path := b.upload(file.String()).Header.Get("Location")
	b.want(b.get(path), 200, "Import 10,007 rows")
	for i, words := range []string{"5,000 of 10,007 rows", "10,000 of 10,007 rows", "Done: 10,007 contacts created"} {
		b.want(b.post(path+"/go", nil), 303, "")
		body := b.want(b.get(path), 200, words)
		if goesOn := strings.Contains(body, `hx-trigger="load, submit"`); goesOn != (i < 2) {
			t.Errorf("after step %d the page goes on: %v", i, goesOn)
		}
	}
	if n := b.contacts(); n != rows {
		t.Errorf("%d contacts", n)
	}
}
