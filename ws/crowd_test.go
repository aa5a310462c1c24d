package ws_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// A visitor is one of a crowd, over TLS.
type visitor struct {
	below *net.TCPConn
	conn  *tls.Conn
	in    *bufio.Reader
}

// visit connects, and has one message echoed.
func visit(r *rig) (v visitor, err error) {
	below, err := net.Dial("tcp", r.listener.Addr().String())
	if err != nil {
		return v, err
	}
	v.below = below.(*net.TCPConn)
	v.conn = tls.Client(below, testkit.AnyTLS())
	_ = v.conn.SetDeadline(time.Now().Add(soon))
	if _, err = io.WriteString(v.conn, upgradeRequest+frame(fin|binaryFrame, "hello")); err != nil {
		return v, err
	}
	v.in = bufio.NewReaderSize(v.conn, 512)
	if _, err = http.ReadResponse(v.in, nil); err == nil {
		_, err = io.ReadFull(v.in, make([]byte, 2+len("hello")))
	}
	return v, err
}

// The ways in which visitors go, and the names under which a server counts them.
var departures = []struct {
	reason string
	leave  func(visitor)
}{
	{"reset", func(v visitor) {
		_ = v.below.SetLinger(0)
		_ = v.below.Close()
	}},
	{"unexpected_eof", func(v visitor) { _ = v.below.Close() }},
	{"eof", func(v visitor) {
		_, _ = io.WriteString(v.conn, closing("\x03\xe8"))
		_, _ = io.Copy(io.Discard, v.in)
		_ = v.conn.Close()
	}},
}

// go test -run Crowd ./ws -full takes 8,000, which needs 20,000 descriptors.
func TestACrowdOfWhichHalfIsCutIsAccountedForToTheLast(t *testing.T) {
	eachProtocolMode(t, func(t *testing.T) {
		libnettest.VerifyNone(t)
		crowd := testkit.Size(120, 8000)
		r := start(t, setup{queue: 8, config: func(srv *libnet.Server) { srv.TLSConfig = testkit.ServerTLS() }})
		go func() {
			for range r.sessions { // it has room for 1,024
			}
		}()
		defer close(r.sessions)
		visitors := gatherCrowd(t, r, crowd)
		want := map[string]uint64{"server_closed": uint64(crowd - crowd/2)}
		var going sync.WaitGroup
		for i, at := range rand.Perm(crowd) {
			if i < crowd/2 {
				d := departures[i%len(departures)]
				want[d.reason]++
				going.Go(func() { d.leave(visitors[at]) })
				continue
			}
			going.Go(func() { // it stays to the end
				rest, err := io.ReadAll(visitors[at].in)
				if err != nil || !strings.HasPrefix(string(rest), "\x88\x02\x03\xe9") {
					t.Errorf("a visitor that stayed got %q, %v; want a close frame with 1001", rest, err)
				}
				_ = visitors[at].conn.Close()
			})
		}
		testkit.Eventually(t, "the end of those who go", func() bool { return r.Stats().Open == crowd-crowd/2 })
		if err := r.Server.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		going.Wait()
		wantAccounts(t, r.Stats(), crowd, want)
	})
}

// gatherCrowd has 32 connect at a time.
func gatherCrowd(t testing.TB, r *rig, crowd int) []visitor {
	t.Helper()
	visitors := make([]visitor, crowd)
	var coming sync.WaitGroup
	for first := range 32 {
		coming.Go(func() {
			for i := first; i < crowd; i += 32 {
				var err error
				if visitors[i], err = visit(r); err != nil {
					t.Error(err)
				}
			}
		})
	}
	coming.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return visitors
}

func wantAccounts(t testing.TB, got libnet.ServerStats, crowd int, want map[string]uint64) {
	t.Helper()
	if got.Open != 0 || got.Accepted != uint64(crowd) || got.Rejected != 0 {
		t.Errorf("open %d, accepted %d, rejected %d of %d", got.Open, got.Accepted, got.Rejected, crowd)
	}
	if got.MessagesIn != uint64(crowd) || got.MessagesOut != uint64(crowd) || got.Dropped != 0 {
		t.Errorf("%d in, %d out, %d dropped of %d", got.MessagesIn, got.MessagesOut, got.Dropped, crowd)
	}
	var closed uint64
	for reason, n := range got.Closed {
		if closed += n; want[reason] != n {
			t.Errorf("%d ended with %s, want %d", n, reason, want[reason])
		}
	}
	if closed != uint64(crowd) {
		t.Errorf("%d sessions have an end, of %d", closed, crowd)
	}
}
