package server

import (
	"net/http"
	"strings"
)

// access is which API keys a route takes. Keys of full_access open all.
type access int

const (
	accessFull     access = iota // full_access only
	accessLive                   // full_access only, and no test key: mail may leave
	accessSending                // also sending_access
	accessEvents                 // also events_access
	accessMetrics                // also metrics_access
	accessNone                   // no key needed
	accessProvider               // no key: the handler asks for the provider's own proof
)

// door is whose contract a route follows: its prefixes and its error bodies.
type door int

const (
	openSendDoor  door = iota // at / and /api
	mailDiverDoor             // at / with MailDiver's errors
	plainDoor                 // at / only
)

// route is one entry of the API.
type route struct {
	method string
	path   string // a pattern of http.ServeMux
	door   door
	access access
	handle func(*Server, *request) (answer, error)
}

func (rt route) prefixes() []string {
	if rt.door == openSendDoor {
		return []string{"", "/api"}
	}
	return []string{""}
}

// family is what the route's requests are counted as: the doors for events by
// their paths, everything else by the first part of its path.
func (rt route) family() string {
	if rt.access == accessEvents {
		return rt.path
	}
	first, _, _ := strings.Cut(rt.path[1:], "/")
	return "/" + first
}

// media is the media type of the route's body; empty where a body is not looked
// at.
func (rt route) media() string {
	switch {
	case rt.method == http.MethodGet, rt.method == http.MethodDelete:
		return ""
	case rt.path == "/mail/inbound":
		return "message/rfc822"
	case rt.access == accessProvider:
		return "" // some call their JSON text/plain
	case rt.path == "/suppressions/import":
		return "text/csv"
	}
	return "application/json"
}

func (rt route) errors() func(*request, error) answer {
	if rt.door == mailDiverDoor {
		return mailDiverErrors
	}
	return openSendErrors
}

// routes is the whole API.
func routes() []route {
	const get, post, patch, del = http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete
	return []route{
		{get, "/healthz", plainDoor, accessNone, (*Server).health},
		{get, "/readyz", plainDoor, accessNone, (*Server).ready},
		{get, "/metrics", plainDoor, accessMetrics, (*Server).metrics},
		{get, "/openapi.json", plainDoor, accessNone, (*Server).openAPIJSON},
		{get, "/docs", plainDoor, accessNone, (*Server).docs},

		{post, "/events/send", openSendDoor, accessEvents, (*Server).sendEvent},
		{post, "/events/send/batch", openSendDoor, accessEvents, (*Server).sendEvents},
		{post, "/v1/events", mailDiverDoor, accessEvents, (*Server).sendMailDiverEvent},
		{get, "/deliveries", openSendDoor, accessFull, (*Server).listDeliveries},
		{get, "/deliveries/{id}", openSendDoor, accessFull, (*Server).getDelivery},

		{post, "/events", openSendDoor, accessFull, (*Server).createEventType},
		{get, "/events", openSendDoor, accessFull, (*Server).listEventTypes},
		{del, "/events", openSendDoor, accessFull, (*Server).deleteEventTypeByQuery},
		{get, "/events/{id}", openSendDoor, accessFull, (*Server).getEventType},
		{patch, "/events/{id}", openSendDoor, accessFull, (*Server).updateEventType},
		{del, "/events/{id}", openSendDoor, accessFull, (*Server).deleteEventType},

		{post, "/automations", openSendDoor, accessFull, (*Server).createAutomation},
		{get, "/automations", openSendDoor, accessFull, (*Server).listAutomations},
		{get, "/automations/{id}", openSendDoor, accessFull, (*Server).getAutomation},
		{patch, "/automations/{id}", openSendDoor, accessFull, (*Server).updateAutomation},
		{del, "/automations/{id}", openSendDoor, accessFull, (*Server).deleteAutomation},
		{post, "/automations/{id}/stop", openSendDoor, accessFull, (*Server).stopAutomation},
		{post, "/automations/{id}/duplicate", openSendDoor, accessFull, (*Server).duplicateAutomation},
		{get, "/automations/{id}/revisions", openSendDoor, accessFull, (*Server).listRevisions},
		{get, "/automations/{id}/runs", openSendDoor, accessFull, (*Server).listRuns},
		{get, "/automations/{id}/runs/metrics", openSendDoor, accessFull, (*Server).runMetrics},
		{get, "/automations/{id}/runs/{run}", openSendDoor, accessFull, (*Server).getRun},
		{post, "/automations/{id}/runs/{run}/cancel", openSendDoor, accessFull, (*Server).cancelRun},
		{post, "/automations/{id}/runs/{run}/retry", openSendDoor, accessLive, (*Server).retryRun},
		{post, "/automations/{id}/runs/{run}/skip-wait", openSendDoor, accessLive, (*Server).skipRunWait},

		{post, "/contacts", openSendDoor, accessFull, (*Server).createContact},
		{post, "/contacts/batch", openSendDoor, accessFull, (*Server).saveContacts},
		{get, "/contacts", openSendDoor, accessFull, (*Server).listContacts},
		{get, "/contacts/{id}", openSendDoor, accessFull, (*Server).getContact},
		{patch, "/contacts/{id}", openSendDoor, accessFull, (*Server).updateContact},
		{del, "/contacts/{id}", openSendDoor, accessFull, (*Server).deleteContact},
		{get, "/contacts/{id}/export", openSendDoor, accessFull, (*Server).exportContact},
		{post, "/contacts/{id}/erase", openSendDoor, accessFull, (*Server).eraseContact},

		{post, "/segments", openSendDoor, accessFull, (*Server).createSegment},
		{get, "/segments", openSendDoor, accessFull, (*Server).listSegments},
		{get, "/segments/{id}", openSendDoor, accessFull, (*Server).getSegment},
		{patch, "/segments/{id}", openSendDoor, accessFull, (*Server).updateSegment},
		{del, "/segments/{id}", openSendDoor, accessFull, (*Server).deleteSegment},
		{get, "/segments/{segment}/contacts", openSendDoor, accessFull, (*Server).listSegmentContacts},
		{get, "/contacts/{id}/segments", openSendDoor, accessFull, (*Server).listContactSegments},
		{post, "/contacts/{id}/segments/{segment}", openSendDoor, accessFull, (*Server).addContactToSegment},
		{del, "/contacts/{id}/segments/{segment}", openSendDoor, accessFull, (*Server).removeContactFromSegment},

		{post, "/topics", openSendDoor, accessFull, (*Server).createTopic},
		{get, "/topics", openSendDoor, accessFull, (*Server).listTopics},
		{get, "/topics/{id}", openSendDoor, accessFull, (*Server).getTopic},
		{patch, "/topics/{id}", openSendDoor, accessFull, (*Server).updateTopic},
		{del, "/topics/{id}", openSendDoor, accessFull, (*Server).deleteTopic},
		{get, "/contacts/{id}/topics", openSendDoor, accessFull, (*Server).listContactTopics},
		{patch, "/contacts/{id}/topics", openSendDoor, accessFull, (*Server).updateContactTopics},

		{post, "/contact-properties", openSendDoor, accessFull, (*Server).createContactProperty},
		{get, "/contact-properties", openSendDoor, accessFull, (*Server).listContactProperties},
		{get, "/contact-properties/{id}", openSendDoor, accessFull, (*Server).getContactProperty},
		{patch, "/contact-properties/{id}", openSendDoor, accessFull, (*Server).updateContactProperty},
		{del, "/contact-properties/{id}", openSendDoor, accessFull, (*Server).deleteContactProperty},

		// Segments by their older name.
		{post, "/audiences", openSendDoor, accessFull, (*Server).createSegment},
		{get, "/audiences", openSendDoor, accessFull, (*Server).listSegments},
		{get, "/audiences/{id}", openSendDoor, accessFull, (*Server).getSegment},
		{patch, "/audiences/{id}", openSendDoor, accessFull, (*Server).updateSegment},
		{del, "/audiences/{id}", openSendDoor, accessFull, (*Server).deleteSegment},
		{post, "/audiences/{segment}/contacts", openSendDoor, accessFull, (*Server).createContact},
		{get, "/audiences/{segment}/contacts", openSendDoor, accessFull, (*Server).listSegmentContacts},
		{get, "/audiences/{segment}/contacts/{id}", openSendDoor, accessFull, (*Server).getContact},
		{patch, "/audiences/{segment}/contacts/{id}", openSendDoor, accessFull, (*Server).updateContact},
		{del, "/audiences/{segment}/contacts/{id}", openSendDoor, accessFull, (*Server).deleteContact},

		{post, "/templates", openSendDoor, accessFull, (*Server).createTemplate},
		{get, "/templates", openSendDoor, accessFull, (*Server).listTemplates},
		{get, "/templates/{id}", openSendDoor, accessFull, (*Server).getTemplate},
		{patch, "/templates/{id}", openSendDoor, accessFull, (*Server).updateTemplate},
		{del, "/templates/{id}", openSendDoor, accessFull, (*Server).deleteTemplate},
		{post, "/templates/{id}/publish", openSendDoor, accessFull, (*Server).publishTemplate},
		{post, "/templates/{id}/duplicate", openSendDoor, accessFull, (*Server).duplicateTemplate},
		{post, "/templates/{id}/preview", openSendDoor, accessFull, (*Server).previewTemplate},

		{post, "/emails", openSendDoor, accessSending, (*Server).sendEmail},
		{post, "/emails/batch", openSendDoor, accessSending, (*Server).sendEmails},
		{get, "/emails", openSendDoor, accessFull, (*Server).listEmails},
		{get, "/emails/{id}", openSendDoor, accessFull, (*Server).getEmail},
		{patch, "/emails/{id}", openSendDoor, accessFull, (*Server).updateEmail},
		{post, "/emails/{id}/cancel", openSendDoor, accessFull, (*Server).cancelEmail},
		{get, "/emails/{id}/source", openSendDoor, accessFull, (*Server).getEmailSource},
		{post, "/emails/{id}/resend", openSendDoor, accessLive, (*Server).resendEmail},
		{post, "/emails/{id}/confirm", openSendDoor, accessLive, (*Server).confirmEmail},
		{post, "/emails/{id}/release", openSendDoor, accessLive, (*Server).releaseEmail},

		{post, "/suppressions", openSendDoor, accessFull, (*Server).createSuppression},
		{get, "/suppressions", openSendDoor, accessFull, (*Server).listSuppressions},
		{post, "/suppressions/batch/add", openSendDoor, accessFull, (*Server).createSuppressions},
		{post, "/suppressions/batch/remove", openSendDoor, accessFull, (*Server).deleteSuppressions},
		{get, "/suppressions/export", openSendDoor, accessFull, (*Server).exportSuppressions},
		{post, "/suppressions/import", openSendDoor, accessFull, (*Server).importSuppressions},
		{get, "/suppressions/{id}", openSendDoor, accessFull, (*Server).getSuppression},
		{del, "/suppressions/{id}", openSendDoor, accessFull, (*Server).deleteSuppression},

		{post, "/mail/inbound", openSendDoor, accessSending, (*Server).receiveReport},
		{post, "/mail/inbound/ses", plainDoor, accessProvider, (*Server).receiveSES},
		{post, "/mail/inbound/postmark", plainDoor, accessProvider, (*Server).receivePostmark},
		{post, "/mail/inbound/mailgun", plainDoor, accessProvider, (*Server).receiveMailgun},

		{post, "/webhooks", openSendDoor, accessFull, (*Server).createWebhook},
		{get, "/webhooks", openSendDoor, accessFull, (*Server).listWebhooks},
		{get, "/webhooks/{id}", openSendDoor, accessFull, (*Server).getWebhook},
		{patch, "/webhooks/{id}", openSendDoor, accessFull, (*Server).updateWebhook},
		{del, "/webhooks/{id}", openSendDoor, accessFull, (*Server).deleteWebhook},
		{post, "/webhooks/{id}/rotate", openSendDoor, accessFull, (*Server).rotateWebhook},
		{post, "/webhooks/{id}/test", openSendDoor, accessFull, (*Server).testWebhook},
		{get, "/webhooks/{id}/deliveries", openSendDoor, accessFull, (*Server).listWebhookDeliveries},
		{get, "/webhooks/{id}/deliveries/{delivery}", openSendDoor, accessFull, (*Server).getWebhookDelivery},
		{get, "/webhooks/{id}/deliveries/{delivery}/attempts", openSendDoor, accessFull, (*Server).listWebhookAttempts},
		{post, "/webhooks/{id}/deliveries/{delivery}/replay", openSendDoor, accessFull, (*Server).replayWebhookDelivery},

		// The same by the names that Resend's clients call.
		{post, "/webhooks/{id}/signing-secret/rotate", openSendDoor, accessFull, (*Server).rotateWebhook},
		{get, "/webhooks/{id}/events", openSendDoor, accessFull, (*Server).listWebhookDeliveries},
		{get, "/webhooks/{id}/events/{delivery}", openSendDoor, accessFull, (*Server).getWebhookDelivery},
		{get, "/webhooks/{id}/events/{delivery}/attempts", openSendDoor, accessFull, (*Server).listWebhookAttempts},
		{post, "/webhooks/{id}/events/{delivery}/replay", openSendDoor, accessFull, (*Server).replayWebhookDelivery},

		{post, "/api-keys", openSendDoor, accessFull, (*Server).createAPIKey},
		{get, "/api-keys", openSendDoor, accessFull, (*Server).listAPIKeys},
		{patch, "/api-keys/{id}", openSendDoor, accessFull, (*Server).updateAPIKey},
		{del, "/api-keys/{id}", openSendDoor, accessFull, (*Server).deleteAPIKey},
	}
}
