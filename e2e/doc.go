// Package e2e drives the real program from outside: its dashboard with a real
// browser, its certificates with Pebble, Let's Encrypt's own server for tests, and
// its API with Resend's client for Node (*.test.mjs). It is a module of its own, so
// that the program's dependencies stay the program's.
package e2e
