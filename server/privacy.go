package server

import (
	"errors"
	"io"
	"net/http"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// exportRows is how many rows of the file are looked at in one transaction.
const exportRows = 5000

// person finds whom a path names: a contact by id or address, or an address
// that no contact has.
func (s *Server) person(r *request) (who storage.Person, c *automations.Contact, err error) {
	ref := r.PathValue("id")
	err = s.db.View(func(tx *storage.Tx) (err error) {
		if c, err = contactByRef(tx, ref); err == nil {
			who = storage.Person{ContactID: c.ID, Email: c.Email}
			return nil
		}
		if who.Email, _ = automations.NormalizeEmail(ref); who.Email == "" || !automations.IsKind(err, automations.KindNotFound) {
			return err
		}
		return nil
	})
	return who, c, err
}

// exportContact writes everything that is held about one address as one JSON
// object, in the order of the file. Records about others that merely name the
// address are not in it.
func (s *Server) exportContact(r *request) (answer, error) {
	who, c, err := s.person(r)
	if err != nil {
		return answer{}, err
	}
	x := &export{request: r, who: who, contact: c, flows: map[flowKey]*automations.Flow{}}
	return answer{
		status: http.StatusOK, stream: x.write,
		header: map[string]string{"Content-Disposition": `attachment; filename="contact.json"`},
	}, nil
}

// wireExportedEmail is a mail with everything that is kept of it.
type wireExportedEmail struct {
	Email   wireEmailDetail `json:"email"`
	Message []byte          `json:"message"` // RFC 5322 in base64; null before the first attempt
}

type flowKey struct {
	automation automations.ID
	revision   int
}

// export is one answer of exportContact.
type export struct {
	request *request
	who     storage.Person
	contact *automations.Contact // nil when no contact has the address
	flows   map[flowKey]*automations.Flow
	out     io.Writer
}

func (x *export) write(w io.Writer) error {
	x.out = w
	head, err := x.head()
	if err != nil {
		return err
	}
	if _, err := w.Write(append(head[:len(head)-1], `,"deliveries":[`...)); err != nil {
		return err
	}
	if err := exportAll(x, (*storage.Tx).DeliveriesOf, func(_ *storage.Tx, d *automations.Delivery) (wireStoredDelivery, error) {
		return renderStoredDelivery(d), nil
	}); err != nil {
		return err
	}
	if _, err := io.WriteString(w, `],"runs":[`); err != nil {
		return err
	}
	if err := exportAll(x, (*storage.Tx).RunsOf, x.run); err != nil {
		return err
	}
	if _, err := io.WriteString(w, `],"emails":[`); err != nil {
		return err
	}
	if err := exportAll(x, (*storage.Tx).EmailsOf, exportEmail); err != nil {
		return err
	}
	if _, err := io.WriteString(w, `],"webhook_deliveries":[`); err != nil {
		return err
	}
	if err := exportAll(x, (*storage.Tx).WebhookDeliveriesOf, func(_ *storage.Tx, d *automations.WebhookDelivery) (wireWebhookDelivery, error) {
		return renderWebhookDelivery(d), nil
	}); err != nil {
		return err
	}
	_, err = io.WriteString(w, "]}\n")
	return err
}

// wireExportHead is what an export has before its lists.
type wireExportHead struct {
	Object      string             `json:"object"`
	Email       string             `json:"email"`
	ExportedAt  wireTime           `json:"exported_at"`
	Contact     *wireContact       `json:"contact"`
	Segments    []wireSegment      `json:"segments"`
	Topics      []wireContactTopic `json:"topics"`
	Suppression *wireSuppression   `json:"suppression"`
}

func (x *export) head() ([]byte, error) {
	head := wireExportHead{Object: "contact_export", Email: x.who.Email, ExportedAt: wireTime(x.request.now), Segments: []wireSegment{}, Topics: []wireContactTopic{}}
	err := x.request.server.db.View(func(tx *storage.Tx) (err error) {
		if head.Suppression, err = suppressionOrNull(tx, x.who.Email); err != nil || x.contact == nil {
			return err
		}
		contact, err := renderContact(tx, x.request, x.contact)
		if err != nil {
			return err
		}
		head.Contact = &contact
		for _, id := range tx.LiveSegments(x.contact) {
			segment, err := tx.Segment(id)
			if err != nil {
				return err
			}
			head.Segments = append(head.Segments, renderSegment(segment))
		}
		for id := range x.contact.Topics { // what it has chosen
			switch topic, err := tx.Topic(id); {
			case err == nil:
				head.Topics = append(head.Topics, renderContactTopic(topic, x.contact))
			case !errors.Is(err, storage.ErrNotFound): // a topic that is gone means nothing
				return err
			}
		}
		return nil
	})
	return encode(head), err
}

// exportAll writes the records that read finds, separated by commas.
func exportAll[R, W any](x *export, read func(*storage.Tx, storage.Person, []byte, int) ([]R, []byte, error), render func(*storage.Tx, R) (W, error)) error {
	first := true
	for next := []byte{}; next != nil; {
		var chunk []byte
		err := x.request.server.db.View(func(tx *storage.Tx) (err error) {
			var rows []R
			if rows, next, err = read(tx, x.who, next, exportRows); err != nil {
				return err
			}
			for _, row := range rows {
				w, err := render(tx, row)
				if err != nil {
					return err
				}
				if !first {
					chunk = append(chunk, ',', '\n')
				}
				first, chunk = false, append(chunk, encode(w)...)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if _, err := x.out.Write(chunk); err != nil {
			return err
		}
	}
	return nil
}

func (x *export) run(tx *storage.Tx, run *automations.Run) (wireRunDetail, error) {
	key := flowKey{run.WorkflowID, run.Revision}
	if x.flows[key] == nil {
		revision, err := tx.Revision(run.WorkflowID, run.Revision)
		if err != nil {
			return wireRunDetail{}, err
		}
		if x.flows[key], err = automations.Compile(revision.Definition); err != nil {
			return wireRunDetail{}, err
		}
	}
	return renderRunDetail(x.request, run, x.flows[key]), nil
}

func exportEmail(tx *storage.Tx, e *automations.Email) (wireExportedEmail, error) {
	detail, content, err := emailDetail(tx, e)
	return wireExportedEmail{detail, content.Message}, err
}

// wireErasure says how far an erasure has come.
type wireErasure struct {
	Object   string          `json:"object"`
	Email    string          `json:"email"`
	Contact  *automations.ID `json:"contact_id"` // null when no contact had the address
	Finished bool            `json:"finished"`   // if not, it goes on in the background; asking again waits for it
}

// eraseContact erases everything about one address, also when no contact has
// it any more.
func (s *Server) eraseContact(r *request) (answer, error) {
	who, _, err := s.person(r)
	if err != nil {
		return answer{}, err
	}
	erasure := wireErasure{Object: "contact_erasure", Email: who.Email, Contact: idOrNull(who.ContactID)}
	if erasure.Finished, err = s.engine.EraseAddress(who.Email, r.note); err != nil {
		return answer{}, err
	}
	return ok(erasure)
}
