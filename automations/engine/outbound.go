package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/opensend/opensend/automations"
)

const (
	outboundTimeout = 15 * time.Second // for one request, from the name to the last byte
	maxOutboundBody = 64 << 10         // of an answer; the rest is not read
)

// outboundClient makes HTTP requests to addresses that users name, and lets
// them reach nothing that only this machine or its network should: a name is
// resolved, every address it has is checked, and a checked one is dialled, so
// that a name that resolves differently a moment later gains nothing. Redirects
// are not followed and proxies of the environment not used.
type outboundClient struct {
	allowed  []netip.Prefix // private networks that may be reached all the same
	resolver *net.Resolver
	dial     func(ctx context.Context, network, address string) (net.Conn, error)
	http     *http.Client
}

// newOutboundClient makes a client that may reach the public Internet and the
// given private networks.
func newOutboundClient(allowed []netip.Prefix) *outboundClient {
	c := &outboundClient{allowed: allowed, resolver: net.DefaultResolver, dial: (&net.Dialer{}).DialContext}
	c.http = &http.Client{
		Timeout:       outboundTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext:            c.dialChecked,
			MaxResponseHeaderBytes: 16 << 10,
			MaxIdleConnsPerHost:    webhookWorkers,
			IdleConnTimeout:        30 * time.Second,
			DisableCompression:     true, // the limit is for what is read
		},
	}
	return c
}

// do makes one request and reads its answer. The error may be shown to users;
// with a status it says that the body could not be read to its end.
func (c *outboundClient) do(r *http.Request) (status int, body []byte, err error) {
	resp, err := c.http.Do(r)
	if err != nil {
		return 0, nil, outboundError(err)
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxOutboundBody))
	if err != nil {
		return resp.StatusCode, body, outboundError(err)
	}
	return resp.StatusCode, body, nil
}

// outboundError says in few words why there is no answer.
func outboundError(err error) error {
	if refused, ok := errors.AsType[*refusedAddressError](err); ok {
		return refused
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return fmt.Errorf("the name %s cannot be resolved", dns.Name)
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return errors.New("no answer within 15 seconds")
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return fmt.Errorf("no connection: %w", op.Err)
	}
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) { // leave out the URL
		err = inner
	}
	return err
}

// refusedAddressError says that a host has an address that must not be reached.
type refusedAddressError struct {
	host string
	addr netip.Addr
}

func (e *refusedAddressError) Error() string {
	where := e.host
	if e.host != e.addr.String() {
		where += " is at " + e.addr.String() + ", which"
	}
	return where + " is not a public address; name its network in webhooks.allow_private to reach it"
}

// dialChecked resolves the host, checks every address and dials the first that
// answers.
func (c *outboundClient) dialChecked(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	addrs, err := c.resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	for _, addr := range addrs {
		if !c.reachable(addr) {
			return nil, &refusedAddressError{host, addr}
		}
	}
	var failures []error
	for _, addr := range addrs {
		conn, err := c.dial(ctx, network, net.JoinHostPort(addr.String(), port))
		if err == nil {
			return conn, nil
		}
		failures = append(failures, err)
	}
	return nil, errors.Join(failures...)
}

func (c *outboundClient) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr.Unmap()}, nil
	}
	addrs, err := c.resolver.LookupNetIP(ctx, "ip", host)
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	return addrs, err
}

// checkHost refuses a host that can be seen to be out of reach without asking
// anybody.
func (c *outboundClient) checkHost(host string) error {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	addr, err := netip.ParseAddr(host)
	switch {
	case host == "localhost" || strings.HasSuffix(host, ".localhost"):
		addr = netip.MustParseAddr("127.0.0.1")
	case err != nil:
		return nil
	}
	if !c.reachable(addr.Unmap()) {
		return automations.Errorf(automations.KindInvalid, "webhook_endpoint_private", "%s", (&refusedAddressError{host, addr}).Error())
	}
	return nil
}

// reachable reports whether an address is public or allowed.
func (c *outboundClient) reachable(addr netip.Addr) bool {
	for _, network := range c.allowed {
		if network.Contains(addr) {
			return true
		}
	}
	if addr.Is6() && !globalV6.Contains(addr) {
		return false
	}
	for _, network := range notPublic {
		if network.Contains(addr) {
			return false
		}
	}
	return addr.Zone() == ""
}

// globalV6 is all that is given out of IPv6. What lies outside is local, mapped
// or translated to IPv4, or nothing.
var globalV6 = netip.MustParsePrefix("2000::/3")

// notPublic are the networks of IANA's special-purpose registries, and one
// address at which a cloud keeps its metadata.
var notPublic = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
	"192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
	"168.63.129.16/32",
	"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
)

func prefixes(texts ...string) (list []netip.Prefix) {
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}
