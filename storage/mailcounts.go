package storage

import (
	"bytes"
	"encoding/binary"
	"time"
)

const day = 24 * time.Hour

// CountMail counts a mail that is to leave on the day of the time, in UTC.
func (tx *Tx) CountMail(at time.Time) error { return tx.addMail(at, 1) }

// UncountMail takes back that a mail was to leave on the day of the time.
func (tx *Tx) UncountMail(at time.Time) error { return tx.addMail(at, -1) }

// addMail begins anew with a count that is damaged: better a bound that a day
// exceeds once than mail that stops, or a day without a bound.
func (tx *Tx) addMail(at time.Time, more int64) error {
	key := tuple(at.Truncate(day))
	n, err := tx.number(mailCountsBucket, key)
	if err != nil {
		tx.db.unknown(err)
	}
	return tx.put(mailCountsBucket, key, binary.BigEndian.AppendUint64(nil, uint64(max(0, n+more))))
}

// MailCount is how many mails were counted on the days from one time up to,
// and not including, another; none on a day whose count is damaged.
func (tx *Tx) MailCount(from, to time.Time) (total int64) {
	end := tuple(to)
	c := tx.bucket(mailCountsBucket).Cursor()
	for key, _ := c.Seek(tuple(from)); key != nil && bytes.Compare(key, end) < 0; key, _ = c.Next() {
		n, _ := tx.number(mailCountsBucket, key)
		total += n
	}
	return total
}
