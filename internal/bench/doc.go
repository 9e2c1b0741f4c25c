// Command bench measures what opensend does in a second and what that costs,
// with the real program on a data file of its own, over HTTP on this machine.
//
//	go run ./internal/bench                     everything; minutes, and 2 GB of disk
//	go run ./internal/bench -quick              the same on little, to see that it works
//	go run ./internal/bench -part load,growth
//
// # Parts
//
//	disk    small writes, each synced: what the disk allows
//	load    events from 1 to 1,024 clients that each wait for their answer
//	rate    events that arrive at a fixed rate, whatever the server does;
//	        latency counts from when an event was to be sent
//	start   a server without a file, until its first 202
//	growth  the cost of an event, memory, start, lists, and a backup while
//	        events come in, on files of growing size
//	due     timers that fall due in a file full of waiting ones
//
// Every event has a key, a known contact and a payload, and starts a run that
// goes on to a delay. Server and clients share the machine; CPU and memory are
// those of the server's process alone. Memory is what is not a page of the
// file: the heap with its reserve, and stacks. It reads /proc, so it needs
// Linux.
package main
