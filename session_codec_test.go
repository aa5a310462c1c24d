package libnet_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

func TestK1TheEndOfThePeerIsOneErrorAndEndsTheSession(t *testing.T) {
	testkit.OverProtocols(t, func(t *testing.T, p libnet.Protocol, connect testkit.Connector) {
		srv := testkit.NewServer(t, p, 0)
		near, far := connect(t)
		s := testkit.Adopt(t, srv, near)
		go func() {
			_, _ = far.Write(testkit.Frame("last words"))
			_ = far.Close()
		}()
		testkit.MustReceive(t, s, "last words")
		for range 3 {
			if msg, err := s.Receive(); err != io.EOF || msg != nil {
				t.Fatalf("Receive after the peer's end = %q, %v; want io.EOF", msg, err)
			}
		}
		testkit.Await(t, testkit.Patience, "Done", s.Done())
		if s.Err() != io.EOF || srv.Manager().Len() != 0 || srv.Stats().Closed["eof"] != 1 {
			t.Errorf("Err %v, %d sessions, closed %v", s.Err(), srv.Manager().Len(), srv.Stats().Closed)
		}
		testkit.WantErr(t, "Send after the peer's end", s.Send([]byte("x")), io.EOF)
	})
}

func TestK2SendReportsThatThePeerIsGone(t *testing.T) {
	testkit.Slow(t)
	for _, p := range testkit.Protocols {
		for _, queue := range []int{0, 16} {
			t.Run(fmt.Sprintf("%s, queue %d", p.Name, queue), func(t *testing.T) {
				testkit.OverTransports(t, func(t *testing.T, connect testkit.Connector) {
					near, far := connect(t)
					s := testkit.Adopt(t, testkit.NewServer(t, p.Protocol, queue), near)
					_ = far.Close()
					var err error
					testkit.Eventually(t, "an error of Send", func() bool {
						err = s.Send([]byte("are you there?"))
						return err != nil && err != libnet.ErrSessionBlocked
					})
					testkit.Await(t, testkit.Patience, "Done", s.Done())
					if s.Err() == nil || !errors.Is(s.Send([]byte("x")), s.Err()) {
						t.Errorf("Send = %v, and the session's reason is %v", s.Send([]byte("x")), s.Err())
					}
				})
			})
		}
	}
}

func TestK3AnOverlongMessageIsRefusedAndTheSessionStaysOpen(t *testing.T) {
	for _, queue := range []int{0, 16} {
		t.Run(fmt.Sprint("queue ", queue), func(t *testing.T) {
			testkit.OverTransports(t, func(t *testing.T, connect testkit.Connector) {
				a, b := testkit.SessionPair(t, connect, codec.New(codec.Uint16BE, codec.Bytes), queue)
				go func() {
					for _, n := range []int{65536, 65541, 1 << 17, 1 << 20} {
						if err := a.Send(make([]byte, n)); !errors.Is(err, libnet.ErrFrameTooLarge) {
							t.Errorf("Send of %d bytes = %v; want ErrFrameTooLarge", n, err)
						}
					}
					_ = a.Send(make([]byte, 65535))
					_ = a.Send([]byte("after"))
				}()
				if msg, err := b.Receive(); err != nil || len(msg) != 65535 {
					t.Fatalf("Receive = %d bytes, %v; want 65535", len(msg), err)
				}
				testkit.MustReceive(t, b, "after")
			})
		})
	}
}

func TestK4S4SendersOnOneSynchronousSessionDoNotMixTheirFrames(t *testing.T) {
	testkit.OverProtocols(t, func(t *testing.T, p libnet.Protocol, connect testkit.Connector) {
		a, b := testkit.SessionPair(t, connect, p, 0)
		testkit.SendFromMany(t, a, 8, 200)
		testkit.ReceiveFromMany(t, b, 8, 200)
	})
}

func TestK5AMessageOfTheWrongTypeIsAnErrorOfSend(t *testing.T) {
	for _, queue := range []int{0, 16} {
		t.Run(fmt.Sprint("queue ", queue), func(t *testing.T) {
			a, b := testkit.SessionPair(t, testkit.ConnectTCP, codec.Protobuf(), queue)
			for _, msg := range []any{42, "text", nil, (*Base)(nil), struct{}{}} {
				testkit.WantErr(t, fmt.Sprintf("Send of a %T", msg), a.Send(msg), libnet.ErrEncode)
			}
			testkit.MustSend(t, a, &Base{Cmd: 7})
			var got Base
			receiveMessage(t, b, &got)
			if got.Cmd != 7 || a.IsClosed() {
				t.Errorf("received %d; closed: %v", got.Cmd, a.IsClosed())
			}
		})
	}
}

func TestK5AUserCodecThatPanicsOnAMessageCostsItsOwnSession(t *testing.T) {
	panicky := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
		return &testkit.FuncCodec{OnSend: func(msg any) error { _ = msg.([]byte)[0]; return nil }}
	})
	for _, queue := range []int{0, 16} {
		srv := testkit.NewServer(t, panicky, queue)
		near, _ := testkit.ConnectPipe(t)
		s := testkit.Adopt(t, srv, near)
		testkit.WantErr(t, "Send of the wrong type", s.Send(42), libnet.ErrPanic)
		testkit.WantErr(t, "Err", s.Err(), libnet.ErrPanic)
		if stats := srv.Stats(); stats.Panics != 1 || stats.Closed["panic"] != 1 || stats.Open != 0 {
			t.Errorf("stats after the panic: %+v", stats)
		}
	}
}

func TestK6AFrameCutShortIsNotACleanEnd(t *testing.T) {
	whole := testkit.Frame("a message")
	testkit.OverProtocols(t, func(t *testing.T, p libnet.Protocol, connect testkit.Connector) {
		for cut := 1; cut < len(whole); cut++ {
			near, far := connect(t)
			srv := testkit.NewServer(t, p, 0)
			s := testkit.Adopt(t, srv, near)
			go func() {
				_, _ = far.Write(append(testkit.Frame("first"), whole[:cut]...))
				_ = far.Close()
			}()
			testkit.MustReceive(t, s, "first")
			if msg, err := s.Receive(); err != io.ErrUnexpectedEOF || msg != nil {
				t.Fatalf("cut after %d bytes: Receive = %q, %v; want io.ErrUnexpectedEOF", cut, msg, err)
			}
			if s.Err() != io.ErrUnexpectedEOF || srv.Stats().Closed["unexpected_eof"] != 1 {
				t.Fatalf("cut after %d bytes: Err %v, closed %v", cut, s.Err(), srv.Stats().Closed)
			}
		}
	})
}

// deafCodec keeps the end of the stream to itself, as the seed's did.
type deafCodec struct{ rw io.ReadWriter }

func (c deafCodec) Receive() ([]byte, error) {
	var header [4]byte
	if _, err := io.ReadFull(c.rw, header[:]); err != nil {
		return nil, nil
	}
	body := make([]byte, binary.BigEndian.Uint32(header[:]))
	if _, err := io.ReadFull(c.rw, body); err != nil {
		return nil, nil
	}
	return body, nil
}

func (c deafCodec) Send(any) error { return nil }
func (c deafCodec) Close() error   { return nil }

func TestK1K6ACodecThatHidesTheEndDoesNotSpin(t *testing.T) {
	deaf := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec { return deafCodec{rw} })
	for _, test := range []struct {
		name string
		sent []byte
		want error
	}{
		{"between frames", testkit.Frame("whole"), io.EOF},
		{"in a header", append(testkit.Frame("whole"), 0, 0), io.ErrUnexpectedEOF},
		{"in a body", append(testkit.Frame("whole"), testkit.Frame("cut")[:6]...), io.ErrUnexpectedEOF},
	} {
		t.Run(test.name, func(t *testing.T) {
			near, far := testkit.ConnectTCP(t)
			s := testkit.Adopt(t, testkit.NewServer(t, deaf, 0), near)
			testkit.MustWrite(t, far, test.sent)
			_ = far.Close()
			testkit.MustReceive(t, s, "whole")
			if msg, err := s.Receive(); err != test.want {
				t.Errorf("Receive = %q, %v; want %v", msg, err, test.want)
			}
		})
	}
}

// A codec may read its message up to the end of the stream. What it reads from must then be as any
// io.Reader: io.EOF at the end, and again whenever it is asked.
func TestK7AReaderAfterItsErrorKeepsAnsweringIt(t *testing.T) {
	testkit.OverTransports(t, func(t *testing.T, connect testkit.Connector) {
		untilEOF := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
			return &testkit.FuncCodec{OnReceive: func() ([]byte, error) {
				all, err := io.ReadAll(rw)
				if err != nil || len(all) > 0 {
					return all, err
				}
				_, err = rw.Read(make([]byte, 1))
				return nil, err
			}}
		})
		near, far := connect(t)
		s := testkit.Adopt(t, testkit.NewServer(t, untilEOF, 0), near)
		go func() {
			_, _ = far.Write(bytes.Repeat([]byte("x"), 100_000))
			_ = far.Close()
		}()
		testkit.Within(t, testkit.Patience, "io.ReadAll over the session's stream", func() {
			if msg, err := s.Receive(); err != nil || len(msg) != 100_000 {
				t.Errorf("Receive = %d bytes, %v; want all of the stream", len(msg), err)
			}
			if _, err := s.Receive(); err != io.EOF {
				t.Errorf("Receive at the end of the stream = %v; want io.EOF", err)
			}
		})
	})
}

// hostile are the first bytes of a stream that must not be believed.
var hostile = []struct {
	name    string
	framing codec.Framing
	bytes   []byte
}{
	{"4 GiB", codec.Uint32BE, []byte{0xff, 0xff, 0xff, 0xff}},
	{"the top bit of 32", codec.Uint32BE, []byte{0x80, 0, 0, 0}},
	{"2 GiB less one", codec.Uint32LE, []byte{0xff, 0xff, 0xff, 0x7f}},
	{"one over the bound", codec.Uint32BE, []byte{0, 0x10, 0, 1}},
	{"the top bit of 64", codec.Uint64BE, []byte{0x80, 0, 0, 0, 0, 0, 0, 0}},
	{"minus one", codec.Uint64LE, bytes.Repeat([]byte{0xff}, 8)},
	{"a negative length", codec.LengthField{Size: 4, Adjust: -8}, []byte{0, 0, 0, 1}},
	{"an endless varint", codec.Uvarint, bytes.Repeat([]byte{0x80}, 16)},
	{"an HTTP request", codec.Uint32BE, []byte("GET / HTTP/1.1\r\n\r\n")},
}

func TestK8L1AnIncredibleLengthIsOneErrorAndNoMemory(t *testing.T) {
	for _, h := range hostile {
		t.Run(h.name, func(t *testing.T) {
			testkit.OverTransports(t, func(t *testing.T, connect testkit.Connector) {
				srv := testkit.NewServer(t, codec.New(h.framing, codec.Bytes), 0)
				near, far := connect(t)
				s := testkit.Adopt(t, srv, near)
				go func() { _, _ = far.Write(h.bytes) }()
				before := allocated()
				_, err := s.Receive()
				if spent := allocated() - before; spent > 1<<20 {
					t.Errorf("a length of %x cost %d bytes of memory", h.bytes, spent)
				}
				if !errors.Is(err, libnet.ErrFrameTooLarge) && !errors.Is(err, libnet.ErrMalformedFrame) {
					t.Errorf("Receive = %v", err)
				}
				if _, again := s.Receive(); again != err || s.Err() != err {
					t.Errorf("Receive = %v, then %v; Err = %v", err, again, s.Err())
				}
				if open := srv.Stats().Open; open != 0 {
					t.Errorf("%d sessions are open", open)
				}
			})
		})
	}
}

func allocated() uint64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.TotalAlloc
}

// The seed's codec wrote header and body with two calls and looked at the error of the second only.
func TestK9ACodecThatForgetsAFailedWriteTearsNoStream(t *testing.T) {
	forgetful := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
		return &testkit.FuncCodec{OnSend: func(msg any) error {
			for _, part := range msg.([][]byte) {
				_, _ = rw.Write(part)
			}
			return nil
		}}
	})
	for _, queue := range []int{0, 16} {
		t.Run(fmt.Sprint("queue ", queue), func(t *testing.T) {
			srv := testkit.NewServer(t, forgetful, queue)
			srv.MaxMessage = 1000
			srv.SendQueueBytes = 1000
			near, far := testkit.ConnectTCP(t)
			s := testkit.Adopt(t, srv, near)
			err := s.Send([][]byte{make([]byte, 4000), []byte("body")})
			if !errors.Is(err, libnet.ErrFrameTooLarge) {
				t.Errorf("Send of a message whose first part does not fit = %v; want ErrFrameTooLarge", err)
			}
			testkit.MustSend(t, s, [][]byte{testkit.Frame("whole")})
			got := make([]byte, len(testkit.Frame("whole")))
			if _, err := io.ReadFull(far, got); err != nil || !bytes.Equal(got, testkit.Frame("whole")) {
				t.Errorf("the peer got %q, %v", got, err)
			}
		})
	}
}

func TestK14APeerThatStallsInAFrameIsGivenUp(t *testing.T) {
	for _, p := range testkit.Protocols {
		t.Run(p.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := testkit.NewServer(t, p.Protocol, 0)
				srv.FrameTimeout = 3 * time.Second
				near, far := testkit.ConnectPipe(t)
				s := testkit.Adopt(t, srv, near)
				began := time.Now()
				testkit.MustWrite(t, far, []byte{0})
				if _, err := s.Receive(); err != libnet.ErrFrameTimeout {
					t.Errorf("Receive = %v; want ErrFrameTimeout", err)
				}
				if took := time.Since(began); took != srv.FrameTimeout {
					t.Errorf("it took %v; want %v", took, srv.FrameTimeout)
				}
				var ne net.Error
				if !errors.As(s.Err(), &ne) || !ne.Timeout() {
					t.Errorf("Err = %v, no timeout", s.Err())
				}
			})
		})
	}
}

func TestK9AWriteThatFailsIsReportedWhereverItFails(t *testing.T) {
	for _, p := range testkit.Protocols {
		t.Run(p.Name, func(t *testing.T) {
			libnettest.Sweep(t, libnettest.OpWrite, libnettest.SingleFaults()[:3], func(t *testing.T, faults *libnettest.Faults) {
				near, far := testkit.ConnectPipe(t)
				s := testkit.Adopt(t, testkit.NewServer(t, p.Protocol, 0), faults.Wrap(near))
				sent := 0
				for sent < 4 && s.Send(testkit.Message(1, sent, 10)) == nil {
					sent++
				}
				_ = s.Close()
				peer := testkit.NewTwoWrites(far)
				for i := range sent {
					msg, err := peer.Receive()
					if err != nil {
						t.Fatalf("Send returned nil for %d messages, the peer got %d: %v", sent, i, err)
					}
					testkit.ParseMessage(t, msg)
				}
				if msg, err := peer.Receive(); err == nil {
					t.Errorf("the peer got %q although its Send had failed", msg)
				}
			})
		})
	}
}

// heldConn has its writes wait until release is closed.
type heldConn struct {
	net.Conn
	release chan struct{}
}

func (c heldConn) Write(p []byte) (int, error) {
	<-c.release
	return c.Conn.Write(p)
}

func TestK12ABatchOfMessagesIsFewWritesAndReads(t *testing.T) {
	const messages = 1000
	for _, p := range testkit.Protocols {
		t.Run(p.Name, func(t *testing.T) {
			near, far := testkit.ConnectPipe(t)
			var out, in libnettest.Faults
			release := make(chan struct{})
			a := testkit.Adopt(t, testkit.NewServer(t, p.Protocol, messages), heldConn{out.Wrap(near), release})
			b := testkit.Adopt(t, testkit.NewServer(t, p.Protocol, messages), in.Wrap(far))
			far.(*libnettest.PipeConn).Unplug() // so that all of it is there when the first read takes place
			for i := range messages {
				testkit.MustSend(t, a, testkit.Message(0, i, 16))
			}
			close(release)
			testkit.Eventually(t, "written", func() bool { return a.Stats().Queued == 0 })
			far.(*libnettest.PipeConn).Plug()
			for i := range messages {
				msg, err := b.Receive()
				if err != nil {
					t.Fatal(err)
				}
				if _, number := testkit.ParseMessage(t, msg); number != i {
					t.Fatalf("received message %d; want %d", number, i)
				}
			}
			if n := in.Calls(libnettest.OpRead); n > messages/20 {
				t.Errorf("%d messages took %d reads", messages, n)
			}
			if n := out.Calls(libnettest.OpWrite); n > messages/20 {
				t.Errorf("%d messages took %d writes", messages, n)
			}
		})
	}
}

// A codec that was made without the session's bound has its own, and a session cuts and writes a length's frames
// itself.
func TestACodecWithAWiderBoundThanItsSessionMeetsTheSessions(t *testing.T) {
	wide := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
		return codec.New(codec.Uint32BE, codec.Bytes).NewCodec(struct{ io.ReadWriter }{rw})
	})
	const bound = 100
	tooLong := make([]byte, 1<<17) // beyond the bound and all room that libnet leaves for a header, and within the codec's
	testkit.OverTransports(t, func(t *testing.T, connect testkit.Connector) {
		near, far := connect(t)
		srv := testkit.NewServer(t, wide, 16)
		srv.MaxMessage = bound
		s := testkit.Adopt(t, srv, near)
		testkit.WantErr(t, "Send", s.Send(tooLong), libnet.ErrFrameTooLarge)
		testkit.WantErr(t, "SendBytes", s.SendBytes(tooLong), libnet.ErrFrameTooLarge)
		go func() { _, _ = far.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(tooLong))), tooLong...)) }()
		if msg, err := s.Receive(); !errors.Is(err, libnet.ErrFrameTooLarge) {
			t.Errorf("Receive = %d bytes, %v; want ErrFrameTooLarge", len(msg), err)
		}
	})
}
