package server

import (
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// maxSuppressions is how many addresses one request may name.
const maxSuppressions = 1000

// wireSuppression is a suppressed address; null once its contact was erased.
type wireSuppression struct {
	Object    string                        `json:"object"`
	ID        automations.ID                `json:"id"`
	Email     *string                       `json:"email"`
	Origin    automations.SuppressionOrigin `json:"origin"`
	SourceID  *automations.ID               `json:"source_id"`
	CreatedAt wireTime                      `json:"created_at"`
}

func renderSuppression(s *automations.Suppression) wireSuppression {
	return wireSuppression{"suppression", s.ID, orNull(s.Email), s.Origin, idOrNull(s.SourceID), wireTime(s.CreatedAt)}
}

// suppressionOrNull is the suppression of an address, if it has one.
func suppressionOrNull(tx *storage.Tx, email string) (*wireSuppression, error) {
	s, err := tx.SuppressionOf(email)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	w := renderSuppression(s)
	return &w, nil
}

func newSuppression(r *request, email string) *automations.Suppression {
	return &automations.Suppression{ID: uuid.Must(uuid.NewV7()), Email: email, Origin: automations.OriginManual, CreatedAt: r.now}
}

// createSuppression suppresses an address: 201, or 200 when it already was.
func (s *Server) createSuppression(r *request) (answer, error) {
	f, err := r.fields()
	if err != nil {
		return answer{}, err
	}
	var p automations.Problems
	f.Unknown(&p, "email", "origin")
	if !f.Has("email") {
		p.Missing("", "email")
	}
	email, err := automations.NormalizeMailbox(f.String(&p, "email"))
	p.Include("email", err)
	sent := newSuppression(r, email)
	if origin := readWord(f, &p, automations.SuppressionOrigins(), "origin"); origin != "" {
		sent.Origin = origin
	}
	if err := p.Err(); err != nil {
		return answer{}, err
	}
	var stored *automations.Suppression
	var isNew bool
	err = r.update(func(tx *storage.Tx) (err error) {
		stored, isNew, err = tx.Suppress(sent)
		return err
	})
	if err != nil {
		return answer{}, err
	}
	if isNew {
		return created(renderSuppression(stored))
	}
	return ok(renderSuppression(stored))
}

// createSuppressions suppresses many addresses in one transaction, or none
// when one of them is not an address.
func (s *Server) createSuppressions(r *request) (answer, error) {
	emails, _, err := readSuppressionBatch(r, "emails")
	if err != nil {
		return answer{}, err
	}
	var stored []*automations.Suppression
	err = r.update(func(tx *storage.Tx) error {
		stored = nil
		for _, email := range emails {
			suppression, _, err := tx.Suppress(newSuppression(r, email))
			if err != nil {
				return err
			}
			stored = append(stored, suppression)
		}
		return nil
	})
	if err != nil {
		return answer{}, err
	}
	return created(listOf(stored, storage.Rest{}, renderSuppression))
}

// deleteSuppressions lifts the suppressions named by address or id; what is
// not suppressed is left out of the answer.
func (s *Server) deleteSuppressions(r *request) (answer, error) {
	emails, ids, err := readSuppressionBatch(r, "emails", "ids")
	if err != nil {
		return answer{}, err
	}
	var lifted []deleted
	err = r.update(func(tx *storage.Tx) error {
		lifted = nil
		refs := ids
		for _, email := range emails {
			if suppression, err := tx.SuppressionOf(email); err == nil {
				refs = append(refs[:len(refs):len(refs)], suppression.ID)
			} else if !errors.Is(err, storage.ErrNotFound) {
				return err
			}
		}
		for _, id := range refs {
			switch err := tx.Unsuppress(id); {
			case err == nil:
				lifted = append(lifted, deleted{"suppression", id, true})
			case !errors.Is(err, storage.ErrNotFound):
				return err
			}
		}
		return nil
	})
	if err != nil {
		return answer{}, err
	}
	return ok(listOf(lifted, storage.Rest{}, func(d deleted) deleted { return d }))
}

func readSuppressionBatch(r *request, known ...string) (emails []string, ids []automations.ID, err error) {
	f, err := r.fields()
	if err != nil {
		return nil, nil, err
	}
	var p automations.Problems
	f.Unknown(&p, known...)
	given, refs := f.Strings(&p, "emails"), f.Strings(&p, "ids")
	if n := len(given) + len(refs); p.Err() == nil && (n == 0 || n > maxSuppressions) {
		p.Add("", "emails", "name 1 to %d addresses; this request names %d", maxSuppressions, n)
	}
	for i, text := range given {
		email, err := automations.NormalizeMailbox(text)
		p.Include(fmt.Sprintf("emails[%d]", i), err)
		emails = append(emails, email)
	}
	for i, text := range refs {
		id, ok := automations.ParseID(text)
		if !ok {
			p.Add("", fmt.Sprintf("ids[%d]", i), "%.40q is not the id of a suppression", text)
		}
		ids = append(ids, id)
	}
	return emails, ids, p.Err()
}

func (s *Server) listSuppressions(r *request) (answer, error) {
	var p automations.Problems
	origin := automations.SuppressionOrigin(r.URL.Query().Get("origin"))
	oneOf(&p, "origin", origin, automations.SuppressionOrigins())
	if err := p.Err(); err != nil {
		return answer{}, err
	}
	return respondList(r, func(tx *storage.Tx, page storage.Page) ([]*automations.Suppression, storage.Rest, error) {
		return tx.Suppressions(page, origin)
	}, renderSuppression)
}

// suppressionByRef finds a suppression by id or address.
func suppressionByRef(tx *storage.Tx, ref string) (s *automations.Suppression, err error) {
	if id, ok := automations.ParseID(ref); ok {
		s, err = tx.Suppression(id)
		return s, orNotFound(err, "suppression", ref)
	}
	email, err := automations.NormalizeMailbox(ref)
	if err != nil {
		return nil, notFound("suppression", ref)
	}
	s, err = tx.SuppressionOf(email)
	return s, orNotFound(err, "suppression", ref)
}

func (s *Server) getSuppression(r *request) (answer, error) {
	return respondOne(r, func(tx *storage.Tx) (*automations.Suppression, error) { return suppressionByRef(tx, r.PathValue("id")) }, renderSuppression)
}

func (s *Server) deleteSuppression(r *request) (answer, error) {
	var id automations.ID
	err := r.update(func(tx *storage.Tx) error {
		found, err := suppressionByRef(tx, r.PathValue("id"))
		if err != nil {
			return err
		}
		id = found.ID
		return tx.Unsuppress(id)
	})
	if err != nil {
		return answer{}, err
	}
	return ok(deleted{"suppression", id, true})
}
