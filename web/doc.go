// Package web is the dashboard: what came in, what it did, and the mail that
// went out, for the owner of the machine and the people they trust; and the page
// by which people unsubscribe.
//
// # Model
//
// Pages are rendered by the server from templates and ask nothing of other
// hosts. What a page shows is read from the store; what it changes goes through
// the API's own handler, [Config.API], as any client's request would: the rules
// of the API are the rules of the dashboard, and its refusals are shown in its
// own words. One handler of a page is one entry of the table in routes.go.
//
// An automation that is being built is a draft in the page: each button of the
// builder sends it along and gets it back changed, drawn, and with what is wrong
// with it. Only publishing writes. The browser keeps a draft until it is
// published or discarded, and offers it when the automation is opened again.
//
// A form that is sent after its session has ended does nothing; the pages that
// lead back in keep it, so that it can be sent again.
//
// # Promise
//
// Nothing below /dashboard answers before somebody has set a password with the
// link that the server prints. Passwords are kept as argon2id, sessions as
// hashes of their secrets. Requests from other sites change nothing. No script
// runs but the program's own files, whatever records hold.
//
// # Limits
//
// A session ends after 7 days without use and after 30 days in any case. Ten
// wrong passwords from one address, or for one name, make the next wait. A page
// of runs looks at 2,500 of them, of 100 automations at most, and says when
// there are more; one press cancels or retries 500 at most. The numbers on an
// automation's steps are of its newest 2,000 runs. The builder takes back 20
// changes.
package web
