package libnet_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

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

// unixServer echoes on path until the test ends.
func unixServer(t *testing.T, path string) *libnet.Server {
	t.Helper()
	srv, err := libnet.Serve("unix", path, testkit.Frames, 10)
	if err != nil {
		t.Fatal(err)
	}
	return echoing(t, srv)
}

func echoing(t *testing.T, srv *libnet.Server) *libnet.Server {
	t.Helper()
	srv.Logger = testkit.Quiet
	t.Cleanup(srv.Stop)
	go srv.Serve(libnet.HandlerFunc(testkit.Echo))
	return srv
}

// answersAt fails the test unless an echo server is behind path.
func answersAt(t *testing.T, path string) {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(testkit.Patience))
	testkit.Ask(t, conn, "who is there")
}

// staleSocket leaves a socket's file behind as a process does that was killed.
func staleSocket(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = l.Close()
	return path
}

func TestAStaleUnixSocketKeepsNobodyFromListening(t *testing.T) {
	path := staleSocket(t)
	srv := unixServer(t, path)
	answersAt(t, path)
	srv.Stop()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there after Stop: %v", err)
	}
}

func TestAUnixSocketThatIsListenedOnIsNotTaken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	unixServer(t, path)
	_, err := libnet.Serve("unix", path, testkit.Frames, 10)
	testkit.WantErr(t, "a second server on the path", err, syscall.EADDRINUSE)
	answersAt(t, path)
}

func TestAFileThatIsNoSocketIsNotRemoved(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(staleSocket(t), link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, link} {
		_, err := libnet.Serve("unix", path, testkit.Frames, 10)
		testkit.WantErr(t, "a server on "+path, err, syscall.EADDRINUSE)
		if _, err := os.Lstat(path); err != nil {
			t.Error(err)
		}
	}
}

func TestOfManyThatFindAStaleSocketOneListens(t *testing.T) {
	path := staleSocket(t)
	var wg sync.WaitGroup
	servers := make(chan *libnet.Server, 16)
	for range cap(servers) {
		wg.Go(func() {
			srv, err := libnet.Serve("unix", path, testkit.Frames, 10)
			if err != nil {
				wantErrIn(t, "a server that came later", err, syscall.EADDRINUSE)
				return
			}
			servers <- srv
		})
	}
	wg.Wait()
	if len(servers) != 1 {
		t.Fatalf("%d servers listen on one path", len(servers))
	}
	echoing(t, <-servers)
	answersAt(t, path)
}

// wantErrIn is wantErr for goroutines other than the test's.
func wantErrIn(t *testing.T, what string, got, want error) {
	if !errors.Is(got, want) {
		t.Errorf("%s = %v; want %v", what, got, want)
	}
}

func TestTheEndOfAServerLeavesItsSuccessorsSocketAlone(t *testing.T) {
	old := map[string]func(t *testing.T, path string) *libnet.Server{
		"Serve": unixServer,
		"NewServer": func(t *testing.T, path string) *libnet.Server {
			l, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			return echoing(t, libnet.NewServer(l, testkit.Frames, 10))
		},
	}
	for name, start := range old {
		t.Run(name+", bound again", func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s")
			first := start(t, path)
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			unixServer(t, path)
			first.Stop()
			answersAt(t, path)
		})
	}
	t.Run("Serve, handed over", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "s")
		first := unixServer(t, path)
		file, err := first.Listener().(*net.UnixListener).File()
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		l, err := net.FileListener(file)
		if err != nil {
			t.Fatal(err)
		}
		echoing(t, libnet.NewServer(l, testkit.Frames, 10))
		first.Stop()
		answersAt(t, path)
	})
}

func TestAnAbstractUnixSocketHasNoFileToLookAfter(t *testing.T) {
	if _, err := os.Stat("/proc/net/unix"); err != nil {
		t.Skip("no abstract sockets here")
	}
	srv := unixServer(t, "@libnet-test-"+filepath.Base(t.TempDir())+time.Now().Format("150405.000000000"))
	answersAt(t, srv.Listener().Addr().String())
}
