package server

import (
	"strings"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// listDeliveries lists stored events, filtered by event, contact_id, email,
// verdict, from and to.
func (s *Server) listDeliveries(r *request) (answer, error) {
	keep, from, err := deliveryFilter(r)
	if err != nil {
		return answer{}, err
	}
	return respondList(r, func(tx *storage.Tx, page storage.Page) ([]*automations.Delivery, storage.Rest, error) {
		page.Since = from // what is older is not even looked at
		return tx.Deliveries(page, keep)
	}, renderStoredDelivery)
}

func deliveryFilter(r *request) (keep func(*automations.Delivery) bool, from time.Time, err error) {
	var p automations.Problems
	query := r.URL.Query()
	event, email, verdict := query.Get("event"), strings.ToLower(strings.TrimSpace(query.Get("email"))), automations.Reason(query.Get("verdict"))
	if identity, err := automations.NormalizeEmail(email); err == nil {
		email = identity
	}
	contact := r.queryID(&p, "contact_id")
	oneOf(&p, "verdict", verdict, automations.Reasons())
	from, to := r.queryTime(&p, "from"), r.queryTime(&p, "to")
	keep = func(d *automations.Delivery) bool {
		return (event == "" || d.Event == event) &&
			(email == "" || d.Email == email) &&
			(contact == automations.ID{} || d.ContactID == contact) &&
			(from.IsZero() || !d.ReceivedAt.Before(from)) &&
			(to.IsZero() || d.ReceivedAt.Before(to)) &&
			(verdict == "" || hasVerdict(d, verdict))
	}
	return keep, from, p.Err()
}

func hasVerdict(d *automations.Delivery, reason automations.Reason) bool {
	for _, v := range d.Verdicts {
		if v.Reason == reason {
			return true
		}
	}
	return false
}

func (s *Server) getDelivery(r *request) (answer, error) {
	id, err := r.pathID("id", "delivery")
	if err != nil {
		return answer{}, err
	}
	return respondOne(r, func(tx *storage.Tx) (*automations.Delivery, error) {
		d, err := tx.Delivery(id)
		return d, orNotFound(err, "delivery", id.String())
	}, renderStoredDelivery)
}
