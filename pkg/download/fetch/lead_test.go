package fetch_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/download/fetch"
)

// internet makes a client that resolves names as the test says. Whatever their addresses are, they
// lead to one server.
func internet(t *testing.T, s *server, names map[string]string) *fetch.Client {
	t.Helper()
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, strings.TrimPrefix(s.URL, "http://"))
		}}
	t.Cleanup(transport.CloseIdleConnections)
	return soon(fetch.Options{Transport: transport,
		LookupIP: func(_ context.Context, host string) ([]netip.Addr, error) {
			if a, known := names[host]; known {
				return []netip.Addr{netip.MustParseAddr("192.0.2.77"), netip.MustParseAddr(a)}, nil
			}
			return nil, &net.DNSError{IsNotFound: true}
		}})
}

// TestRedirectInside rejects redirects from public addresses to those that only machines of one
// network can reach.
func TestRedirectInside(t *testing.T) {
	names := map[string]string{"public.example": "93.184.216.34",
		"other.example": "2606:2800:220:1::1", "inside.example": "10.0.0.1",
		"ula.example": "fd00::1"}
	tests := map[string]struct {
		from, to string
		refused  bool
	}{
		"loopback":                  {"public.example", "127.0.0.1", true},
		"loopback by name":          {"public.example", "localhost", true},
		"loopback by a longer name": {"public.example", "a.LocalHost.", true},
		"loopback, IPv6":            {"public.example", "[::1]", true},
		"loopback, IPv4 in IPv6":    {"public.example", "[::ffff:127.0.0.1]", true},
		"loopback, by NAT64":        {"public.example", "[64:ff9b::7f00:1]", true},
		"this machine":              {"public.example", "0.0.0.0", true},
		"link-local":                {"public.example", "169.254.169.254", true},
		"link-local, IPv6":          {"public.example", "[fe80::1]", true},
		"private":                   {"public.example", "192.168.1.1", true},
		"private, IPv6":             {"public.example", "[fd12::1]", true},
		"shared by a provider":      {"public.example", "100.64.1.1", true},
		"private by name":           {"public.example", "inside.example", true},
		"private by name, IPv6":     {"public.example", "ula.example", true},
		"from a public address":     {"93.184.216.34", "10.1.1.1", true},
		"from an unknown name":      {"unknown.example", "10.1.1.1", true},
		"public":                    {"public.example", "other.example", false},
		"public, IPv6":              {"public.example", "[2606:2800:220:1::1]", false},
		"from private to private":   {"inside.example", "10.1.1.1", false},
		"from loopback to loopback": {"127.0.0.1", "[::1]", false},
		"from private to public":    {"10.1.1.1", "public.example", false},
		// perhaps to a proxy
		"unknown": {"public.example", "unknown.example", false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			s := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/b" {
					content([]byte("ok"))(w, r)
					return
				}
				to(func(*http.Request) string { return "http://" + tc.to + "/b" })(w, r)
			})
			got, err := internet(t, s, names).Bytes(t.Context(),
				location(t, "http://"+tc.from+"/a?t0ken-of-mine"), 9)
			switch {
			case tc.refused && (!errors.Is(err, fetch.ErrRedirect) ||
				!strings.Contains(err.Error(), "is not a public address") || len(s.asked()) != 1):
				t.Errorf("Bytes = %q, %v after %d requests", got, err, len(s.asked()))
			case tc.refused && strings.Contains(err.Error(), "t0ken"):
				t.Errorf("error shows the token: %v", err)
			case !tc.refused && (err != nil || string(got) != "ok"):
				t.Errorf("Bytes = %q, %v", got, err)
			}
		})
	}
}

// TestRedirectInsideByDetour redirects by way of another public host.
func TestRedirectInsideByDetour(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		next := map[string]string{"/a": "http://other.example/b",
			"/b": "http://127.0.0.1/c"}[r.URL.Path]
		to(func(*http.Request) string { return next })(w, r)
	})
	names := map[string]string{"public.example": "93.184.216.34", "other.example": "93.184.216.35"}
	if _, err := internet(t, s, names).Bytes(t.Context(), location(t, "http://public.example/a"),
		9); !errors.Is(err, fetch.ErrRedirect) || len(s.asked()) != 2 {
		t.Errorf("by another host: %v after %d requests", err, len(s.asked()))
	}
}
