package server

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/engine"
	"github.com/opensend/opensend/automations/mail"
	"github.com/opensend/opensend/storage"
)

const (
	maxRecipients  = 50  // of each of to, cc and bcc
	maxEmailBatch  = 100 // mails
	maxTags        = 50
	maxTagLength   = 256
	maxAttachments = 50
	maxFilename    = 255 // bytes, as of media types and content ids; encoded it must fit into one line
	maxSchedule    = 30 * 24 * time.Hour
)

// emailRef is the answer to a mail that was queued.
type emailRef struct {
	Object string         `json:"object"`
	ID     automations.ID `json:"id"`
}

// sendEmail queues one mail: POST /emails.
func (s *Server) sendEmail(r *request) (answer, error) {
	f, err := r.fields()
	if err != nil {
		return answer{}, err
	}
	wanted, err := readEmailRequest(f, r.now)
	if err != nil {
		return answer{}, err
	}
	return s.queueEmails(r, "emails", []*engine.EmailRequest{wanted}, true, func(results []engine.EmailResult) (int, any) {
		if err := results[0].Err; err != nil {
			a := openSendErrors(r, err)
			return a.status, a.body
		}
		return http.StatusOK, emailRef{"email", results[0].Email.ID}
	})
}

// wireEmailBatch is the answer to a batch: the mails that were queued and, in
// a permissive one, what was wrong with the others.
type wireEmailBatch struct {
	Data   []emailRef        `json:"data"`
	Errors []emailBatchError `json:"errors,omitempty"`
}

type emailBatchError struct {
	Index   int    `json:"index"`
	Message string `json:"message"`
}

// sendEmails queues many mails in one durable commit: POST /emails/batch. As
// with Resend all must be valid, unless the header x-batch-validation says
// permissive: then the invalid ones are left out.
func (s *Server) sendEmails(r *request) (answer, error) {
	items, err := automations.DecodeArray(r.body)
	if err != nil {
		return answer{}, err
	}
	if len(items) == 0 || len(items) > maxEmailBatch {
		return answer{}, automations.Errorf(automations.KindInvalid, "", "a batch has 1 to %d mails; this one has %d", maxEmailBatch, len(items))
	}
	strict := !strings.EqualFold(r.Header.Get("X-Batch-Validation"), "permissive")
	mails, refused := make([]*engine.EmailRequest, len(items)), make([]error, len(items))
	for i, raw := range items {
		f, err := automations.ObjectFields(raw)
		if err == nil {
			mails[i], err = readEmailRequest(f, r.now)
		}
		if err != nil {
			mails[i], refused[i] = nil, err
		}
	}
	if err := problemsOf(refused); strict && err != nil {
		return answer{}, err
	}
	return s.queueEmails(r, "emails/batch", mails, strict, func(results []engine.EmailResult) (int, any) {
		refused := slices.Clone(refused) // this may run more than once
		for i, result := range results {
			refused[i] = errors.Join(refused[i], result.Err)
		}
		if err := problemsOf(refused); strict && err != nil {
			a := openSendErrors(r, err)
			return a.status, a.body
		}
		batch := wireEmailBatch{Data: []emailRef{}}
		for i, result := range results {
			if refused[i] != nil {
				e, _ := readable(refused[i])
				batch.Errors = append(batch.Errors, emailBatchError{i, e.Msg})
				continue
			}
			batch.Data = append(batch.Data, emailRef{"email", result.Email.ID})
		}
		return http.StatusOK, batch
	})
}

// problemsOf is one error of those of the items of a batch; nil when there are
// none.
func problemsOf(refused []error) error {
	var p automations.Problems
	for i, err := range refused {
		p.Include(fmt.Sprintf("[%d]", i), err)
	}
	return p.Err()
}

func (s *Server) queueEmails(r *request, door string, mails []*engine.EmailRequest, allOrNone bool, render func([]engine.EmailResult) (int, any)) (answer, error) {
	for _, m := range mails {
		if m != nil {
			m.Test = r.test
		}
	}
	return answerOnce(r, door, render, func(idem *engine.Idempotency[[]engine.EmailResult]) ([]engine.EmailResult, *storage.IdempotentAnswer, error) {
		return s.engine.SendEmails(mails, allOrNone, idem)
	})
}

// readEmailRequest reads a mail as Resend's Send Email describes it, except
// that nothing is fetched for attachments.
func readEmailRequest(f automations.Fields, now time.Time) (*engine.EmailRequest, error) {
	var p automations.Problems
	f.Unknown(&p, "from", "to", "cc", "bcc", "reply_to", "replyTo", "subject", "html", "text", "headers", "attachments", "tags",
		"scheduled_at", "scheduledAt", "topic_id", "topicId", "template")
	m := &engine.EmailRequest{
		To: readAddresses(f, &p, maxRecipients, "to"), CC: readAddresses(f, &p, maxRecipients, "cc"), BCC: readAddresses(f, &p, maxRecipients, "bcc"),
		ReplyTo: readAddresses(f, &p, maxRecipients, "reply_to", "replyTo"), Subject: f.String(&p, "subject"),
		HTML: f.String(&p, "html"), Text: f.String(&p, "text"), ScheduledAt: readSchedule(f, &p, now),
	}
	if len(m.To) == 0 && p.Err() == nil {
		p.Missing("", "to")
	}
	if from := f.String(&p, "from"); from != "" {
		_, err := readAddress(from)
		p.Include("from", err)
		m.From = from
	}
	if strings.ContainsAny(m.Subject, "\r\n\x00") || utf8.RuneCountInString(m.Subject) > automations.MaxSubject {
		p.Add("", "subject", "subject must be one line of at most %d characters", automations.MaxSubject)
	}
	if id := f.String(&p, "topic_id", "topicId"); id != "" {
		var ok bool
		if m.TopicID, ok = automations.ParseID(id); !ok {
			p.Add("", "topic_id", "topic_id must be a UUID")
		}
	}
	readContent(f, &p, m)
	m.Headers, m.Tags, m.Attachments = readHeaders(f, &p), readTags(f, &p), readAttachments(f, &p)
	return m, p.Err()
}

// readContent reads the template, or checks that there is content without one.
func readContent(f automations.Fields, p *automations.Problems, m *engine.EmailRequest) {
	raw := f.Object(p, "template")
	switch {
	case raw == nil && m.HTML == "" && m.Text == "":
		p.Include("html", automations.Errorf(automations.KindMissing, "", "the mail has no content: give html, text or template"))
	case raw == nil && m.Subject == "":
		p.Missing("", "subject")
	case raw == nil:
	case m.HTML != "" || m.Text != "":
		p.Add("", "template", "give either template or html and text, not both")
	default:
		t, err := automations.ObjectFields(raw)
		p.Include("template", err)
		t.Unknown(p, "id", "variables")
		if m.Template = t.String(p, "id"); m.Template == "" {
			p.Missing("", "template.id")
		}
		if variables := t.Object(p, "variables"); variables != nil {
			json.Unmarshal(variables, &m.Variables)
		}
	}
}

func readAddresses(f automations.Fields, p *automations.Problems, most int, names ...string) (list []string) {
	texts := f.Strings(p, names...)
	if len(texts) > most {
		p.Add("", names[0], "%s has %d addresses; at most %d are allowed", names[0], len(texts), most)
		return nil
	}
	for i, text := range texts {
		if text == "" && len(texts) == 1 {
			return nil // typed clients send their absent fields so
		}
		address, err := readAddress(text)
		p.Include(fmt.Sprintf("%s[%d]", names[0], i), err)
		list = append(list, address)
	}
	return list
}

// readAddress reads an address with or without a display name, and spells it
// with its identity.
func readAddress(text string) (string, error) {
	a, err := mail.ParseAddress(strings.TrimSpace(text))
	if err != nil {
		a.Addr = text // for the error to say what is wrong with it
	}
	a.Addr, err = automations.NormalizeMailbox(a.Addr)
	return a.String(), err
}

// readSchedule reads when the mail is to leave; zero for at once.
func readSchedule(f automations.Fields, p *automations.Problems, now time.Time) time.Time {
	text := strings.TrimSpace(f.String(p, "scheduled_at", "scheduledAt"))
	if text == "" {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339, text)
	if in, ok := strings.CutPrefix(text, "in "); ok {
		var wait time.Duration
		wait, err = automations.ParseDuration(in)
		at = now.Add(wait)
	}
	switch {
	case err != nil:
		p.Add("", "scheduled_at", `scheduled_at must be a time such as 2026-01-31T12:00:00Z, or a delay such as "in 2 hours"`)
	case at.Sub(now) > maxSchedule:
		p.Add("", "scheduled_at", "scheduled_at lies more than 30 days ahead")
	}
	return at.UTC().Truncate(time.Millisecond)
}

func readHeaders(f automations.Fields, p *automations.Problems) (headers []mail.Header) {
	raw := f.Object(p, "headers")
	if raw == nil {
		return nil
	}
	fields, err := automations.ObjectFields(raw)
	p.Include("headers", err)
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		var q automations.Problems
		header := mail.Header{Name: name, Value: fields.String(&q, name)}
		p.Include("headers", errors.Join(q.Err(), header.Check()))
		headers = append(headers, header)
	}
	return headers
}

func readTags(f automations.Fields, p *automations.Problems) (tags []automations.Tag) {
	for i, item := range readObjects(f, p, "tags", maxTags) {
		var q automations.Problems
		item.Unknown(&q, "name", "value")
		tag := automations.Tag{Name: item.String(&q, "name"), Value: item.String(&q, "value")}
		for _, part := range []struct{ name, text string }{{"name", tag.Name}, {"value", tag.Value}} {
			if part.text == "" || len(part.text) > maxTagLength || strings.ContainsFunc(part.text, unusualInTag) {
				q.Add("", part.name, "%s must have 1 to %d letters, digits, _ or -", part.name, maxTagLength)
			}
		}
		p.Include(fmt.Sprintf("tags[%d]", i), q.Err())
		tags = append(tags, tag)
	}
	return tags
}

func unusualInTag(r rune) bool {
	return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' && r != '-'
}

func readAttachments(f automations.Fields, p *automations.Problems) (files []mail.Attachment) {
	for i, item := range readObjects(f, p, "attachments", maxAttachments) {
		var q automations.Problems
		item.Unknown(&q, "content", "filename", "path", "content_type", "contentType", "content_id", "contentId", "inline_content_id", "inlineContentId")
		file := mail.Attachment{
			Filename: item.String(&q, "filename"), ContentType: item.String(&q, "content_type", "contentType"),
			ContentID: item.String(&q, "content_id", "contentId", "inline_content_id", "inlineContentId"),
		}
		if item.Has("path") {
			q.Add("", "path", "path is not fetched; send the file as content, in base64")
		} else {
			file.Content = readFile(item, &q)
		}
		if file.Filename == "" {
			q.Missing("", "filename")
		}
		for _, part := range []struct{ name, text string }{{"filename", file.Filename}, {"content_type", file.ContentType}, {"content_id", file.ContentID}} {
			if len(part.text) > maxFilename {
				q.Add("", part.name, "%s may have %d bytes", part.name, maxFilename)
			}
		}
		if strings.ContainsFunc(file.ContentID, func(r rune) bool { return r <= ' ' || r > '~' || r == '<' || r == '>' }) {
			q.Add("", "content_id", "content_id must have ASCII characters without spaces, < and >")
		}
		p.Include(fmt.Sprintf("attachments[%d]", i), q.Err())
		files = append(files, file)
	}
	return files
}

// readFile reads content, in base64 or, as some clients send buffers, as a list
// of bytes.
func readFile(f automations.Fields, p *automations.Problems) []byte {
	raw := f.Raw("content")
	if raw == nil {
		p.Missing("", "content")
		return nil
	}
	var numbers []uint16 // a list of uint8 would be read as base64
	if json.Unmarshal(raw, &numbers) == nil && !slices.ContainsFunc(numbers, func(n uint16) bool { return n > 255 }) {
		content := make([]byte, len(numbers))
		for i, n := range numbers {
			content[i] = byte(n)
		}
		return content
	}
	content, err := base64.StdEncoding.DecodeString(f.String(p, "content"))
	if err != nil {
		p.Add("", "content", "content must be the file in base64")
	}
	return content
}

// readObjects reads a list of objects.
func readObjects(f automations.Fields, p *automations.Problems, name string, most int) (items []automations.Fields) {
	raw := f.Array(p, name)
	if raw == nil {
		return nil
	}
	var texts []json.RawMessage
	if json.Unmarshal(raw, &texts) != nil || len(texts) > most {
		p.Add("", name, "%s must be a list of at most %d", name, most)
		return nil
	}
	for i, text := range texts {
		item, err := automations.ObjectFields(text)
		p.Include(fmt.Sprintf("%s[%d]", name, i), err)
		items = append(items, item)
	}
	return items
}
