package ws_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/ws"
)

// eachProtocolModeAndTLS runs test for servers that serve WebSockets themselves, with TLS and without.
func eachProtocolModeAndTLS(t *testing.T, test func(t *testing.T, config *tls.Config)) {
	eachProtocolMode(t, func(t *testing.T) {
		t.Run("plain", func(t *testing.T) { test(t, nil) })
		t.Run("TLS", func(t *testing.T) { test(t, testkit.ServerTLS()) })
	})
}

// dialOwn is a libnet client's dial, with TLS if config says that the server has it.
func (r *rig) dialOwn(t testing.TB, config *tls.Config) (*libnet.Session, error) {
	t.Helper()
	d := &libnet.Dialer{Protocol: frames}
	d.SendQueue, d.Logger = 64, slog.New(slog.DiscardHandler)
	url := r.url()
	if config != nil {
		d.TLSConfig = testkit.AnyTLS()
		url = "wss" + strings.TrimPrefix(url, "ws")
	}
	s, err := ws.Dial(t.Context(), url, d, nil)
	if err == nil {
		t.Cleanup(func() { s.Close() })
	}
	return s, err
}

func TestAConnectionThatALimitRefusesIsAnsweredWith503(t *testing.T) {
	eachProtocolModeAndTLS(t, func(t *testing.T, config *tls.Config) {
		libnettest.VerifyNone(t)
		r := start(t, setup{queue: 8, config: func(srv *libnet.Server) { srv.MaxSessions, srv.TLSConfig = 1, config }})
		first, err := r.dialOwn(t, config)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			_, err := r.dialOwn(t, config)
			var refused *ws.HandshakeError
			if !errors.As(err, &refused) || refused.StatusCode != http.StatusServiceUnavailable {
				t.Fatalf("refused with %v, want 503", err)
			}
			if !strings.Contains(string(refused.Body), libnet.ErrTooManySessions.Error()) {
				t.Errorf("the answer does not say why: %q", refused.Body)
			}
		}
		send(t, first, "still here")
		want(t, first, "still here")
		if stats := r.Stats(); stats.Rejected != 3 || stats.Accepted != 1 || stats.Open != 1 {
			t.Errorf("rejected %d, accepted %d, open %d", stats.Rejected, stats.Accepted, stats.Open)
		}
		first.Close()
		wantEnd(t, r.session(t), io.EOF)
		testkit.Eventually(t, "room for another", func() bool { return r.Stats().Open == 0 })
		if _, err := r.dialOwn(t, config); err != nil {
			t.Errorf("there is room again: %v", err)
		}
	})
}

func TestAnAnswerOfARefusalSurvivesARequestThatComesSlowly(t *testing.T) {
	eachProtocolModeAndTLS(t, func(t *testing.T, config *tls.Config) {
		r := start(t, setup{config: func(srv *libnet.Server) { srv.MaxSessionsPerIP, srv.TLSConfig = 1, config }})
		if _, err := r.dialOwn(t, config); err != nil {
			t.Fatal(err)
		}
		conn := r.connect(t)
		if config != nil {
			conn = tls.Client(conn, testkit.AnyTLS())
		}
		for _, line := range strings.SplitAfter(upgradeRequest, "\r\n") {
			write(t, conn, line)
			time.Sleep(time.Millisecond)
		}
		wantRefusal(t, conn, libnet.ErrTooManySessionsPerIP)
	})
}

// wantRefusal reads the answer, and that nothing follows.
func wantRefusal(t testing.TB, conn net.Conn, reason error) {
	t.Helper()
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 503 ") || !strings.HasSuffix(string(answer), reason.Error()+"\n") {
		t.Errorf("%q, %v; want a 503", answer, err)
	}
}

func TestAStoppedServerAnswersWith503(t *testing.T) {
	eachProtocolMode(t, func(t *testing.T) {
		libnettest.VerifyNone(t)
		r := start(t, setup{})
		r.Stop()
		near, far := testkit.ConnectTCP(t)
		if _, err := r.NewSession(far); err != libnet.ErrServerClosed {
			t.Fatal(err)
		}
		write(t, near, upgradeRequest)
		wantRefusal(t, near, libnet.ErrServerClosed)
	})
}

func TestAFloodedServerAnswersAFewRefusedConnectionsAndClosesTheOthers(t *testing.T) {
	const bound = 32 // in each half second
	eachProtocolMode(t, func(t *testing.T) {
		inBubble(t, func(t *testing.T, pipes *libnettest.Listener) {
			libnettest.VerifyNone(t)
			r := start(t, setup{listener: pipes, config: func(srv *libnet.Server) { srv.MaxSessions = 1 }})
			r.raw(t)
			for range 2 {
				answered := 0
				for range 3 * bound {
					if refusalAnswers(t, pipes) {
						answered++
					}
				}
				if answered != bound {
					t.Errorf("%d were answered, want %d", answered, bound)
				}
				time.Sleep(time.Second)
			}
		})
	})
}

// refusalAnswers reports whether a connection that is refused gets an answer, or only its end.
func refusalAnswers(t testing.TB, pipes *libnettest.Listener) bool {
	t.Helper()
	conn, err := pipes.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, upgradeRequest)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return false
	}
	if response.StatusCode != http.StatusServiceUnavailable {
		t.Error(response.Status)
	}
	return true
}

func TestARefusedConnectionThatSaysNothingIsClosedAfterHalfASecond(t *testing.T) {
	eachProtocolMode(t, func(t *testing.T) {
		inBubble(t, func(t *testing.T, pipes *libnettest.Listener) {
			r := start(t, setup{listener: pipes, config: func(srv *libnet.Server) { srv.MaxSessions = 1 }})
			r.raw(t)
			conn, err := pipes.Dial()
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			if answer, err := io.ReadAll(conn); len(answer) > 0 || err != nil {
				t.Errorf("%q, %v", answer, err)
			}
			if took := time.Since(began); took != 500*time.Millisecond {
				t.Errorf("closed after %v", took)
			}
		})
	})
}
