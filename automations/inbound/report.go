package inbound

import (
	"bufio"
	"bytes"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/emersion/go-message"
	"github.com/emersion/go-message/textproto"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/mail"
)

// Report is what is told of one recipient of one mail.
type Report struct {
	automations.Report // its Address and At are left to who finds the mail
	// Recipients are the addresses that the mail may have been sent to, the
	// likeliest first, as identities. With none it is who alone got the mail.
	Recipients []string
	// MessageIDs are what the mail is named by, without angle brackets. One of
	// them being the mail's proves that the report is about it.
	MessageIDs []string
	// Signed says that a provider vouches for the report, so that the address is
	// enough to find a mail by when no Message-ID is named.
	Signed bool
	// ProviderID is the provider's name for the mail: it stands in what it
	// answered when it took it. It may be empty.
	ProviderID string
}

// Bounds of a message.
const (
	MaxMessage    = 1 << 20
	maxDepth      = 4
	maxParts      = 50
	maxPart       = 64 << 10
	maxRecipients = 100
	maxMessageIDs = 20
)

// Codes of the errors of [Parse].
const (
	NotAReport    = "not_a_report"
	NothingFailed = "nothing_failed"
)

// Parse reads a delivery report or a complaint, with LF or CRLF line ends; what
// is beyond MaxMessage is cut off. The error is an *automations.Error: with the
// code NotAReport when it is neither, and NothingFailed when it reports nothing
// that went wrong.
func Parse(raw []byte) ([]Report, error) {
	raw = raw[:min(len(raw), MaxMessage)]
	if bytes.HasPrefix(raw, []byte("From ")) { // as mail drops begin a message
		_, raw, _ = bytes.Cut(raw, []byte("\n"))
	}
	e, _ := message.ReadWithOptions(bytes.NewReader(raw), &message.ReadOptions{MaxHeaderBytes: maxPart})
	if e == nil {
		return nil, notAReport()
	}
	var p parts
	p.collect(e, 0, false)
	ids := p.messageIDs(&e.Header)
	var reports []Report
	switch {
	case p.feedback != nil:
		reports = complaints(p.feedback[0])
	case p.status != nil:
		reports = failures(p.status)
	default:
		return nil, notAReport()
	}
	if len(reports) == 0 {
		return nil, automations.Errorf(automations.KindInvalid, NothingFailed, "the report tells of no failure and no complaint; there is nothing to do")
	}
	for i := range reports {
		reports[i].MessageIDs = ids
	}
	return reports, nil
}

func notAReport() error {
	return automations.Errorf(automations.KindInvalid, NotAReport, "the message is neither a delivery report (RFC 3464) nor a complaint (RFC 5965); send the message as it came, with its header")
}

// parts are what a report consists of, as blocks of fields.
type parts struct {
	count    int
	status   []textproto.Header // of a message/delivery-status
	feedback []textproto.Header // of a message/feedback-report
	returned textproto.Header   // the header of the mail that it is about
}

// collect looks into a part. Only what stands in a multipart/report is one: a
// returned mail may have anything in it, and is not looked into.
func (p *parts) collect(e *message.Entity, depth int, inReport bool) {
	media, _, _ := e.Header.ContentType()
	if p.count++; p.count > maxParts || depth > maxDepth {
		return
	}
	if strings.HasPrefix(media, "multipart/") {
		for r := e.MultipartReader(); r != nil; {
			part, err := r.NextPart()
			if part == nil || err == io.EOF { // a message that was cut off still has its first parts
				return
			}
			p.collect(part, depth+1, media == "multipart/report")
		}
		return
	}
	if !inReport {
		return
	}
	switch media {
	case "message/delivery-status", "message/global-delivery-status":
		p.status = orElse(p.status, blocks(e.Body, maxRecipients+1))
	case "message/feedback-report":
		p.feedback = orElse(p.feedback, blocks(e.Body, 1))
	case "message/rfc822", "message/global", "text/rfc822-headers", "message/rfc822-headers", "message/global-headers":
		if first := blocks(e.Body, 1); p.returned.Len() == 0 && first != nil {
			p.returned = first[0]
		}
	}
}

func orElse(had, found []textproto.Header) []textproto.Header {
	if had != nil {
		return had
	}
	return found
}

// blocks reads up to limit blocks of header fields with empty lines between
// them; nil when there is none.
func blocks(body io.Reader, limit int) (list []textproto.Header) {
	r := bufio.NewReader(io.LimitReader(body, maxPart))
	for len(list) < limit {
		if c, err := r.Peek(1); err == nil && (c[0] == '\r' || c[0] == '\n') {
			r.ReadByte()
			continue
		}
		h, err := textproto.ReadHeader(r)
		if h.Len() > 0 {
			list = append(list, h)
		}
		if err != nil { // the end, or a line that is no field
			break
		}
		if _, err := r.Peek(1); err != nil {
			break
		}
	}
	return list
}

var messageID = regexp.MustCompile(`[^\s<>,;()]+@[^\s<>,;()]+`)

// messageIDs are what the report names its mail by: the header that came back,
// the envelope id that the mail was sent with, and what the report answers.
func (p *parts) messageIDs(outer *message.Header) (ids []string) {
	add := func(text string) {
		for _, id := range messageID.FindAllString(text, maxMessageIDs) {
			if len(ids) < maxMessageIDs && !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	add(p.returned.Get("Message-Id"))
	for _, block := range slices.Concat(p.status, p.feedback) {
		add(block.Get("Original-Message-Id"))
		add(block.Get("X-Original-Message-Id"))
		add(block.Get("Original-Envelope-Id"))
	}
	for _, name := range []string{"In-Reply-To", "References", "X-Original-Message-Id"} {
		add(outer.Get(name))
	}
	return ids
}

// identities are addresses as the mail may have them; what is none is left out.
func identities(texts ...string) (list []string) {
	for _, text := range texts {
		address, err := mail.ParseAddress(strings.TrimSpace(text))
		if err != nil {
			continue
		}
		identity, err := automations.NormalizeMailbox(address.Addr)
		if err == nil && !slices.Contains(list, identity) {
			list = append(list, identity)
		}
	}
	return list
}
