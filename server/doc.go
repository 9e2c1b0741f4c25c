// Package server is the HTTP API: one table of routes, three doors.
//
// The OpenSend door answers at every path with and without the prefix /api, in
// shapes that OpenSend and Resend clients read. The MailDiver door is POST
// /v1/events. The same routes answer on the control socket, where being able
// to connect is permission enough.
//
// A request passes: route, key, permission, body, handler. A handler decodes,
// makes one call to the engine or one transaction on the file, and returns an
// answer or an error; errors.go alone turns errors into statuses and bodies.
//
// Limits: headers 16 KiB, bodies [Config.BodyLimit], 15 s to send a request,
// 30 s to take an answer.
package server
