package access_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/libnet-go/libnet/examples/im/internal/access"
	"github.com/libnet-go/libnet/examples/im/internal/imtest"
	"github.com/libnet-go/libnet/examples/im/internal/token"
	"github.com/libnet-go/libnet/examples/im/internal/wire"
)

func TestASessionEndsWithItsTokenUnlessItBringsAnother(t *testing.T) {
	r := newRig(t)
	s := r.start(nil)
	soon := func() string { return r.tokens.Issue(1, 3*time.Second-token.Skew) } // is refused in 2 to 3 s
	each(t, func(t *testing.T, dial func(testing.TB, *server) *peer) {
		p := dial(t, s)
		p.want(&wire.ReqLogin{Cmd: wire.CmdLogin, UID: 1, Token: soon()}, wire.OK(wire.CmdLogin))
		if got, want := p.receive(), wire.Fail(wire.CmdError, wire.CodeWrongToken, "calc token failed"); !proto.Equal(got, want) {
			t.Errorf("at the end: %v", got)
		}
		p.wantEnd()

		q := dial(t, s)
		q.want(&wire.ReqLogin{Cmd: wire.CmdLogin, UID: 1, Token: soon()}, wire.OK(wire.CmdLogin))
		q.login(r, 1)
		time.Sleep(3100 * time.Millisecond)
		q.want(&wire.ReqPing{Cmd: wire.CmdPing}, wire.OK(wire.CmdPing))
	})
}

func TestLoginsFromOneAddressHaveARate(t *testing.T) {
	r := newRig(t)
	s := r.start(func(o *access.Options) { o.LoginRate = 0.2 }) // two at once, whether their tokens are right or not
	p := dialTCP(t, s)
	p.want(&wire.ReqLogin{Cmd: wire.CmdLogin, UID: 1, Token: "noise"}, wire.Fail(wire.CmdLogin, wire.CodeWrongToken, "calc token failed"))
	p.login(r, 1)
	q := dialTCP(t, s)
	q.want(&wire.ReqLogin{Cmd: wire.CmdLogin, UID: 2, Token: r.token(2)}, wire.Fail(wire.CmdLogin, wire.CodeServer, "server error"))
	q.wantEnd()
	p.want(&wire.ReqPing{Cmd: wire.CmdPing}, wire.OK(wire.CmdPing))
}

func TestSilentConnectionsOfOneAddressLeaveRoomForOthers(t *testing.T) {
	r := newRig(t)
	s := r.start(func(o *access.Options) { o.MaxSessions, o.MaxSessionsPerIP = 20, 5 })
	for range 20 {
		conn, err := net.Dial("tcp", s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		web, err := net.Dial("tcp", s.WebSocketURL()[len("ws://"):len(s.WebSocketURL())-len("/ws")])
		if err != nil {
			t.Fatal(err)
		}
		defer web.Close()
	}
	// Another of the machine's addresses is another client.
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}, Timeout: imtest.Patience}
	conn, err := d.Dial("tcp", s.Addr())
	if err != nil {
		t.Skip("no second loopback address: ", err)
	}
	defer conn.Close()
	imtest.Eventually(t, "five sessions of the first", func() bool { return s.Load() >= 5 })
	if n := s.Load(); n > 6 {
		t.Errorf("%d sessions", n)
	}
	conn.SetDeadline(time.Now().Add(imtest.Patience))
	if _, err := conn.Write([]byte("\x00\x06\x08\xa2\x9c\x01\x18\x07")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 2)); err != nil {
		t.Errorf("the other client gets no answer: %v", err)
	}
}

func TestAWebRequestIsBoundedInTimeAndSize(t *testing.T) {
	r := newRig(t)
	s := r.start(func(o *access.Options) { o.LoginTimeout = 300 * time.Millisecond })
	for what, text := range map[string]string{
		"no line":               "",
		"a head without an end": "GET /ws HTTP/1.1\r\nHost: im\r\n",
		"a body that is late":   "POST / HTTP/1.1\r\nHost: im\r\nContent-Length: 9\r\n\r\n",
		"a large head":          "GET /ws HTTP/1.1\r\nHost: im\r\nX: " + strings.Repeat("x", 100_000),
	} {
		conn, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(s.WebSocketURL(), "ws://"), "/ws"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, text) // it may have ended
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		answer, err := io.ReadAll(conn)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: still connected after 5 s, answered %q", what, answer)
		}
		if large := what == "a large head"; large && err == nil && !strings.Contains(string(answer), " 431 ") {
			t.Errorf("%s: answered %q", what, answer)
		}
	}
}

func TestASessionThatSaysTooMuchWaits(t *testing.T) {
	r := newRig(t)
	p := dialTCP(t, r.start(func(o *access.Options) { o.MessageRate = 20 })).login(r, 1)
	began := time.Now()
	for range 30 {
		p.want(&wire.ReqPing{Cmd: wire.CmdPing}, wire.OK(wire.CmdPing))
	}
	if took := time.Since(began); took < 400*time.Millisecond {
		t.Errorf("30 messages at 20 a second took %v", took)
	}
}

func TestClientsDoNotFillTheLog(t *testing.T) {
	r := newRig(t)
	var log bytes.Buffer
	s := r.start(func(o *access.Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	p := dialTCP(t, s)
	for range 1000 {
		p.ask(&wire.ReqLogin{Cmd: wire.CmdLogin, UID: 1, Token: "noise"})
	}
	p.Close()
	s.Kill()
	if lines := strings.Count(log.String(), "login refused"); lines < 50 || lines > 500 {
		t.Errorf("1,000 refused logins make %d lines", lines)
	}
}
