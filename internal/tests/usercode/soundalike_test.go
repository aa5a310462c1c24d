package usercode

import (
	"bufio"
	"io"
	"net"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/testkit"
)

// A soundalike has methods with the names of those by which packages of this module know each other, and means
// something else by them.
type soundalike struct{ t *testing.T }

func (s soundalike) called(name string) { s.t.Errorf("libnet has called %s of a user's", name) }

type soundalikeProtocol struct{ soundalike }

func (p soundalikeProtocol) NewCodec(rw io.ReadWriter) libnet.Codec {
	return &soundalikeCodec{p.soundalike, codec.New(codec.Uint16BE, codec.Bytes).NewCodec(rw).(pureCodec)}
}

func (p soundalikeProtocol) Handshake(io.ReadWriter) (codec libnet.Codec, answer []byte, err error) {
	p.called("Handshake")
	return nil, nil, nil
}

func (p soundalikeProtocol) Moved(io.ReadWriter, []byte) (libnet.Codec, error) {
	p.called("Moved")
	return nil, nil
}

func (p soundalikeProtocol) Refusal(error) []byte {
	p.called("Refusal")
	return []byte("refused")
}

type pureCodec interface {
	libnet.Codec
	libnet.FrameAppender
	libnet.FrameParser
}

type soundalikeCodec struct {
	soundalike
	pureCodec
}

func (c *soundalikeCodec) InMessage() bool {
	c.called("InMessage")
	return true
}

func (c *soundalikeCodec) PeerClosed() bool {
	c.called("PeerClosed")
	return false
}

func (c *soundalikeCodec) CloseFrame(error) []byte {
	c.called("CloseFrame")
	return []byte("closed")
}

func (c *soundalikeCodec) OnlyCloses() io.ReadWriter {
	c.called("OnlyCloses")
	return nil
}

func (c *soundalikeCodec) Moves() ([]byte, bool) {
	c.called("Moves")
	return nil, true
}

// soundalikeConn is what a program makes of a conn that it has peeked at: the reader's Buffered is the conn's, then,
// and counts what lies in the reader alone.
type soundalikeConn struct {
	soundalike
	net.Conn
	*bufio.Reader
}

func (c *soundalikeConn) Read(p []byte) (int, error) { return c.Reader.Read(p) }

func (c *soundalikeConn) Buffered() int {
	c.called("Buffered")
	return 0
}

func (c *soundalikeConn) LastInput() time.Time {
	c.called("LastInput")
	return time.Time{}
}

func (c *soundalikeConn) SetSession(*libnet.Session) { c.called("SetSession") }
func (c *soundalikeConn) Refuse(error)               { c.called("Refuse") }

func (c *soundalikeConn) Upgraded() (conn net.Conn, input []byte) {
	c.called("Upgraded")
	return nil, nil
}

type soundalikeListener struct {
	soundalike
	net.Listener
}

func (l *soundalikeListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &soundalikeConn{l.soundalike, conn, bufio.NewReader(conn)}, nil
}

type soundalikeHandler struct{ soundalike }

func (h soundalikeHandler) ServeSession(s *libnet.Session)             { testkit.Echo(s) }
func (h soundalikeHandler) ServeMessage(s *libnet.Session, msg []byte) { _ = s.Send(msg) }

func (h soundalikeHandler) HandlerOf(*libnet.Session) (own, of libnet.MessageHandler) {
	h.called("HandlerOf")
	return h, h
}

func TestAMethodThatOnlySoundsLikeOneOfLibnetsIsNotCalled(t *testing.T) {
	for name, wrapped := range map[string]bool{"a conn of package net's": false, "a conn of the user's": true} {
		for mode, serve := range map[string]func(*libnet.Server, soundalikeHandler) error{
			"Serve":         func(srv *libnet.Server, h soundalikeHandler) error { return srv.Serve(h) },
			"ServeMessages": func(srv *libnet.Server, h soundalikeHandler) error { return srv.ServeMessages(h) },
		} {
			t.Run(mode+" of "+name, func(t *testing.T) {
				is := soundalike{t}
				l := testkit.Listen(t, "tcp")
				if wrapped {
					l = &soundalikeListener{is, l}
				}
				srv := libnet.NewServer(l, soundalikeProtocol{is}, 8)
				srv.MaxSessions, srv.IdleTimeout, srv.Linger = 1, 100*time.Millisecond, 50*time.Millisecond
				testServedAsAnyOther(t, srv, func() error { return serve(srv, soundalikeHandler{is}) })
			})
		}
	}
}

// testServedAsAnyOther has one client talk, a second refused, the first fall silent, and the server end with a third.
func testServedAsAnyOther(t *testing.T, srv *libnet.Server, serve func() error) {
	served := make(chan error, 1)
	go func() { served <- serve() }()
	address := srv.Listener().Addr().String()
	first := dialOrFail(t, address)
	testkit.Ask(t, first, "hello")
	if refused := testkit.ReadToEnd(t, dialOrFail(t, address)); len(refused) > 0 {
		t.Errorf("a client that is refused got %q", refused)
	}
	if rest := testkit.ReadToEnd(t, first); len(rest) > 0 {
		t.Errorf("a silent client got %q", rest)
	}
	testkit.Eventually(t, "no session open", func() bool { return srv.Stats().Open == 0 })
	third := dialOrFail(t, address)
	testkit.Ask(t, third, "hello")
	if err := srv.Shutdown(testkit.TimeoutContext(t, testkit.Patience)); err != nil {
		t.Error(err)
	}
	_ = testkit.Await(t, testkit.Patience, "the server's end", served)
	if got := srv.Stats().Closed; got[libnet.CloseReason(libnet.ErrIdleTimeout)] != 1 {
		t.Errorf("sessions were closed by %v; want one for its silence", got)
	}
}

func dialOrFail(t *testing.T, address string) net.Conn {
	conn, err := testkit.DialTCP(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}
