package web

import "net/http"

// routes is the whole dashboard.
func routes() []route {
	const get, post = http.MethodGet, http.MethodPost
	return []route{
		{get, "/join", "join", true, (*visit).join},
		{post, "/join", "join", true, (*visit).acceptInvitation},
		{get, "/sign-in", "sign-in", true, (*visit).signInForm},
		{post, "/sign-in", "sign-in", true, (*visit).signInWithPassword},
		{post, "/sign-out", "", false, (*visit).signOut},

		{get, "", "today", false, (*visit).today},
		{get, "/live", "", false, (*visit).live},

		{get, "/events", "events", false, (*visit).events},
		{get, "/events/unmatched", "unmatched", false, (*visit).unmatched},
		{get, "/events/send", "send-event", false, (*visit).sendForm},
		{post, "/events/send", "send-event", false, (*visit).sendTyped},
		{get, "/events/types", "event-types", false, (*visit).eventTypes},
		{post, "/events/types", "event-type", false, (*visit).createEventType},
		{get, "/events/types/new", "event-type", false, (*visit).newEventType},
		{get, "/events/types/{id}", "event-type", false, (*visit).eventType},
		{post, "/events/types/{id}", "event-type", false, (*visit).saveEventType},
		{post, "/events/types/{id}/delete", "event-type", false, (*visit).deleteEventType},
		{get, "/events/{id}", "event", false, (*visit).event},
		{post, "/events/{id}", "event", false, (*visit).sendAgain},

		{get, "/automations", "automations", false, (*visit).automations},
		{get, "/automations/new", "automation-new", false, (*visit).newAutomation},
		{post, "/automations", "automation-new", false, (*visit).createAutomation},
		{get, "/automations/{id}", "automation", false, (*visit).automation},
		{get, "/automations/{id}/edit", "builder", false, (*visit).editAutomation},
		{post, "/automations/{id}/edit", "builder", false, (*visit).changeDraft},
		{get, "/automations/{id}/runs", "runs", false, (*visit).automationRuns},
		{get, "/automations/{id}/revisions", "revisions", false, (*visit).revisions},
		{get, "/automations/{id}/settings", "automation-settings", false, (*visit).automationSettings},
		{post, "/automations/{id}/settings", "automation-settings", false, (*visit).saveAutomationSettings},
		{post, "/automations/{id}/enable", "", false, (*visit).enableAutomation},
		{post, "/automations/{id}/disable", "", false, (*visit).disableAutomation},
		{post, "/automations/{id}/duplicate", "", false, (*visit).duplicateAutomation},
		{post, "/automations/{id}/delete", "", false, (*visit).deleteAutomation},

		{get, "/runs", "runs", false, (*visit).runs},
		{post, "/runs/cancel", "", false, (*visit).cancelRuns},
		{post, "/runs/retry", "", false, (*visit).retryRuns},
		{get, "/runs/{workflow}/{run}", "run", false, (*visit).run},
		{post, "/runs/{workflow}/{run}/cancel", "run", false, (*visit).cancelRun},
		{post, "/runs/{workflow}/{run}/retry", "run", false, (*visit).retryRun},
		{post, "/runs/{workflow}/{run}/skip-wait", "run", false, (*visit).skipWait},
		{post, "/runs/{workflow}/{run}/fire", "run", false, (*visit).fireEvent},

		{get, "/contacts", "contacts", false, (*visit).contacts},
		{get, "/contacts/new", "new-contact", false, (*visit).newContact},
		{post, "/contacts/new", "new-contact", false, (*visit).createContact},
		{get, "/contacts/segments", "segments", false, (*visit).segments},
		{post, "/contacts/segments", "segments", false, (*visit).createSegment},
		{post, "/contacts/segments/{id}/{change}", "segments", false, (*visit).changeSegment},
		{get, "/contacts/topics", "topics", false, (*visit).topics},
		{post, "/contacts/topics", "topics", false, (*visit).createTopic},
		{post, "/contacts/topics/{id}/{change}", "topics", false, (*visit).changeTopic},
		{get, "/contacts/export/{id}", "", false, (*visit).exportContact},
		{get, "/contacts/{id}", "contact", false, (*visit).contact},
		{post, "/contacts/{id}/{change}", "contact", false, (*visit).changeContact},

		{get, "/mail", "mail", false, (*visit).mail},
		{get, "/mail/{id}", "email", false, (*visit).email},
		{get, "/mail/{id}/html", "", false, (*visit).emailHTML},
		{get, "/mail/{id}/source", "", false, (*visit).emailSource},
		{post, "/mail/{id}/{decision}", "email", false, (*visit).decideEmail},

		{get, "/templates", "templates", false, (*visit).templates},
		{post, "/templates", "templates", false, (*visit).createTemplate},
		{get, "/templates/{id}", "template", false, (*visit).template},
		{post, "/templates/{id}", "template", false, (*visit).saveTemplate},
		{post, "/templates/{id}/preview", "template", false, (*visit).previewTemplate},
		{post, "/templates/{id}/publish", "template", false, (*visit).publishTemplate},
		{post, "/templates/{id}/test", "template", false, (*visit).testTemplate},
		{post, "/templates/{id}/duplicate", "", false, (*visit).duplicateTemplate},
		{post, "/templates/{id}/delete", "", false, (*visit).deleteTemplate},
		{get, "/frames/{token}", "", false, (*visit).frame},

		{get, "/keys", "keys", false, (*visit).keys},
		{post, "/keys", "keys", false, (*visit).createKey},
		{post, "/keys/{id}/rename", "keys", false, (*visit).renameKey},
		{post, "/keys/{id}/revoke", "keys", false, (*visit).revokeKey},

		{get, "/webhooks", "webhooks", false, (*visit).webhooks},
		{post, "/webhooks", "webhooks", false, (*visit).createWebhook},
		{get, "/webhooks/{id}", "webhook", false, (*visit).webhook},
		{post, "/webhooks/{id}", "webhook", false, (*visit).changeWebhook},
		{post, "/webhooks/{id}/{do}", "webhook", false, (*visit).doWithWebhook},
		{get, "/webhooks/{id}/deliveries/{delivery}", "webhook-delivery", false, (*visit).webhookDelivery},
		{post, "/webhooks/{id}/deliveries/{delivery}/replay", "webhook-delivery", false, (*visit).replayWebhookDelivery},

		{get, "/system/users", "users", false, (*visit).users},
		{post, "/system/users", "users", false, (*visit).inviteUser},
		{post, "/system/users/reset", "users", false, (*visit).resetUser},
		{post, "/system/users/remove", "users", false, (*visit).removeUser},
		{post, "/system/users/password", "users", false, (*visit).changePassword},
	}
}
