package fetch

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
)

// MayLead decides whether the server at from may refer the client to next: by a redirect, a mirror
// list, or metadata. The error wraps [ErrRedirect].
//
// A reference must not lead from https to http, unless plain is set, nor from the network to local
// files. Nor may it lead from a public address to a loopback, link-local or private one: such
// machines trust their neighbours, as cloud metadata services do.
func (c *Client) MayLead(ctx context.Context, from, next Location, plain bool) error {
	a, b := from.at(), next.at()
	switch {
	case a.url == nil:
		return nil
	case b.url == nil:
		return fmt.Errorf("%s: %w: it leads to a local file, %s", from, ErrRedirect, next)
	case a.url.Scheme == "https" && b.url.Scheme == "http" && !plain:
		return from.guard(fmt.Errorf("%s: %w: it leads from https to http, to %s", from,
			ErrRedirect, next))
	case strings.EqualFold(a.url.Hostname(), b.url.Hostname()):
		return nil
	}
	if inside, is := c.inside(ctx, b.url.Hostname()); is {
		if _, is := c.inside(ctx, a.url.Hostname()); !is {
			return from.guard(fmt.Errorf("%s: %w: it leads to %s, and %s is not a public address",
				from, ErrRedirect, next, inside))
		}
	}
	return nil
}

// inside returns an address of host that is not public. A name that cannot be resolved has none: it
// may be known to a proxy only, and dial checks direct connections again.
func (c *Client) inside(ctx context.Context, host string) (netip.Addr, bool) {
	addresses := []netip.Addr{}
	if literal, err := netip.ParseAddr(host); err == nil {
		addresses = append(addresses, literal)
	} else if name := strings.TrimSuffix(strings.ToLower(host), "."); name == "localhost" ||
		strings.HasSuffix(name, ".localhost") {
		addresses = append(addresses, netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	} else if found, err := c.o.LookupIP(ctx, host); err == nil {
		addresses = found
	}
	for _, a := range addresses {
		if !isPublic(a) {
			return a, true
		}
	}
	return netip.Addr{}, false
}

var (
	sharedSpace = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598: behind a provider's NAT
	// RFC 1122: Linux treats it as the local host
	thisNetwork = netip.MustParsePrefix("0.0.0.0/8")
	// RFC 6052: the last four bytes hold an IPv4 address
	nat64 = netip.MustParsePrefix("64:ff9b::/96")
)

// isPublic reports whether anybody on the internet can reach an address.
func isPublic(a netip.Addr) bool {
	a = a.WithZone("").Unmap()
	if nat64.Contains(a) {
		bytes := a.As16()
		a = netip.AddrFrom4([4]byte(bytes[12:]))
	}
	return a.IsGlobalUnicast() && !a.IsPrivate() && !sharedSpace.Contains(a) &&
		!thisNetwork.Contains(a)
}

func lookupIP(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// outsideKey is the context key for the host and port whose connection must go to a public address.
type outsideKey struct{}

// outside marks a request for l that a public server caused: by the time of the connection the name
// may resolve to another address.
func outside(ctx context.Context, l Location) context.Context {
	u := l.at().url
	return context.WithValue(ctx, outsideKey{},
		net.JoinHostPort(u.Hostname(), port(u.Scheme, u.Port())))
}

// dial connects, and refuses non-public addresses where the request must not lead to one.
// Connections to a proxy are exempt.
func dial(d *net.Dialer) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if only, _ := ctx.Value(outsideKey{}).(string); only == "" ||
			!strings.EqualFold(only, address) {
			return d.DialContext(ctx, network, address)
		}
		careful := *d
		careful.Control = func(_, address string, _ syscall.RawConn) error {
			if to, err := netip.ParseAddrPort(address); err != nil || !isPublic(to.Addr()) {
				return fmt.Errorf("%w: %s is not a public address", ErrRedirect, address)
			}
			return nil
		}
		return careful.DialContext(ctx, network, address)
	}
}
