package storage_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
	"github.com/opensend/opensend/storage/storagetest"
)

// A filter and the newest of a person find the same rows as looking at each
// would, however the pages fall.
func TestFindDeliveries(t *testing.T) {
	db := storagetest.Open(t)
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	var all []*automations.Delivery
	people := []storage.Person{{uuid.Must(uuid.NewV7()), "ada@example.com"}, {uuid.Must(uuid.NewV7()), "bob@example.com"}}
	reasons := automations.Reasons()
	for i := range 40 {
		p := people[i/2%2]
		all = append(all, &automations.Delivery{
			ID: uuid.Must(uuid.NewV7()), Event: []string{"paid", "paid.late", "seen"}[i%3], ContactID: p.ContactID, Email: p.Email, Payload: json.RawMessage(`{"note":"paid ada@example.com unmatched"}`),
			ReceivedAt: at.Add(time.Duration(i) * time.Hour), Verdicts: []automations.Verdict{{Reason: reasons[i%len(reasons)]}},
		})
	}
	if err := db.Update(func(tx *storage.Tx) error {
		for _, d := range all {
			if err := tx.AddDelivery(d); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	walk := func(read func(*storage.Tx, storage.Page) ([]*automations.Delivery, storage.Rest, error)) (ids []automations.ID) {
		err := db.View(func(tx *storage.Tx) error {
			for page := (storage.Page{Limit: 3}); ; {
				rows, rest, err := read(tx, page)
				for _, d := range rows {
					ids, page.After = append(ids, d.ID), d.ID
				}
				if err != nil || !rest.More {
					return err
				}
			}
		})
		if err != nil {
			t.Error(err)
		}
		return ids
	}
	same := func(what string, got []automations.ID, want func(*automations.Delivery) bool) {
		t.Helper()
		var ids []automations.ID
		for i := range all {
			if d := all[len(all)-1-i]; want(d) {
				ids = append(ids, d.ID)
			}
		}
		if len(ids) == 0 || !slices.Equal(got, ids) {
			t.Errorf("%s: %d rows instead of %d", what, len(got), len(ids))
		}
	}
	find := func(f storage.DeliveryFilter) []automations.ID {
		return walk(func(tx *storage.Tx, p storage.Page) ([]*automations.Delivery, storage.Rest, error) {
			return tx.FindDeliveries(p, f)
		})
	}
	same("event", find(storage.DeliveryFilter{Event: "paid"}), func(d *automations.Delivery) bool { return d.Event == "paid" })
	same("email", find(storage.DeliveryFilter{Email: people[0].Email}), func(d *automations.Delivery) bool { return d.Email == people[0].Email })
	same("contact", find(storage.DeliveryFilter{ContactID: people[1].ContactID}), func(d *automations.Delivery) bool { return d.ContactID == people[1].ContactID })
	same("verdicts", find(storage.DeliveryFilter{Verdicts: []automations.Reason{automations.Unmatched, automations.NearMiss}}), func(d *automations.Delivery) bool {
		return d.Verdicts[0].Reason == automations.Unmatched || d.Verdicts[0].Reason == automations.NearMiss
	})
	same("to", find(storage.DeliveryFilter{To: at.Add(5 * time.Hour)}), func(d *automations.Delivery) bool { return d.ReceivedAt.Before(at.Add(5 * time.Hour)) })
	same("all of it", find(storage.DeliveryFilter{Event: "seen", Email: people[1].Email}), func(d *automations.Delivery) bool { return d.Event == "seen" && d.Email == people[1].Email })
	same("a person", walk(func(tx *storage.Tx, p storage.Page) ([]*automations.Delivery, storage.Rest, error) {
		return tx.RecentDeliveriesOf(people[0], p)
	}), func(d *automations.Delivery) bool { return d.Email == people[0].Email })
}
