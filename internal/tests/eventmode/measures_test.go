package eventmode

import (
	"crypto/tls"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
)

// Each message is in its histograms once, in every mode; nothing is measured that was not asked for.
func TestHistogramsHaveEachMessageThatWasHandled(t *testing.T) {
	const slow = 20 * time.Millisecond
	for _, on := range []bool{true, false} {
		testkit.OverModes(t, testkit.Modes, func(t *testing.T, mode testkit.Mode) {
			r := mode.Start(t, func(srv *libnet.Server) { srv.Histograms = on }, func(s *libnet.Session, msg []byte) {
				if string(msg) == "slow" {
					time.Sleep(slow)
				}
				_ = s.Send(msg)
			})
			far := r.Dial()
			for _, msg := range []string{"hello", "slow", strings.Repeat("x", 100)} {
				testkit.Ask(t, far, msg)
			}
			testkit.Leave(far)
			testkit.Eventually(t, "the end", func() bool { return r.Stats().Closed["eof"] == 1 })
			stats := r.Stats()
			sizes, times := stats.MessageSize, stats.HandlerTime
			if !on {
				if sizes.Counts != nil || times.Bounds != nil || stats.QueueWait.Counts != nil {
					t.Errorf("%+v", stats)
				}
				return
			}
			if len(sizes.Counts) != len(sizes.Bounds)+1 || sizes.Sum != 109 || sizes.Counts[0] != 2 || sizes.Counts[2] != 1 || sizes.Bounds[2] != 128 {
				t.Errorf("sizes %+v", sizes)
			}
			total, late := uint64(0), uint64(0)
			for i, n := range times.Counts {
				total += n
				if i == len(times.Bounds) || times.Bounds[i] > slow.Seconds() {
					late += n
				}
			}
			waited := uint64(0)
			for _, n := range stats.QueueWait.Counts {
				waited += n
			}
			if waited != 3 || stats.MessagesOut != 3 || stats.QueueWait.Sum <= 0 || stats.QueueWait.Sum > 60 {
				t.Errorf("%d of %d messages have waited: %+v", waited, stats.MessagesOut, stats.QueueWait)
			}
			if total != 3 || late < 1 || times.Sum < slow.Seconds() || times.Sum > 60 {
				t.Errorf("%d handled, %d of them slowly: %+v", total, late, times)
			}
		})
	}
}

func TestASessionSaysHowItIsConnected(t *testing.T) {
	testkit.OverModes(t, testkit.Modes, func(t *testing.T, mode testkit.Mode) {
		r := mode.Start(t, nil, testkit.EchoMessage)
		far := r.Dial()
		testkit.Ask(t, far, "hello")
		s := testkit.Await(t, testkit.Patience, "the session", r.Sessions)
		info := s.ConnInfo()
		want := map[string]string{"pipe": "other"}[mode.Network]
		if want == "" {
			want = mode.Network
		}
		secure := testkit.HasTLS(mode.Network)
		if info.Transport != want || secure != (info.TLSVersion == tls.VersionTLS13) || secure != (info.CipherSuite != 0) {
			t.Errorf("%+v", info)
		}
		overTCP := want == "tcp" || want == "ws" || secure
		if known := info.RTT > 0 && info.RTT < time.Minute; known != (overTCP && runtime.GOOS == "linux") {
			t.Errorf("the round-trip time is %v", info.RTT)
		}
	})
}

// A handshake that does not go on keeps nobody who asks.
func TestAHandshakeThatHangsKeepsNobodyWhoAsksAboutItsSession(t *testing.T) {
	for _, mode := range []testkit.Mode{testkit.Modes[6], testkit.LoopTLS} {
		srv := libnet.NewServer(testkit.Listen(t, "tcp"), testkit.Frames, 8)
		srv.Logger, srv.TLSConfig = testkit.Quiet, testkit.ServerTLS()
		go mode.Serve(srv, libnet.MessageHandlerFunc(testkit.EchoMessage))
		far, err := net.Dial("tcp", srv.Listener().Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		testkit.MustWrite(t, far, []byte{22, 3, 1}) // the handshake has begun
		testkit.Eventually(t, "the session", func() bool { return srv.Manager().Len() == 1 })
		time.Sleep(20 * time.Millisecond) // for the handshake to take its lock
		testkit.Within(t, testkit.Patience, "an answer", func() {
			for s := range srv.Manager().All() {
				if info := s.ConnInfo(); info.Transport != "tls" || info.TLSVersion != 0 {
					t.Errorf("%s: %+v", mode.Name, info)
				}
			}
		})
		_ = far.Close()
		srv.Stop()
	}
}
