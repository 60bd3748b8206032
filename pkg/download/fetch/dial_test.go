package fetch

import (
	"errors"
	"net"
	"testing"
)

// TestDialOutside has a name that was public when it was looked up and leads to this machine by the time of the connection.
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
	if _, err := connect(outside(t.Context(), l), "tcp", listener.Addr().String()); !errors.Is(err, ErrRedirect) || temporary(&connError{err}) {
		t.Errorf("error is %v, want ErrRedirect, and no second try", err)
	}
	other, err := ParseLocation("http://public.example/x", "/")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := connect(outside(t.Context(), other), "tcp", listener.Addr().String()) // as to a proxy
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}
