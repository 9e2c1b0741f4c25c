// Command torture does to opensend what a bad day does to a server, and
// compares what is left with what was promised.
//
//	go run ./internal/torture                          every lane, briefly
//	go run ./internal/torture -lane kill -cycles 10000
//
// # Lanes
//
//	kill     SIGKILL at random moments while 8 to 64 clients post events
//	send     SIGKILL at random moments while eight workers send mail
//	timers   SIGKILL while thousands of delays fall due
//	power    power cuts: what the server wrote is replayed up to a random
//	         moment, with what was not yet synced lost in part
//	flips    single bits of the closed file are flipped
//	full     the disk fills up and gets room again
//
// Every lane drives the real program over HTTP and keeps a ledger of what was
// acknowledged. It has controls too: programs with one line broken, built
// beside the real one, in which the lane must find the fault. A lane that the
// machine does not allow says so and is left out.
//
// The exit code is 0 when every promise held and every control was caught.
package main
