package storage

import (
	"errors"

	"github.com/opensend/opensend/automations"
)

// addressHash is what a suppressed address is looked up by. It is keyed, so
// that the file does not give away addresses that were erased.
func (tx *Tx) addressHash(email string) []byte {
	return tx.keyed("suppression", []byte(email))
}

// Suppression reads one suppression.
func (tx *Tx) Suppression(id automations.ID) (*automations.Suppression, error) {
	return record[automations.Suppression](tx, suppressionsBucket, id[:])
}

// SuppressionOf reads the suppression of a normalised address.
func (tx *Tx) SuppressionOf(email string) (*automations.Suppression, error) {
	id, err := tx.idAt(suppressionHashesBucket, tx.addressHash(email))
	if err != nil {
		return nil, err
	}
	return tx.Suppression(id)
}

// Suppressed reports whether an address must not be written to.
func (tx *Tx) Suppressed(email string) bool {
	return tx.has(suppressionHashesBucket, tx.addressHash(email))
}

// Suppressions lists suppressions; those of one origin when it is not empty.
func (tx *Tx) Suppressions(page Page, origin automations.SuppressionOrigin) ([]*automations.Suppression, Rest, error) {
	return list(tx, suppressionsBucket, nil, page, func(s *automations.Suppression) bool { return origin == "" || s.Origin == origin })
}

// Suppress stores a suppression, or returns the one that the address has.
func (tx *Tx) Suppress(s *automations.Suppression) (stored *automations.Suppression, created bool, err error) {
	if stored, err = tx.SuppressionOf(s.Email); !errors.Is(err, ErrNotFound) {
		return stored, false, err
	}
	s.Hash = tx.addressHash(s.Email)
	return s, true, errors.Join(tx.put(suppressionHashesBucket, s.Hash, s.ID[:]), tx.putRecord(suppressionsBucket, s.ID[:], s), tx.tellSuppression(s))
}

// tellSuppression tells webhooks of a mail that has bounced or was complained
// of. What people enter themselves is not told.
func (tx *Tx) tellSuppression(s *automations.Suppression) error {
	kind := automations.EmailBouncedNotice
	switch s.Origin {
	case automations.OriginManual:
		return nil
	case automations.OriginComplaint:
		kind = automations.EmailComplainedNotice
	}
	var of *automations.Email
	row, err := tx.Email(s.SourceID)
	switch {
	case err == nil:
		of = row.Email
	case !errors.Is(err, ErrNotFound):
		return err
	}
	return tx.tell(kind, func() map[string]any { return automations.AddressNotice(kind, s.Email, of) })
}

// TellReport tells webhooks of a report that suppresses nothing, or nobody who
// was not suppressed already.
func (tx *Tx) TellReport(e *automations.Email, r automations.Report) error {
	if e.Alert {
		return nil
	}
	kind := automations.ReportNoticeType(r.Kind)
	return tx.tell(kind, func() map[string]any { return automations.AddressNotice(kind, r.Address, e) })
}

// Unsuppress removes a suppression; ErrNotFound when there is none.
func (tx *Tx) Unsuppress(id automations.ID) error {
	s, err := tx.Suppression(id)
	if err != nil {
		return err
	}
	return errors.Join(tx.delete(suppressionHashesBucket, s.Hash), tx.delete(suppressionsBucket, id[:]))
}

// eraseSuppressed forgets the text of a suppressed address and keeps its hash,
// unless a contact has the address again.
func (tx *Tx) eraseSuppressed(of *Erasure) error {
	s, err := tx.SuppressionOf(of.Email)
	if errors.Is(err, ErrNotFound) || isDamage(err) || of.heir != (automations.ID{}) {
		return nil
	}
	if err != nil {
		return err
	}
	s.Email = ""
	return tx.putRecord(suppressionsBucket, s.ID[:], s)
}
