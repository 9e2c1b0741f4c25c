package server

import (
	"encoding/csv"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

const (
	csvBatch     = 500 // rows of one transaction
	maxCSVErrors = 100 // reported
)

// exportSuppressions writes all suppressed addresses as CSV, the newest first.
// Those that only their hash is left of are not in it.
func (s *Server) exportSuppressions(r *request) (answer, error) {
	return answer{
		status: http.StatusOK,
		header: map[string]string{"Content-Type": "text/csv; charset=utf-8", "Content-Disposition": `attachment; filename="suppressions.csv"`},
		stream: s.writeSuppressions,
	}, nil
}

func (s *Server) writeSuppressions(w io.Writer) error {
	out := csv.NewWriter(w)
	if err := out.Write([]string{"email", "origin", "created_at"}); err != nil {
		return err
	}
	page := storage.Page{Limit: csvBatch}
	for rest := (storage.Rest{More: true}); rest.More; {
		var rows []*automations.Suppression
		err := s.db.View(func(tx *storage.Tx) (err error) {
			rows, rest, err = tx.Suppressions(page, "")
			return err
		})
		if err != nil {
			return err
		}
		for _, row := range rows {
			page.After = row.ID
			if row.Email == "" {
				continue
			}
			if err := out.Write([]string{row.Email, string(row.Origin), row.CreatedAt.Format(time.RFC3339)}); err != nil {
				return err
			}
		}
	}
	out.Flush()
	return out.Error()
}

// wireSuppressionImport says what became of the rows of an import.
type wireSuppressionImport struct {
	Object   string         `json:"object"`
	Created  int            `json:"created"`
	Existing int            `json:"existing"` // were suppressed already
	Errors   []wireCSVError `json:"errors"`   // rows that were left out; the first 100 of them
}

type wireCSVError struct {
	Line    int    `json:"line"`
	Message string `json:"message"`
}

// importSuppressions suppresses the addresses of a CSV file with the column
// email and, if it has one, origin. Rows that cannot be used are left out and
// reported.
func (s *Server) importSuppressions(r *request) (answer, error) {
	result := wireSuppressionImport{Object: "suppression_import", Errors: []wireCSVError{}}
	suppressions, err := readSuppressionCSV(r, &result)
	if err != nil {
		return answer{}, err
	}
	for batch := range slices.Chunk(suppressions, csvBatch) {
		var created int
		err := r.update(func(tx *storage.Tx) error {
			created = 0
			for _, suppression := range batch {
				_, isNew, err := tx.Suppress(suppression)
				if err != nil {
					return err
				}
				if isNew {
					created++
				}
			}
			return nil
		})
		if err != nil {
			return answer{}, err
		}
		result.Created += created
		result.Existing += len(batch) - created
	}
	return ok(result)
}

func readSuppressionCSV(r *request, result *wireSuppressionImport) (suppressions []*automations.Suppression, err error) {
	table, err := automations.ReadTable(r.body)
	if err != nil {
		return nil, err
	}
	emailAt := slices.Index(table.Columns(), automations.ColumnEmail)
	originAt := slices.IndexFunc(table.Head, func(name string) bool { return strings.EqualFold(name, "origin") })
	if emailAt < 0 {
		return nil, automations.Errorf(automations.KindInvalid, "", "the first line must name the columns, one of them email")
	}
	leaveOut := func(line int, message string) {
		if len(result.Errors) < maxCSVErrors {
			result.Errors = append(result.Errors, wireCSVError{line, message})
		}
	}
	for _, row := range table.Rows {
		if emailAt >= len(row.Cells) {
			leaveOut(row.Line, "the row has no email")
			continue
		}
		email, err := automations.NormalizeMailbox(row.Cells[emailAt])
		if err != nil {
			leaveOut(row.Line, err.Error())
			continue
		}
		suppression := newSuppression(r, email)
		if originAt >= 0 && originAt < len(row.Cells) && row.Cells[originAt] != "" {
			suppression.Origin = automations.SuppressionOrigin(strings.ToLower(strings.TrimSpace(row.Cells[originAt])))
			if !slices.Contains(automations.SuppressionOrigins(), suppression.Origin) {
				leaveOut(row.Line, "origin must be bounce, complaint or manual")
				continue
			}
		}
		suppressions = append(suppressions, suppression)
	}
	return suppressions, nil
}
