package storage

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	"github.com/opensend/opensend/automations"
)

// ErrTaken says that another record has the unique name, address or alias.
var ErrTaken = errors.New("taken")

// Contact reads one contact.
func (tx *Tx) Contact(id automations.ID) (*automations.Contact, error) {
	return record[automations.Contact](tx, contactsBucket, id[:])
}

// ContactID finds the contact with a normalised address.
func (tx *Tx) ContactID(email string) (automations.ID, error) {
	return tx.idAt(contactEmailsBucket, tuple(email))
}

// ContactByEmail reads the contact with a normalised address.
func (tx *Tx) ContactByEmail(email string) (*automations.Contact, error) {
	id, err := tx.ContactID(email)
	if err != nil {
		return nil, err
	}
	return tx.Contact(id)
}

// ContactByRef reads the contact with an id, or with an address in any case;
// ErrNotFound also for what is neither.
func (tx *Tx) ContactByRef(ref string) (*automations.Contact, error) {
	if id, ok := automations.ParseID(ref); ok {
		return tx.Contact(id)
	}
	email, err := automations.NormalizeEmail(ref)
	if err != nil {
		return nil, ErrNotFound
	}
	return tx.ContactByEmail(email)
}

// CreateContact stores a new contact; ErrTaken when the address has one.
func (tx *Tx) CreateContact(c *automations.Contact) error {
	if err := tx.saveContact(&automations.Contact{}, c); err != nil {
		return err
	}
	return tx.tellContact(automations.ContactCreatedNotice, c)
}

// UpdateContact stores a changed contact; ErrNotFound when it is gone,
// ErrTaken when its new address has another.
func (tx *Tx) UpdateContact(c *automations.Contact) error {
	was, err := tx.Contact(c.ID)
	if err != nil {
		return err
	}
	if err := tx.saveContact(was, c); err != nil {
		return err
	}
	if c.Unsubscribed && !was.Unsubscribed {
		if err := tx.tellContact(automations.ContactUnsubscribedNotice, c); err != nil {
			return err
		}
	}
	return tx.tellContact(automations.ContactUpdatedNotice, c)
}

func (tx *Tx) tellContact(kind automations.NoticeType, c *automations.Contact) error {
	return tx.tell(kind, func() map[string]any {
		told := *c
		told.Segments = tx.LiveSegments(c)
		return automations.ContactNotice(&told)
	})
}

func (tx *Tx) saveContact(was, c *automations.Contact) error {
	if was.Email != c.Email {
		if tx.has(contactEmailsBucket, tuple(c.Email)) {
			return ErrTaken
		}
		if was.Email != "" {
			if err := tx.delete(contactEmailsBucket, tuple(was.Email)); err != nil {
				return err
			}
		}
		if err := tx.put(contactEmailsBucket, tuple(c.Email), c.ID[:]); err != nil {
			return err
		}
	}
	if err := tx.moveSegments(c.ID, was.Segments, c.Segments); err != nil {
		return err
	}
	return tx.putRecord(contactsBucket, c.ID[:], c)
}

// DeleteContact removes a contact and notes that what other records say about
// it is still to be erased.
func (tx *Tx) DeleteContact(id automations.ID) error {
	c, err := tx.Contact(id)
	if err != nil {
		return err
	}
	if err := tx.moveSegments(id, c.Segments, nil); err != nil {
		return err
	}
	return errors.Join(
		tx.delete(contactEmailsBucket, tuple(c.Email)),
		tx.delete(contactsBucket, id[:]),
		tx.putRecord(erasuresBucket, id[:], newErasure(Person{id, c.Email})),
		tx.tell(automations.ContactDeletedNotice, func() map[string]any { return automations.ContactDeletedData(id) }),
	)
}

// ContactFilter narrows a list of contacts; zero fields do not.
type ContactFilter struct {
	Search       string // part of the address or name, without case
	Unsubscribed *bool
	SegmentID    automations.ID
}

func (f ContactFilter) match(c *automations.Contact) bool {
	if f.Unsubscribed != nil && *f.Unsubscribed != c.Unsubscribed {
		return false
	}
	if f.SegmentID != (automations.ID{}) && !slices.Contains(c.Segments, f.SegmentID) {
		return false
	}
	text := strings.ToLower(c.Email + " " + c.FirstName + " " + c.LastName)
	return strings.Contains(text, strings.ToLower(f.Search))
}

// near reports whether a stored contact may pass, by the beginning of its record.
func (f ContactFilter) near(record []byte) bool {
	var head automations.Contact
	c := coder{buf: record, reading: true}
	c.contactHead(&head)
	f.SegmentID = automations.ID{}
	return c.broken || f.match(&head) // what is broken is told when it is read as a whole
}

// Contacts lists contacts; those of one segment through its index, none when it
// was deleted.
func (tx *Tx) Contacts(page Page, f ContactFilter) ([]*automations.Contact, Rest, error) {
	if f.SegmentID == (automations.ID{}) {
		return listNear(tx, contactsBucket, page, f.near, f.match)
	}
	if !tx.has(segmentsBucket, f.SegmentID[:]) {
		return nil, Rest{}, nil
	}
	member := func(key, _ []byte) (*automations.Contact, error) {
		id := key[16:]
		if body, ok := open(id, tx.bucket(contactsBucket).Get(id)); ok && !f.near(body) {
			return nil, nil
		}
		return tx.Contact(automations.ID(id))
	}
	return listThrough(tx, segmentMembersBucket, f.SegmentID[:], page, member, func(c *automations.Contact) bool { return c != nil && f.match(c) })
}

// Segment reads one segment.
func (tx *Tx) Segment(id automations.ID) (*automations.Segment, error) {
	return record[automations.Segment](tx, segmentsBucket, id[:])
}

// SaveSegment stores a new or changed segment.
func (tx *Tx) SaveSegment(s *automations.Segment) error {
	return tx.putRecord(segmentsBucket, s.ID[:], s)
}

// moveSegments keeps segment_members in step with a contact's segments.
func (tx *Tx) moveSegments(contact automations.ID, was, now []automations.ID) error {
	for _, id := range was {
		if !slices.Contains(now, id) {
			if err := tx.delete(segmentMembersBucket, tuple(id, contact)); err != nil {
				return err
			}
		}
	}
	for _, id := range now {
		if !slices.Contains(was, id) {
			if err := tx.put(segmentMembersBucket, tuple(id, contact), nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// Segments lists segments.
func (tx *Tx) Segments(page Page) ([]*automations.Segment, Rest, error) {
	return list[automations.Segment](tx, segmentsBucket, nil, page, nil)
}

// SegmentSize counts the contacts of a segment, most at most.
func (tx *Tx) SegmentSize(id automations.ID, most int) (n int) {
	tx.each(segmentMembersBucket, id[:], func([]byte) bool {
		n++
		return n < most
	})
	return n
}

// SegmentsOf lists the segments of a contact.
func (tx *Tx) SegmentsOf(c *automations.Contact, page Page) (rows []*automations.Segment, rest Rest, err error) {
	ids := slices.DeleteFunc(tx.LiveSegments(c), func(id automations.ID) bool {
		return page.After != (automations.ID{}) && bytes.Compare(id[:], page.After[:]) >= 0 || bytes.Compare(id[:], page.Before[:]) <= 0
	})
	slices.SortFunc(ids, func(a, b automations.ID) int { return bytes.Compare(b[:], a[:]) })
	if rest.More = len(ids) > page.Limit; rest.More {
		if page.Before != (automations.ID{}) {
			ids = ids[len(ids)-page.Limit:]
		}
		ids = ids[:page.Limit]
	}
	for _, id := range ids {
		segment, err := tx.Segment(id)
		if err != nil {
			return nil, Rest{}, err
		}
		rows = append(rows, segment)
	}
	return rows, rest, nil
}

// DeleteSegment removes a segment; ErrNotFound when there is none. Its contacts
// are left to DropMembers; until they are out of it, nobody is told that they are
// in: see LiveSegments.
func (tx *Tx) DeleteSegment(id automations.ID) error {
	if _, err := tx.Segment(id); err != nil {
		return err
	}
	return tx.delete(segmentsBucket, id[:])
}

// LiveSegments are those of a contact's segments that were not deleted.
func (tx *Tx) LiveSegments(c *automations.Contact) []automations.ID {
	return slices.DeleteFunc(slices.Clone(c.Segments), func(id automations.ID) bool { return !tx.has(segmentsBucket, id[:]) })
}

// DropMembers takes up to limit contacts out of segments that were deleted, and
// reports whether there may be more.
func (tx *Tx) DropMembers(limit int) (more bool, err error) {
	var members [][]byte
	c := tx.bucket(segmentMembersBucket).Cursor()
	for k, _ := c.First(); k != nil && len(members) < limit; {
		if tx.has(segmentsBucket, k[:16]) {
			k, _ = c.Seek(append(bytes.Clone(k[:16]), bytes.Repeat([]byte{0xff}, 17)...))
			continue
		}
		members = append(members, bytes.Clone(k))
		k, _ = c.Next()
	}
	for _, member := range members {
		if err := tx.dropMember(member); err != nil {
			return false, err
		}
	}
	return len(members) == limit, nil
}

// dropMember takes one contact out of a segment. The row goes even when the
// contact is damaged, for Check to tell of: it must not come round for ever.
func (tx *Tx) dropMember(key []byte) error {
	segment := automations.ID(key)
	c, err := tx.Contact(automations.ID(key[16:]))
	if err == nil && slices.Contains(c.Segments, segment) {
		c.Segments = slices.DeleteFunc(slices.Clone(c.Segments), func(id automations.ID) bool { return id == segment })
		return tx.UpdateContact(c)
	}
	if err != nil && !errors.Is(err, ErrNotFound) && !isDamage(err) {
		return err
	}
	return tx.delete(segmentMembersBucket, key)
}
