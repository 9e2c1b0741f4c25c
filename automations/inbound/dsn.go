package inbound

import (
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/emersion/go-message/textproto"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/mail"
)

// failures reads the recipients of a delivery report that did not get the mail,
// or have not so far (RFC 3464, section 2.3).
func failures(blocks []textproto.Header) (reports []Report) {
	for _, block := range blocks {
		if !block.Has("Final-Recipient") && !block.Has("Original-Recipient") {
			continue // about the message
		}
		o := outcome{status: block.Get("Status"), words: afterType(block.Get("Diagnostic-Code"))}
		var kind automations.ReportKind
		switch action, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(block.Get("Action"))), " "); {
		case action == "failed", action == "" && o.class() == 5:
			kind = automations.ReportBounced
		case action == "delayed", action == "" && o.class() == 4:
			kind = automations.ReportDelayed
		default: // delivered, relayed, expanded
			continue
		}
		original, final := afterType(block.Get("Original-Recipient")), afterType(block.Get("Final-Recipient"))
		r := Report{Report: o.report(kind, "dsn"), Recipients: identities(original, withoutXtext(original), final)}
		if r.Recipients == nil { // whom the mail was passed on to, perhaps: not the address that it was sent to
			r.NoSuchAddress = false
		}
		reports = append(reports, r)
	}
	return reports
}

// afterType is the value of a field of the form "type; value". Some leave the
// type out, and their words may have a semicolon.
func afterType(field string) string {
	if kind, value, found := strings.Cut(field, ";"); found && len(strings.Fields(kind)) <= 1 {
		field = value
	}
	return strings.TrimSpace(field)
}

// withoutXtext undoes the encoding that addresses have in SMTP (RFC 3461,
// section 4), and that some servers leave in their reports.
func withoutXtext(s string) string {
	s = strings.ReplaceAll(strings.ReplaceAll(s, "%", "%25"), "+", "%")
	decoded, err := url.PathUnescape(s)
	if err != nil {
		return ""
	}
	return decoded
}

// outcome is what a server says of a recipient.
type outcome struct {
	status string // a code of RFC 3463, and perhaps a comment
	words  string // the server's reply
	code   int    // of the reply, when it does not stand in the words
}

var (
	enhanced = regexp.MustCompile(`(?:^|[^\d.])([245])\.(\d{1,3})\.(\d{1,3})(?:$|[^\d.])`)
	reply    = regexp.MustCompile(`^[^\d]{0,40}?([2345]\d\d)(?:$|[ -])`)
)

// enhancedCode finds a code of RFC 3463 in a text.
func enhancedCode(text string) (code [3]int, ok bool) {
	found := enhanced.FindStringSubmatch(text)
	if found == nil {
		return code, false
	}
	for i := range code {
		code[i], _ = strconv.Atoi(found[i+1])
	}
	return code, true
}

// codes are the reply code and the enhanced one. A status that says no more
// than that it failed gives way to the one in the server's reply.
func (o outcome) codes() (code int, status [3]int) {
	status, ok := enhancedCode(o.status)
	code = o.code
	if found := reply.FindStringSubmatch(o.words); found != nil && code == 0 {
		code, _ = strconv.Atoi(found[1])
	}
	if !ok || status[1] == 0 && status[2] == 0 {
		if own, ok := enhancedCode(o.words); ok {
			return code, own
		}
		if class := code / 100; !ok && (class == 4 || class == 5) {
			status[0] = class
		}
	}
	return code, status
}

// class is 5 for what is permanent, 4 for what may pass, and 0 when it is not
// said.
func (o outcome) class() int {
	_, status := o.codes()
	return status[0]
}

func statusText(code [3]int) string { return fmt.Sprintf("%d.%d.%d", code[0], code[1], code[2]) }

func (o outcome) report(kind automations.ReportKind, source string) automations.Report {
	r := automations.Report{Kind: kind, Source: source, Text: mail.Printable(strings.TrimSpace(o.words))}
	code, status := o.codes()
	if status[0] != 0 {
		r.Status = statusText(status)
	}
	r.NoSuchAddress = kind == automations.ReportBounced && status[0] == 5 && mail.NoSuchAddress(code, status, o.words)
	return r
}
