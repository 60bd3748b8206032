package fetch

import (
	"errors"
	"net"
	"testing"
)

// TestDialOutside has a name whose address is public when looked up, and local when the connection
// is made.
func TestDialOutside(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	l, err := ParseLocation("http://"+listener.Addr().String()+"/x", "/")
	if err != nil {
		t.Fatal(err)
	}
	connect := dial(new(net.Dialer))
	if _, err := connect(outside(t.Context(), l), "tcp", listener.Addr().String()); !errors.Is(err,
		ErrRedirect) || temporary(&connError{err}) {
		t.Errorf("error is %v, want ErrRedirect without a second attempt", err)
	}
	other, err := ParseLocation("http://public.example/x", "/")
	if err != nil {
		t.Fatal(err)
	}
	// as for a proxy
	conn, err := connect(outside(t.Context(), other), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}
