package cmd

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// behindProxies gives requests that come through a trusted proxy the address of
// the client that the proxy saw: the last one of X-Forwarded-For that is not a
// trusted proxy itself. Whatever stands before it was written by the client, who
// can write anything. Whoever comes over a unix socket is a proxy, and trusted:
// its permissions say who may.
func behindProxies(trusted []netip.Prefix, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer, err := netip.ParseAddrPort(r.RemoteAddr)
		if unix := err != nil; unix || inside(trusted, peer.Addr()) {
			if client, ok := forwardedFor(trusted, r.Header.Values("X-Forwarded-For")); ok {
				r.RemoteAddr = net.JoinHostPort(client.String(), "0")
			}
		}
		next.ServeHTTP(w, r)
	})
}

// forwardedFor finds the client in the values of X-Forwarded-For, of which the
// last is the nearest.
func forwardedFor(trusted []netip.Prefix, values []string) (client netip.Addr, ok bool) {
	hops := strings.Split(strings.Join(values, ","), ",")
	for _, hop := range slices.Backward(hops) {
		addr, err := parseHop(strings.TrimSpace(hop))
		if err != nil {
			return client, ok // what a trusted proxy wrote ends here
		}
		if client, ok = addr, true; !inside(trusted, addr) {
			return client, ok
		}
	}
	return client, ok
}

// parseHop reads an address, to which some proxies add the port.
func parseHop(text string) (netip.Addr, error) {
	if at, err := netip.ParseAddrPort(text); err == nil {
		return at.Addr().Unmap().WithZone(""), nil
	}
	addr, err := netip.ParseAddr(strings.Trim(text, "[]"))
	return addr.Unmap().WithZone(""), err
}

func inside(networks []netip.Prefix, addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(addr) })
}
