package limit_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet/examples/im/internal/limit"
	"github.com/libnet-go/libnet/libnettest"
)

func TestMain(m *testing.M) { libnettest.VerifyMain(m) }

func from(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 4711} }

func TestEachAddressHasItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := limit.NewRates(2)
		allowed := func(ip string, tries int) (n int) {
			for range tries {
				if r.Allow(from(ip)) {
					n++
				}
			}
			return n
		}
		if n := allowed("10.0.0.1", 100); n != 20 {
			t.Errorf("%d at once, want ten seconds' worth", n)
		}
		if n := allowed("10.0.0.2", 100); n != 20 {
			t.Errorf("%d of another address", n)
		}
		time.Sleep(3 * time.Second)
		if n := allowed("10.0.0.1", 100); n != 6 {
			t.Errorf("%d after three seconds", n)
		}
		// A customer has a whole network of IPv6.
		if n := allowed("2001:db8::1", 15) + allowed("2001:db8::2", 15); n != 20 {
			t.Errorf("%d of one network", n)
		}
		if n := allowed("2001:db8:0:1::1", 30); n != 20 {
			t.Errorf("%d of another network", n)
		}
		if n := allowed("::ffff:10.0.0.2", 1); n != 1 { // three seconds have passed
			t.Errorf("%d of an IPv4 address as IPv6", n)
		}
	})
}

func TestWithoutABoundAllIsAllowed(t *testing.T) {
	r := limit.NewRates(0)
	for range 1000 {
		if !r.Allow(from("10.0.0.1")) {
			t.Fatal("refused")
		}
	}
}

func TestManyAddressesTakeABoundedMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := limit.NewRatesOf(1, 1000)
		for i := range 2500 {
			if !r.Allow(from(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&0xff, i&0xff))) {
				t.Fatalf("address %d is refused", i)
			}
		}
		if n := r.Len(); n > 1000 {
			t.Errorf("%d addresses are kept", n)
		}
	})
}

func TestAnHTTPServerClosesConnectionsBeyondItsBounds(t *testing.T) {
	for name, bounds := range map[string][2]int{"from one address": {0, 3}, "in all": {3, 0}} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			server := &http.Server{ConnState: limit.HTTP(bounds[0], bounds[1]), Handler: http.NotFoundHandler()}
			ended := make(chan error)
			go func() { ended <- server.Serve(l) }()
			defer func() { server.Close(); <-ended }()
			var conns []net.Conn
			dial := func() net.Conn {
				conn, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				conns = append(conns, conn)
				return conn
			}
			defer func() {
				for _, conn := range conns {
					conn.Close()
				}
			}()
			answers := func(conn net.Conn) bool {
				conn.SetDeadline(time.Now().Add(10 * time.Second))
				_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
				_, err := conn.Read(make([]byte, 1))
				return err == nil
			}
			for range 3 {
				if !answers(dial()) {
					t.Fatal("one of three is refused")
				}
			}
			if answers(dial()) {
				t.Error("the fourth is served")
			}
			conns[0].Close()
			for late := time.Now().Add(10 * time.Second); !answers(dial()); {
				if time.Now().After(late) {
					t.Fatal("the place of one that has gone is not given away")
				}
			}
		})
	}
}
