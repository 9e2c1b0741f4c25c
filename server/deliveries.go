package server

import (
	"strings"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// listDeliveries lists stored events, filtered by event, contact_id, email,
// verdict, from and to.
func (s *Server) listDeliveries(r *request) (answer, error) {
	filter, err := deliveryFilter(r)
	if err != nil {
		return answer{}, err
	}
	return respondList(r, func(tx *storage.Tx, page storage.Page) ([]*automations.Delivery, storage.Rest, error) {
		return tx.FindDeliveries(page, filter)
	}, renderStoredDelivery)
}

func deliveryFilter(r *request) (storage.DeliveryFilter, error) {
	var p automations.Problems
	query := r.URL.Query()
	verdict := automations.Reason(query.Get("verdict"))
	oneOf(&p, "verdict", verdict, automations.Reasons())
	filter := storage.DeliveryFilter{
		Event: query.Get("event"), Email: strings.ToLower(strings.TrimSpace(query.Get("email"))),
		ContactID: r.queryID(&p, "contact_id"), From: r.queryTime(&p, "from"), To: r.queryTime(&p, "to"),
	}
	if identity, err := automations.NormalizeEmail(filter.Email); err == nil {
		filter.Email = identity
	}
	if verdict != "" {
		filter.Verdicts = []automations.Reason{verdict}
	}
	return filter, p.Err()
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
