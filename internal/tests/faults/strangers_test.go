package faults

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// A stranger is a peer that speaks something else: what it sends first, and what a log line and an error name it.
var strangers = map[string]struct{ sends, named string }{
	"TLS":             {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "TLS ClientHello"},
	"HTTP":            {"GET /token=secret HTTP/1.1\r\n\r\n", "HTTP request"},
	"PROXY version 1": {"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "PROXY protocol, version 1"},
	"PROXY version 2": {"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c", "PROXY protocol, version 2"},
	"SSH":             {"SSH-2.0-OpenSSH_9.2\r\n", "SSH"},
	"JSON":            {`{"name": "secret"}`, "JSON"},
}

// The length that narrow reads in a stranger's first bytes is a legal one, and that of wide is not.
var (
	wide   = codec.New(codec.Uint32BE, codec.Bytes)
	narrow = codec.New(codec.Uint16BE, codec.Bytes)
)

// inModes runs test with servers of p that log to Logs.
func inModes(t *testing.T, p libnet.Protocol, networks []string, configure func(*libnet.Server), test func(t *testing.T, r *testkit.Rig)) {
	for _, network := range networks {
		for name, serve := range map[string]func(*libnet.Server, libnet.MessageHandler) error{
			"Serve": testkit.ReceiveLoop, "ServeMessages": (*libnet.Server).ServeMessages,
		} {
			t.Run(name+" "+network, func(t *testing.T) {
				libnettest.VerifyNone(t)
				mode := testkit.Mode{Network: network, Protocol: p, Serve: serve}
				var r *testkit.Rig
				logs := &testkit.Log{}
				r = mode.Start(t, func(srv *libnet.Server) {
					srv.Logger = slog.New(logs)
					if configure != nil {
						configure(srv)
					}
				}, testkit.EchoMessage)
				r.Logs = logs
				test(t, r)
			})
		}
	}
}

// plainly connects to r without TLS, whatever r speaks.
func plainly(t *testing.T, r *testkit.Rig) net.Conn {
	t.Helper()
	addr := r.Listener().Addr()
	conn, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * testkit.Patience))
	return conn
}

func wantLine(t *testing.T, logs *testkit.Log, texts ...string) {
	t.Helper()
	testkit.Eventually(t, "a line in the log with "+texts[0], func() bool { return len(logs.With(texts[0])) > 0 })
	for _, text := range texts {
		if !strings.Contains(logs.With(texts[0])[0], text) {
			t.Errorf("the log has %q; want %q", logs.With(texts[0])[0], text)
		}
	}
	if line := logs.With(texts[0])[0]; strings.Count(line, "first bytes are") > 1 || strings.Count(line, "frame begins with") > 1 {
		t.Errorf("the log says the same twice: %q", line)
	}
}

func TestAPeerThatSpeaksSomethingElseIsEndedAtOnceAndNamed(t *testing.T) {
	for name, stranger := range strangers {
		t.Run(name, func(t *testing.T) {
			inModes(t, wide, []string{"tcp", "unix"}, nil, func(t *testing.T, r *testkit.Rig) {
				conn := plainly(t, r)
				testkit.MustWrite(t, conn, []byte(stranger.sends))
				s := testkit.Await(t, testkit.Patience, "the session", r.Sessions)
				testkit.Await(t, testkit.Patience, "its end", s.Done())
				testkit.CheckErr(t, "Err", s.Err(), libnet.ErrFrameTooLarge)
				if libnet.CloseReason(s.Err()) != "frame_too_large" {
					t.Errorf("the reason is %s", libnet.CloseReason(s.Err()))
				}
				wantLine(t, r.Logs, "session ended", stranger.named, "limit 1048576")
				if lines := r.Logs.With("secret"); len(lines) > 0 {
					t.Errorf("the log has a part of what was sent: %q", lines)
				}
			})
		})
	}
}

// A length that the framing allows is no reason to end anybody: the rest may come.
func TestALegalLengthIsWaitedForWhateverItLooksLike(t *testing.T) {
	for name, begin := range map[string]string{"TLS": "\x16\x03\x01", "HTTP": "GET", "PROXY": "PRO"} {
		t.Run(name, func(t *testing.T) {
			inModes(t, narrow, []string{"tcp"}, nil, func(t *testing.T, r *testkit.Rig) {
				conn := plainly(t, r)
				testkit.MustWrite(t, conn, []byte(begin))
				time.Sleep(20 * time.Millisecond)
				length := int(begin[0])<<8 + int(begin[1])
				body := begin[2:] + strings.Repeat("y", length-1)
				testkit.MustWrite(t, conn, []byte(body[1:]))
				got := make([]byte, 2+length)
				if n, err := io.ReadFull(conn, got); err != nil || string(got[2:]) != body {
					t.Errorf("the echo is %d bytes, %v; want %d", n, err, len(got))
				}
			})
		})
	}
}

func TestAFrameTimeoutSaysWhatCame(t *testing.T) {
	for name, test := range map[string]struct {
		protocol libnet.Protocol
		pieces   []string
		want     []string
	}{
		"a length in another order": {codec.New(codec.Uint16LE, codec.Bytes), []string{"\x00\x05hello"}, []string{"7 of 1282 bytes came", "begins with 00 05"}},
		"a header in pieces":        {wide, []string{"\x00", "\x00\x01", "\x00abc", "d"}, []string{"8 of 260 bytes came", "begins with 00 00 01 00"}},
		"a varint":                  {codec.New(codec.Uvarint, codec.Bytes), []string{"\x7fab"}, []string{"3 of 128 bytes came"}},
		"a fixed size":              {codec.New(codec.Fixed(100), codec.Bytes), []string{"ab"}, []string{"2 of 100 bytes came"}},
		"a length field":            {codec.New(codec.LengthField{Offset: 1, Size: 1, Strip: 2}, codec.Bytes), []string{"\x01\x20ab"}, []string{"4 of 34 bytes came"}},
		"no end of a line":          {codec.New(codec.Lines, codec.Bytes), []string{"\x00\x00\x00\x05", "hello"}, []string{"9 bytes came without the frame's end", "00 00 00 05"}},
		"TLS":                       {narrow, []string{strangers["TLS"].sends}, []string{"11 of 5637 bytes came", "TLS ClientHello"}},
		"HTTP":                      {narrow, []string{strangers["HTTP"].sends}, []string{"of 18247 bytes came", "HTTP request"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := testkit.NewServer(t, test.protocol, 0)
				near, far := testkit.ConnectPipe(t)
				s := testkit.Adopt(t, srv, near)
				began := time.Now()
				go func() {
					for _, piece := range test.pieces {
						_, _ = far.Write([]byte(piece))
						time.Sleep(time.Second)
					}
				}()
				_, err := s.Receive()
				if took := time.Since(began); took != 30*time.Second {
					t.Errorf("it took %v", took)
				}
				testkit.CheckErr(t, "Receive", err, libnet.ErrFrameTimeout)
				testkit.CheckErr(t, "Receive", err, os.ErrDeadlineExceeded)
				if ne, ok := err.(net.Error); !ok || !ne.Timeout() || libnet.CloseReason(err) != "frame_timeout" {
					t.Errorf("%T is no timeout", err)
				}
				for _, want := range test.want {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("%q has no %q", err, want)
					}
				}
			})
		})
	}
}

// measuring is a user's codec with a method of the same name as one of package codec's, that panics for a part of a
// header.
type measuring struct{ libnet.Codec }

func (c measuring) ParseFrame(src []byte) (payload []byte, n int, err error) {
	return c.Codec.(libnet.FrameParser).ParseFrame(src)
}

func (c measuring) FrameLength(head []byte) (n uint64, ok bool) {
	return uint64(binary.BigEndian.Uint32(head)), true
}

func TestAFrameTimeoutAsksNothingOfAUsersCodec(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := testkit.NewServer(t, libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec { return measuring{wide.NewCodec(rw)} }), 0)
		near, far := testkit.ConnectPipe(t)
		s := testkit.Adopt(t, srv, near)
		testkit.MustWrite(t, far, []byte("\x00"))
		if _, err := s.Receive(); err != libnet.ErrFrameTimeout {
			t.Errorf("Receive: %v", err)
		}
	})
}

// Behind a first message the peer is known to speak the protocol: the text keeps to the frame.
func TestALaterFrameThatIsTooLargeSaysHowItBegins(t *testing.T) {
	srv := testkit.NewServer(t, wide, 0)
	near, far := testkit.ConnectPipe(t)
	s := testkit.Adopt(t, srv, near)
	testkit.MustWrite(t, far, []byte("\x00\x00\x00\x02hiGET / HTTP/1.1"))
	testkit.MustReceive(t, s, "hi")
	_, err := s.Receive()
	testkit.CheckErr(t, "Receive", err, libnet.ErrFrameTooLarge)
	if text := err.Error(); !strings.Contains(text, "the frame begins with 47 45 54 20") || strings.Contains(text, "HTTP") {
		t.Error(text)
	}
}

// Eight bytes of a message are a part of a password, in hex, too.
func TestTheTextOfAnErrorShowsHeadersAndNoMessages(t *testing.T) {
	for name, test := range map[string]struct {
		protocol libnet.Protocol
		sends    string
	}{
		"a first line":                     {codec.New(codec.Lines, codec.Bytes), "pass" + strings.Repeat("word", 50)},
		"a later line":                     {codec.New(codec.Lines, codec.Bytes), "hello\npass" + strings.Repeat("word", 50)},
		"a later frame":                    {wide, "\x00\x00\x00\x05hello\x7f\x00\x00\x00password"},
		"a later frame that does not come": {wide, "\x00\x00\x00\x05hello\x00\x00\x00\x20password"},
		"a line that does not come":        {codec.New(codec.Lines, codec.Bytes), "password"},
		"a first frame":                    {wide, "\x7f\x00\x00\x00password"},
		"a first frame that does not come": {wide, "\x00\x00\x00\x20password"},
		"one behind a byte that is text":   {codec.New(codec.Uint8, codec.Bytes), "\x20password"},
		"a first one of a fixed size":      {codec.New(codec.Fixed(20), codec.Bytes), "password"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := testkit.NewServer(t, test.protocol, 0)
				srv.MaxMessage = 100
				near, far := testkit.ConnectPipe(t)
				s := testkit.Adopt(t, srv, near)
				testkit.MustWrite(t, far, []byte(test.sends))
				var err error
				for err == nil {
					_, err = s.Receive()
				}
				for _, part := range []string{"pass", "70 61", "text"} {
					if strings.Contains(err.Error(), part) {
						t.Errorf("%q has a part of the message, or takes it for another's: %q", err, part)
					}
				}
			})
		})
	}
}

func TestTextInThePlaceOfTLSIsNotShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := testkit.ConnectPipe(t)
		s := testkit.Adopt(t, testkit.NewServer(t, codec.New(codec.Lines, codec.Bytes), 0), tls.Server(near, testkit.ServerTLS()))
		go testkit.Drain(far)
		testkit.MustWrite(t, far, []byte("password\n"))
		_, err := s.Receive()
		if err == nil || strings.Contains(err.Error(), "70 61") || !strings.Contains(err.Error(), "are text: the peer's framing is another; this side expects TLS") {
			t.Errorf("Receive: %v", err)
		}
	})
}

func TestATLSClientOfAPlainServerIsToldSo(t *testing.T) {
	for name, p := range map[string]libnet.Protocol{"an implausible length": wide, "a legal one": narrow} {
		t.Run(name, func(t *testing.T) {
			soon := func(srv *libnet.Server) { srv.FrameTimeout = 50 * time.Millisecond } // instead of the client's 10 s
			inModes(t, p, []string{"tcp", "unix"}, soon, func(t *testing.T, r *testkit.Rig) {
				d := libnet.Dialer{Protocol: p, TLSConfig: testkit.AnyTLS()}
				addr := r.Listener().Addr()
				_, err := d.Dial(t.Context(), addr.Network(), addr.String())
				testkit.CheckErr(t, "Dial", err, io.EOF)
				if !strings.Contains(err.Error(), "speaks no TLS") {
					t.Errorf("Dial: %v", err)
				}
				wantLine(t, r.Logs, "session ended", "TLS ClientHello")
			})
		})
	}
}

func TestAPlainClientOfATLSServerIsToldSoAndLogged(t *testing.T) {
	for name, p := range map[string]libnet.Protocol{
		"an implausible length": wide, "a legal one": narrow, "lines": codec.New(codec.Lines, codec.Bytes),
	} {
		t.Run(name, func(t *testing.T) {
			inModes(t, p, []string{"tls"}, nil, func(t *testing.T, r *testkit.Rig) {
				d := libnet.Dialer{Protocol: p}
				s, err := d.Dial(t.Context(), "tcp", r.Listener().Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				testkit.MustSend(t, s, []byte("hello"))
				msg, err := s.Receive()
				if err == nil || !strings.Contains(err.Error(), "a TLS alert (level 2, description 70)") {
					t.Errorf("the client got %q, %v", msg, err)
				}
				wantLine(t, r.Logs, "session ended", "the peer's first bytes are", "expects TLS")
			})
		})
	}
}

func TestATLSClientOfAServerThatAnswersIsToldWhat(t *testing.T) {
	l := testkit.Listen(t, "tcp")
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err == nil {
			_, _ = conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			testkit.Drain(conn)
			_ = conn.Close()
		}
	}()
	d := libnet.Dialer{Protocol: wide, TLSConfig: testkit.AnyTLS()}
	_, err := d.Dial(t.Context(), "tcp", l.Addr().String())
	var notTLS tls.RecordHeaderError
	if !errors.As(err, &notTLS) || !strings.Contains(err.Error(), "HTTP response") {
		t.Errorf("Dial: %v", err)
	}
}

// Who accepts connections himself, or takes them over from net/http, may have done the handshake.
func TestAHandshakeThatWasOverBeforeTheSessionHasNoBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := testkit.ConnectPipe(t)
		client, conn := tls.Client(far, testkit.AnyTLS()), tls.Server(near, testkit.ServerTLS())
		go func() { _ = client.Handshake() }()
		if err := conn.Handshake(); err != nil {
			t.Fatal(err)
		}
		s := testkit.Adopt(t, testkit.NewServer(t, narrow, 0), conn)
		time.Sleep(time.Minute)
		if s.IsClosed() {
			t.Errorf("a session that has nothing to say yet was ended: %v", s.Err())
		}
	})
}

func TestAHandshakeThatSomebodyAsksForHasABound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, _ := testkit.ConnectPipe(t)
		s := testkit.Adopt(t, testkit.NewServer(t, narrow, 0), tls.Server(near, testkit.ServerTLS()))
		began := time.Now()
		if _, ok := s.TLS(); ok {
			t.Error("TLS with a silent peer")
		}
		<-s.Done()
		testkit.CheckErr(t, "Err", s.Err(), libnet.ErrHandshakeTimeout)
		if took := time.Since(began); took < 15*time.Second || took > 16*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// A silent client costs a TLS server 15 s where nothing was set; one that has done its part of the handshake may be
// silent. A client gives a silent server as long.
func TestTheHandshakeOfTLSHasABoundByDefault(t *testing.T) {
	testkit.Slow(t)
	inModes(t, narrow, []string{"tls"}, nil, func(t *testing.T, r *testkit.Rig) {
		t.Parallel()
		began := time.Now()
		quiet, session := r.Open()
		silent := plainly(t, r)
		_ = silent.SetDeadline(time.Now().Add(time.Minute)) // a machine that is late gives it another 15 s
		if _, err := silent.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the silent client: %v", err)
		}
		if took := time.Since(began); took < 14*time.Second {
			t.Errorf("it took %v", took)
		}
		wantLine(t, r.Logs, "handshake timeout", "no handshake of TLS within 15s", "handshake_timeout")
		time.Sleep(time.Until(began.Add(17 * time.Second)))
		if session.IsClosed() {
			t.Fatalf("the client that has done its handshake was ended: %v", session.Err())
		}
		_ = quiet.SetDeadline(time.Now().Add(testkit.Patience))
		testkit.MustWrite(t, quiet, []byte("\x00\x05still"))
		if _, err := io.ReadFull(quiet, make([]byte, 7)); err != nil {
			t.Errorf("its echo: %v", err)
		}
	})
	off := func(srv *libnet.Server) { srv.HandshakeTimeout = -1 }
	inModes(t, narrow, []string{"tls"}, off, func(t *testing.T, r *testkit.Rig) {
		t.Parallel()
		silent := plainly(t, r)
		_ = silent.SetDeadline(time.Now().Add(16 * time.Second))
		if _, err := silent.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a silent client without a bound: %v", err)
		}
	})
	t.Run("Dial", func(t *testing.T) {
		t.Parallel()
		l := testkit.Listen(t, "tcp")
		defer l.Close()
		began := time.Now()
		d := libnet.Dialer{Protocol: wide, TLSConfig: testkit.AnyTLS()}
		_, err := d.Dial(t.Context(), "tcp", l.Addr().String())
		testkit.CheckErr(t, "Dial", err, libnet.ErrHandshakeTimeout)
		if took := time.Since(began); took < 15*time.Second || !strings.Contains(err.Error(), "may not speak TLS") {
			t.Errorf("after %v: %v", took, err)
		}
	})
}
