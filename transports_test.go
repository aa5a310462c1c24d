package libnet_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
)

// A read that asks for less than a message would lose the rest of it.
func TestANetworkThatKeepsMessagesApartIsRefused(t *testing.T) {
	dir := t.TempDir()
	if srv, err := libnet.Serve("unixpacket", filepath.Join(dir, "serve"), testkit.Frames, 10); err == nil {
		srv.Stop()
		t.Error("Serve listens on unixpacket")
	}
	listen := func(name string) net.Listener {
		l, err := net.Listen("unixpacket", filepath.Join(dir, name))
		if err != nil {
			t.Skip(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		return l
	}
	if c, err := libnet.Connect("unixpacket", listen("dialled").Addr().String(), testkit.Frames, 10); err == nil {
		c.Close()
		t.Error("Connect over unixpacket")
	}
	for name, serve := range map[string]func(*libnet.Server) error{
		"Accept": func(srv *libnet.Server) error { _, err := srv.Accept(); return err },
		"Serve":  func(srv *libnet.Server) error { return srv.Serve(libnet.HandlerFunc(testkit.Echo)) },
		"ServeMessages": func(srv *libnet.Server) error {
			return srv.ServeMessages(libnet.MessageHandlerFunc(testkit.EchoMessage))
		},
	} {
		srv := libnet.NewServer(listen(name), testkit.Frames, 10)
		srv.Logger = testkit.Quiet
		var err error
		testkit.Within(t, testkit.Patience, name, func() { err = serve(srv) })
		srv.Stop()
		if err == nil || errors.Is(err, libnet.ErrServerClosed) {
			t.Errorf("%s = %v; want a refusal", name, err)
		}
	}
}

func TestAConnThatKeepsMessagesApartBecomesNoSession(t *testing.T) {
	dir := t.TempDir()
	for network, address := range map[string]string{
		"unixpacket": filepath.Join(dir, "p"),
		"unixgram":   filepath.Join(dir, "g"),
		"udp":        "127.0.0.1:1",
	} {
		for _, wrap := range []func(net.Conn) net.Conn{
			func(c net.Conn) net.Conn { return c },
			func(c net.Conn) net.Conn { return struct{ net.Conn }{c} },
		} {
			srv := testkit.NewServer(t, testkit.Frames, 10)
			if s, err := srv.NewSession(wrap(messageConn(t, network, address))); err == nil {
				s.Close()
				t.Errorf("a session over %s", network)
			}
			if open := srv.Stats().Open; open != 0 {
				t.Errorf("%d sessions open", open)
			}
			d := libnet.Dialer{Protocol: testkit.Frames}
			if s, err := d.NewSession(wrap(messageConn(t, network, address))); err == nil {
				s.Close()
				t.Errorf("a client session over %s", network)
			}
		}
	}
}

// messageConn returns the client's end.
func messageConn(t *testing.T, network, address string) net.Conn {
	t.Helper()
	switch network {
	case "unixpacket":
		l, err := net.Listen(network, address)
		if err != nil {
			t.Skip(err)
		}
		defer l.Close()
	case "unixgram":
		l, err := net.ListenUnixgram(network, &net.UnixAddr{Name: address, Net: network})
		if err != nil {
			t.Skip(err)
		}
		defer os.Remove(address)
		defer l.Close()
	}
	conn, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}
