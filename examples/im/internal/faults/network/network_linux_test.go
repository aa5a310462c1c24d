package network

import (
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/libnet-go/libnet/libnettest"
)

func TestMain(m *testing.M) { libnettest.VerifyMain(m) }

const patience = 30 * time.Second

// pair is two hosts of a network, and a connection between them on which b echoes.
func pair(t *testing.T) (n *Network, a, b *Host, conn net.Conn) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skip(err)
	}
	n = New(netip.MustParsePrefix("10.99.0.0/24"))
	t.Cleanup(n.Close)
	add := func(name, addr string) *Host {
		h, err := n.Add(name, netip.MustParseAddr(addr))
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	a, b = add("a", "10.99.0.1"), add("b", "10.99.0.2")
	var l net.Listener
	if err := b.Do(func() (err error) { l, err = net.Listen("tcp", "10.99.0.2:7"); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	accepted := make(chan net.Conn, 1)
	go func() {
		if conn, err := l.Accept(); err == nil {
			accepted <- conn
			_, _ = io.Copy(conn, conn)
		}
	}()
	if err := a.Do(func() (err error) { conn, err = net.DialTimeout("tcp", "10.99.0.2:7", patience); return err }); err != nil {
		t.Fatal(err)
	}
	echoes := <-accepted
	t.Cleanup(func() {
		conn.Close()
		echoes.Close() // its end may not have come over the wire
	})
	return n, a, b, conn
}

// echo sends a byte and returns how long it took to come back, or an error after a time.
func echo(t *testing.T, conn net.Conn, limit time.Duration) (time.Duration, error) {
	t.Helper()
	began := time.Now()
	_ = conn.SetReadDeadline(began.Add(limit))
	if _, err := conn.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	_, err := conn.Read(make([]byte, 1))
	return time.Since(began), err
}

func TestHostsReachEachOtherUntilTheirWireIsCutAndAgainWhenItIsMended(t *testing.T) {
	t.Parallel()
	n, a, b, conn := pair(t)
	if _, err := echo(t, conn, patience); err != nil {
		t.Fatal(err)
	}
	for _, cut := range [][2]*Host{{a, b}, {b, a}} { // one direction is enough
		n.Set(cut[0], cut[1], Wire{Cut: true})
		if _, err := echo(t, conn, 300*time.Millisecond); err == nil {
			t.Errorf("%s reaches %s through a cut wire", cut[0].Name, cut[1].Name)
		}
		n.Mend()
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		if _, err := conn.Read(make([]byte, 1)); err != nil { // the one that was sent meanwhile
			t.Fatal(err)
		}
	}
	if _, err := echo(t, conn, patience); err != nil {
		t.Fatal(err)
	}
}

func TestAWireMayBeSlowInOneDirection(t *testing.T) {
	t.Parallel()
	n, a, b, conn := pair(t)
	n.Set(a, b, Wire{Delay: 200 * time.Millisecond})
	took, err := echo(t, conn, patience)
	if err != nil || took < 200*time.Millisecond {
		t.Errorf("echoed after %v, %v", took, err)
	}
}

func TestWhatIsStartedOnAHostDoesNotSeeThisMachinesNetwork(t *testing.T) {
	t.Parallel()
	_, a, _, _ := pair(t)
	var interfaces []net.Interface
	if err := a.Do(func() (err error) { interfaces, err = net.Interfaces(); return err }); err != nil {
		t.Fatal(err)
	}
	for _, i := range interfaces {
		if i.Name != "lo" && i.Name != deviceName {
			t.Errorf("it sees %s", i.Name)
		}
	}
}
