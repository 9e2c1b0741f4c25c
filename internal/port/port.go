// Package port finds addresses for servers that are stopped and started again, as
// tests do.
package port

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// The ports to choose from lie below those that systems give to whoever asks for
// any.
const (
	first = 20_000
	count = 10_000
)

// Reserve returns a loopback address that nobody else gets before release is
// called, also while nothing listens there: the UDP port of the same number is
// held, and whoever else asks here finds it taken.
func Reserve() (address string, release func() error, err error) {
	for range count {
		address = fmt.Sprintf("127.0.0.1:%d", first+rand.IntN(count))
		held, err := net.ListenPacket("udp", address)
		if err != nil {
			continue
		}
		if ln, err := net.Listen("tcp", address); err == nil {
			return address, held.Close, ln.Close()
		}
		held.Close()
	}
	return "", nil, errors.New("no port is free")
}
