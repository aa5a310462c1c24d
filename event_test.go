package libnet_test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/libnettest"
)

// An eventMode is a way in which a server calls a handler for each message. What a peer sees must not depend
// on it, so most tests of event mode are one body over all of them.
type eventMode struct {
	name     string
	network  string
	protocol libnet.Protocol
	serve    func(*libnet.Server, libnet.MessageHandler) error
	wrap     func(net.Listener) net.Listener // nil: not at all
}

var eventModes = []eventMode{
	{"Serve", "tcp", frames, eventReceiveLoop, nil},
	{"ServeMessages", "tcp", frames, (*libnet.Server).ServeMessages, nil},
	{"Unix", "unix", frames, (*libnet.Server).ServeMessages, nil},
	{"TLS", "tls", frames, (*libnet.Server).ServeMessages, nil},
	{"Pipe", "pipe", frames, (*libnet.Server).ServeMessages, nil},
	{"plain codec", "tcp", plain, (*libnet.Server).ServeMessages, nil},
}

// eventLoops are the modes that have no goroutine a session.
var eventLoops = eventModes[1:3]

func eventReceiveLoop(srv *libnet.Server, h libnet.MessageHandler) error {
	return srv.Serve(libnet.HandlerFunc(func(s *libnet.Session) {
		for {
			msg, err := s.Receive()
			if err != nil {
				return
			}
			h.ServeMessage(s, msg)
		}
	}))
}

func overEventModes(t *testing.T, modes []eventMode, test func(t *testing.T, mode eventMode)) {
	t.Helper()
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			libnettest.VerifyNone(t)
			test(t, mode)
		})
	}
}

// An eventRig is a server in one of the modes.
type eventRig struct {
	*libnet.Server
	tb       testing.TB
	mode     eventMode
	sessions chan *libnet.Session // each one admitted
	served   chan error
}

// start serves until the test ends, and then checks that the books balance.
func (mode eventMode) start(tb testing.TB, configure func(*libnet.Server), h libnet.MessageHandlerFunc) *eventRig {
	tb.Helper()
	r := &eventRig{tb: tb, mode: mode, sessions: make(chan *libnet.Session, 1<<14), served: make(chan error, 1)}
	l := mode.listen(tb)
	if mode.wrap != nil {
		l = mode.wrap(l)
	}
	r.Server = libnet.NewServer(l, mode.protocol, 64)
	r.Logger = quiet
	r.Linger = 2 * time.Second
	if mode.network == "tls" {
		r.TLSConfig = serverTLS()
	}
	if configure != nil {
		configure(r.Server)
	}
	admit := r.OnSession
	r.OnSession = func(s *libnet.Session) (err error) {
		if admit != nil {
			err = admit(s)
		}
		if err == nil {
			r.sessions <- s
		}
		return err
	}
	go func() { r.served <- mode.serve(r.Server, h) }()
	tb.Cleanup(r.stop)
	return r
}

func (mode eventMode) listen(tb testing.TB) net.Listener {
	tb.Helper()
	var l net.Listener
	var err error
	switch mode.network {
	case "pipe":
		l = libnettest.NewListener()
	case "unix":
		l, err = net.Listen("unix", filepath.Join(tb.TempDir(), "s"))
	default:
		l, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

func (r *eventRig) stop() {
	r.tb.Helper()
	r.Stop()
	if err := await(r.tb, patience, "the end of Serve", r.served); err != libnet.ErrServerClosed {
		r.tb.Errorf("serving ended with %v; want ErrServerClosed", err)
	}
	eventually(r.tb, "the close of every session", func() bool {
		stats, closed := r.Stats(), uint64(0)
		for _, n := range stats.Closed {
			closed += n
		}
		return stats.Open == 0 && r.Manager().Len() == 0 && closed == stats.Accepted
	})
}

// dial returns a client's connection, which the end of the test closes.
func (r *eventRig) dial() net.Conn {
	r.tb.Helper()
	var conn net.Conn
	var err error
	switch l := r.Listener().(type) {
	case *libnettest.Listener:
		conn, err = l.Dial()
	default:
		conn, err = net.Dial(l.Addr().Network(), l.Addr().String())
	}
	if err != nil {
		r.tb.Fatal(err)
	}
	r.tb.Cleanup(func() { _ = conn.Close() })
	if r.mode.network == "tls" {
		secured := tls.Client(conn, clientTLS())
		if err := secured.Handshake(); err != nil {
			r.tb.Fatal(err)
		}
		conn = secured
	}
	_ = conn.SetDeadline(time.Now().Add(2 * patience)) // a test that hangs tells where
	return conn
}

// open dials and returns both ends.
func (r *eventRig) open() (net.Conn, *libnet.Session) {
	r.tb.Helper()
	conn := r.dial()
	return conn, await(r.tb, patience, "the session", r.sessions)
}

// wantClosed waits for the session's end and checks its reason wherever it is told.
func (r *eventRig) wantClosed(s *libnet.Session, reason error) {
	r.tb.Helper()
	await(r.tb, patience, "the session's end", s.Done())
	wantErr(r.tb, "the session's reason", s.Err(), reason)
	name := libnet.CloseReason(reason)
	eventually(r.tb, "the books to say "+name, func() bool { return r.Stats().Closed[name] > 0 })
}

func eventEcho(s *libnet.Session, msg []byte) { _ = s.Send(msg) }

// eventRead reads one frame.
func eventRead(r io.Reader) ([]byte, error) {
	var header [4]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return nil, err
	}
	msg := make([]byte, binary.BigEndian.Uint32(header[:]))
	_, err := io.ReadFull(r, msg)
	return msg, err
}

// eventAsk writes a message and wants it back.
func eventAsk(tb testing.TB, conn net.Conn, msg string) {
	tb.Helper()
	mustWrite(tb, conn, frame(msg))
	eventWant(tb, conn, msg)
}

func eventWant(tb testing.TB, conn net.Conn, msg string) {
	tb.Helper()
	if got, err := eventRead(conn); err != nil || string(got) != msg {
		tb.Fatalf("read %.64q, %v; want %.64q", got, err, msg)
	}
}

func eventCloseWrite(tb testing.TB, conn net.Conn) {
	tb.Helper()
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		tb.Fatalf("CloseWrite: %v", err)
	}
}

func TestEveryModeKeepsMessagesWholeAndInOrder(t *testing.T) {
	overEventModes(t, eventModes, func(t *testing.T, mode eventMode) {
		const senders, messages, clients = 4, 200, 2
		var inside sync.Map // sessions whose handler is at work
		r := mode.start(t, nil, func(s *libnet.Session, msg []byte) {
			if _, twice := inside.LoadOrStore(s, nil); twice {
				t.Error("two messages of a session at a time")
			}
			if err := s.SendContext(t.Context(), msg); err != nil {
				t.Errorf("SendContext: %v", err)
			}
			inside.Delete(s)
		})
		var wg sync.WaitGroup
		for range clients {
			client := adopt(t, newServer(t, mode.protocol, 0), r.dial())
			sendFromMany(t, client, senders, messages)
			wg.Go(func() { receiveFromMany(t, client, senders, messages) })
		}
		wg.Wait()
		if stats := r.Stats(); stats.Discarded != 0 || stats.BytesOut == 0 {
			t.Errorf("%+v", stats)
		}
	})
}

func TestEveryModeTakesFramesHoweverTheyAreSplit(t *testing.T) {
	overEventModes(t, eventModes, func(t *testing.T, mode eventMode) {
		r := mode.start(t, nil, eventEcho)
		conn := r.dial()
		three := bytes.Join([][]byte{frame("one"), frame(""), frame("three")}, nil)
		for i := range len(three) + 1 {
			mustWrite(t, conn, three[:i])
			time.Sleep(time.Millisecond) // long enough for most to be read apart
			mustWrite(t, conn, three[i:])
			for _, msg := range []string{"one", "", "three"} {
				eventWant(t, conn, msg)
			}
		}
		large := string(message(1, 1, 1<<20-8))
		rest := frame(large)
		go func() {
			for step := 1; len(rest) > 0; step = step*3 + 1 {
				n := min(step, len(rest), 200_000)
				if _, err := conn.Write(rest[:n]); err != nil {
					t.Errorf("write: %v", err)
					return
				}
				rest = rest[n:]
				time.Sleep(time.Millisecond)
			}
		}()
		eventWant(t, conn, large)
	})
}

func TestEveryModeCountsAndNamesAnEnd(t *testing.T) {
	for name, test := range map[string]struct {
		sent   []byte
		half   bool
		in     uint64
		reason error
	}{
		"at a boundary":     {bytes.Repeat(frame("x"), 5), true, 5, io.EOF},
		"without a message": {nil, true, 0, io.EOF},
		"inside a header":   {append(frame("x"), 0), true, 1, io.ErrUnexpectedEOF},
		"inside a message":  {append(bytes.Repeat(frame("x"), 9), frame("four")[:6]...), true, 9, io.ErrUnexpectedEOF},
		"a frame too large": {append(bytes.Repeat(frame("x"), 3), 0x7f, 0xff, 0xff, 0xff), false, 3, libnet.ErrFrameTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			overEventModes(t, eventModes, func(t *testing.T, mode eventMode) {
				r := mode.start(t, nil, eventEcho)
				conn, s := r.open()
				mustWrite(t, conn, test.sent)
				if test.half {
					eventCloseWrite(t, conn)
				}
				got, _ := io.ReadAll(conn)
				if want := bytes.Repeat(frame("x"), int(test.in)); test.reason == io.EOF && !bytes.Equal(got, want) {
					t.Errorf("the half-closed peer read %q", got)
				}
				r.wantClosed(s, test.reason)
				if stats := s.Stats(); stats.MessagesIn != test.in || stats.MessagesOut+stats.Discarded != test.in {
					t.Errorf("%+v; want %d messages in", stats, test.in)
				}
				if sum := r.Stats(); sum.MessagesIn != test.in || sum.BytesIn != uint64(len(test.sent)) {
					t.Errorf("the server's: %+v", sum)
				}
			})
		})
	}
}

// A poller hears once of input and end that arrive together.
func TestEveryModeSeesAnEndThatArrivedWhileTheHandlerWasAtWork(t *testing.T) {
	overEventModes(t, eventModes, func(t *testing.T, mode eventMode) {
		working, finish := make(chan struct{}, 1), make(chan struct{})
		r := mode.start(t, nil, func(s *libnet.Session, msg []byte) {
			if string(msg) == "wait" {
				working <- struct{}{}
				<-finish
			}
			_ = s.Send(msg)
		})
		conn, s := r.open()
		mustWrite(t, conn, frame("wait"))
		await(t, patience, "the handler", working)
		mustWrite(t, conn, frame("and more"))
		eventCloseWrite(t, conn)
		close(finish)
		eventWant(t, conn, "wait")
		eventWant(t, conn, "and more")
		if _, err := eventRead(conn); err != io.EOF {
			t.Errorf("then %v; want io.EOF", err)
		}
		r.wantClosed(s, io.EOF)
	})
}

func TestEveryModeLetsAHandlerReplyAtShutdownAndGivesItNoOtherMessage(t *testing.T) {
	overEventModes(t, eventModes, func(t *testing.T, mode eventMode) {
		working, finish := make(chan struct{}, 2), make(chan struct{})
		r := mode.start(t, nil, func(s *libnet.Session, msg []byte) {
			working <- struct{}{}
			<-finish
			_ = s.Send(msg)
		})
		conn := r.dial()
		mustWrite(t, conn, append(frame("first"), frame("second")...))
		await(t, patience, "the handler", working)
		down := make(chan error, 1)
		go func() { down <- r.Shutdown(timeoutContext(t, patience)) }()
		time.Sleep(30 * time.Millisecond) // nothing announces that the session has been asked
		close(finish)
		eventWant(t, conn, "first")
		if msg, err := eventRead(conn); err != io.EOF {
			t.Errorf("then %q, %v; want io.EOF", msg, err)
		}
		_ = conn.Close()
		wantErr(t, "Shutdown", await(t, patience, "Shutdown", down), nil)
	})
}
