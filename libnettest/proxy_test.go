package libnettest_test

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// echoBytes answers connections with what they bring.
func echoBytes(t testing.TB) net.Listener {
	l := testkit.Listen(t, "tcp")
	t.Cleanup(func() { l.Close() })
	go func() {
		for conn, err := l.Accept(); err == nil; conn, err = l.Accept() {
			go func() {
				_, _ = io.Copy(conn, conn)
				conn.Close()
			}()
		}
	}()
	return l
}

// through sends n bytes through a proxy to an echo, and returns what came back before the connection ended.
func through(t testing.TB, p *libnettest.Proxy, sent []byte) []byte {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(testkit.Patience))
	go func() { _, _ = conn.Write(sent); _ = conn.(*net.TCPConn).CloseWrite() }()
	got, _ := io.ReadAll(conn)
	return got
}

func TestAProxyWithoutFaultsPassesEverythingOn(t *testing.T) {
	libnettest.VerifyNone(t)
	p := libnettest.NewProxy(t, "tcp", echoBytes(t).Addr().String(), libnettest.Chaos{Every: -1})
	sent := bytes.Repeat([]byte("0123456789"), 100_000)
	if got := through(t, p, sent); !bytes.Equal(got, sent) {
		t.Errorf("%d bytes of %d came back", len(got), len(sent))
	}
	if p.Cuts() != 0 || p.Stalls() != 0 || p.Connections() != 1 {
		t.Error(p.Cuts(), p.Stalls(), p.Connections())
	}
}

// What arrives is what was sent, up to somewhere: a proxy neither changes bytes nor leaves any out.
func TestAProxyCutsConnectionsAtRandomBytesAndChangesNone(t *testing.T) {
	libnettest.VerifyNone(t)
	p := libnettest.NewProxy(t, "tcp", echoBytes(t).Addr().String(), libnettest.Chaos{Seed: 1, Every: 10_000, Stall: time.Millisecond})
	sent := bytes.Repeat([]byte("0123456789"), 100_000)
	lengths := make(map[int]bool)
	for range 50 {
		got := through(t, p, sent)
		if !bytes.HasPrefix(sent, got) || len(got) == len(sent) {
			t.Fatalf("%d bytes came back", len(got))
		}
		lengths[len(got)] = true
	}
	if p.Cuts() != 50 || p.Connections() != 50 || p.Stalls() == 0 || len(lengths) < 5 {
		t.Error(p.Cuts(), p.Stalls(), len(lengths))
	}
}

func TestAProxyResetsAllConnectionsWhenTold(t *testing.T) {
	libnettest.VerifyNone(t)
	p := libnettest.NewProxy(t, "tcp", echoBytes(t).Addr().String(), libnettest.Chaos{Every: -1})
	conn, err := net.Dial("tcp", p.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if n, again := p.CutAll(), p.CutAll(); n != 1 || again != 0 || p.Cuts() != 1 {
		t.Errorf("%d cut, and then %d; %d counted", n, again, p.Cuts())
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the connection goes on")
	}
}
