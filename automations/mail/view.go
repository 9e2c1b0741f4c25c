package mail

import (
	"bytes"
	"io"

	"github.com/emersion/go-message"
)

// View is a message taken apart for people to read.
type View struct {
	Header []string // lines as they stand, unfolded
	Text   string
	HTML   string
}

// ViewOf takes apart a message, or what is to become one when there is none
// yet.
func ViewOf(html, text string, message []byte) (View, error) {
	if message == nil {
		return View{HTML: html, Text: text}, nil
	}
	return ParseView(message)
}

// ParseView takes a message apart.
func ParseView(raw []byte) (View, error) {
	entity, err := message.Read(bytes.NewReader(raw))
	if err != nil && !message.IsUnknownCharset(err) {
		return View{}, err
	}
	var v View
	for fields := entity.Header.Fields(); fields.Next(); {
		v.Header = append(v.Header, fields.Key()+": "+fields.Value())
	}
	err = entity.Walk(func(_ []int, part *message.Entity, err error) error {
		if err != nil && !message.IsUnknownCharset(err) {
			return err
		}
		kind, _, _ := part.Header.ContentType()
		into := map[string]*string{"text/plain": &v.Text, "text/html": &v.HTML}[kind]
		if into == nil || part.Header.Has("Content-Disposition") { // a file that goes with the mail
			return nil
		}
		body, err := io.ReadAll(part.Body)
		*into = string(body)
		return err
	})
	return v, err
}

// Says reports whether what a message says satisfies find: a line of its
// header or the content of a part, attachments included, decoded.
func Says(raw []byte, find func(text []byte) bool) (bool, error) {
	entity, err := message.Read(bytes.NewReader(raw))
	if err != nil && !message.IsUnknownCharset(err) {
		return false, err
	}
	found := false
	err = entity.Walk(func(_ []int, part *message.Entity, err error) error {
		if err != nil && !message.IsUnknownCharset(err) {
			return err
		}
		for fields := part.Header.Fields(); fields.Next(); {
			line, err := fields.Text()
			if err != nil {
				line = fields.Value()
			}
			found = found || find([]byte(line))
		}
		if part.MultipartReader() != nil {
			return nil
		}
		body, err := io.ReadAll(part.Body)
		found = found || find(body)
		return err
	})
	return found, err
}
