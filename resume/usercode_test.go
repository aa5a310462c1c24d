package resume_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/reconnect"
	"github.com/libnet-go/libnet/resume"
)

func TestALoggerThatDoesNotReturnKeepsNoConnection(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		release := make(chan struct{})
		defer close(release)
		l := dropping(t, r, hangingLog{testkit.Quiet.Handler(), release})
		for i := range 3 {
			pipe, err := l.Dial()
			if err != nil {
				t.Fatal(err)
			}
			conn := rawSession(t, pipe)
			answered := make(chan []byte, 1)
			go func() {
				answer, _ := conn.Receive()
				answered <- answer
			}()
			sendRaw(t, conn, newHello)
			time.Sleep(2 * time.Second)
			select {
			case answer := <-answered:
				wantRefused(t, conn, answer, 2)
			default:
				t.Errorf("connection %d is not answered", i)
			}
		}
	})
}

// A hangingLog takes lines of errors and keeps who writes them.
type hangingLog struct {
	slog.Handler
	release chan struct{}
}

func (hangingLog) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelError }

func (h hangingLog) Handle(context.Context, slog.Record) error { <-h.release; return nil }

func TestAClientsSessionEndsThoughItsOnStateDoesNotReturn(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		release := make(chan struct{})
		over := newRig(t, nil).over()
		over.Dial = func(context.Context) (*libnet.Session, error) { return nil, io.ErrUnexpectedEOF }
		over.Final = func(error) bool { return true }
		over.OnState = func(c reconnect.Change) {
			if c.State == reconnect.Closed {
				<-release
			}
		}
		near := new(resume.Client).Start(over)
		synctest.Wait()
		select {
		case <-near.Done():
		default:
			t.Errorf("it is %v, and waits for the user", near.State())
		}
		close(release)
		<-over.Done()
	})
}

func TestASessionOverAClientThatHasEndedHasEnded(t *testing.T) {
	over := site{dial: dialTCP}.over("127.0.0.1:1")
	over.Close()
	near := new(resume.Client).Start(over)
	wantEnd(t, near, libnet.ErrSessionClosed, 0)
	if err := near.Send([]byte("x")); !errors.Is(err, libnet.ErrSessionClosed) {
		t.Errorf("Send answers %v", err)
	}
	if _, err := near.Receive(); !errors.Is(err, libnet.ErrSessionClosed) {
		t.Errorf("Receive answers %v", err)
	}
}

func TestAPanicOfACloseCallbackIsInTheLog(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		log := new(testkit.Log)
		before := slog.Default()
		slog.SetDefault(slog.New(log))
		defer slog.SetDefault(before)
		near := new(resume.Client).Start(newRig(t, nil).over())
		near.OnClose(func() { panic("on purpose") })
		_ = near.Close()
		synctest.Wait()
		time.Sleep(time.Second)
		if lines := log.With("panic in a close callback"); len(lines) != 1 {
			t.Errorf("%q", log.With(""))
		}
	})
}

func TestACloseCallbackThatIsNilPanicsAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		near := new(resume.Client).Start(newRig(t, nil).over())
		defer near.Close()
		defer func() {
			if text, _ := recover().(string); !strings.HasPrefix(text, "libnet: ") {
				t.Errorf("%q", text)
			}
		}()
		near.OnClose(nil)
	})
}

// dropping serves r's sessions on connections whose queues may lose messages.
func dropping(t *testing.T, r *rig, log slog.Handler) *libnettest.Listener {
	l := libnettest.NewListener()
	srv := libnet.NewServer(l, protocol, 8)
	srv.OnFull, srv.Logger = libnet.DropOldest, slog.New(log)
	go func() { _ = srv.Serve(r.server) }()
	t.Cleanup(func() { srv.Stop() })
	return l
}

func TestAConnectionWhoseQueueLosesMessagesIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		log := new(testkit.Log)
		l := dropping(t, r, log)
		for range 3 {
			pipe, err := l.Dial()
			if err != nil {
				t.Fatal(err)
			}
			conn := rawSession(t, pipe)
			sendRaw(t, conn, newHello)
			answer, err := conn.Receive()
			testkit.CheckErr(t, "Receive", err, nil)
			wantRefused(t, conn, answer, 2)
		}
		if n := len(log.With("level=ERROR")); n != 1 || r.server.Stats().Open != 0 {
			t.Errorf("%d lines %q, %+v", n, log.With(""), r.server.Stats())
		}
		over, sent := r.over(), make(chan struct{})
		over.Dial = func(context.Context) (*libnet.Session, error) {
			<-sent // the session ends with its first connection
			pipe, err := r.pipes.Dial()
			if err != nil {
				return nil, err
			}
			return (&libnet.Dialer{Protocol: protocol, Config: libnet.Config{SendQueue: 8, OnFull: libnet.DropOldest}}).NewSession(pipe)
		}
		near := new(resume.Client).Start(over)
		send(t, near, "kept")
		close(sent)
		wantEnd(t, near, resume.ErrDropOldest, 1)
	})
}

func TestAPanicOfASessionsHandlerIsInTheLog(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		handler := &resume.Server{Handler: func(s *resume.Session) { panic("as asked") }}
		defer handler.Close()
		l, log := libnettest.NewListener(), new(testkit.Log)
		srv := libnet.NewServer(l, protocol, 8)
		srv.Logger = slog.New(log)
		go func() { _ = srv.Serve(handler) }()
		defer srv.Stop()
		r.pipes = l
		near := new(resume.Client).Start(r.over())
		wantEnd(t, near, io.EOF, 0)
		synctest.Wait()
		if n := len(log.With("as asked")); n != 1 {
			t.Errorf("%d lines", n)
		}
	})
}

func TestAServerOfAnotherProtocolSaysSo(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		l, log := libnettest.NewListener(), new(testkit.Log)
		srv := libnet.NewServer(l, testkit.Frames, 8) // without resume.Frames
		srv.Logger = slog.New(log)
		go func() { _ = srv.Serve(r.server) }()
		defer srv.Stop()
		pipe, err := l.Dial()
		if err != nil {
			t.Fatal(err)
		}
		conn := rawSession(t, pipe)
		sendRaw(t, conn, newHello)
		if _, err := conn.Receive(); err == nil {
			t.Error("answered")
		}
		if lines := log.With("cannot be encoded"); len(lines) != 1 {
			t.Errorf("%q", log.With(""))
		}
		if stats := r.server.Stats(); stats.Open != 0 {
			t.Errorf("%+v", stats)
		}
	})
}

// A codecOfBounds says what its messages are bounded by as a test has it.
type codecOfBounds struct {
	testkit.FramingCodec
	bound func() int
}

func (c codecOfBounds) MaxMessage() int { return c.bound() }

func TestACodecThatPanicsWhenAskedForItsBoundHasNone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.pipes = libnettest.NewListener()
		srv := libnet.NewServer(r.pipes, libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
			return codecOfBounds{testkit.FramingCodec{Codec: protocol.NewCodec(rw)}, func() int { panic("as asked") }}
		}), 8)
		configure(&srv.Config)
		go func() { _ = srv.Serve(r.server) }()
		defer srv.Stop()
		near, far := r.start(new(resume.Client))
		send(t, far, "x")
		receive(t, near, "x")
	})
}

func TestAMessageThatTheConnectionCannotCarryIsRefusedAndTheSessionStays(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.pipes = libnettest.NewListener()
		srv := libnet.NewServer(r.pipes, protocol, 8)
		configure(&srv.Config)
		srv.MaxMessage = 100
		go func() { _ = srv.Serve(r.server) }()
		defer srv.Stop()
		near, far := r.start(new(resume.Client))
		if err := far.Send(make([]byte, 101)); err != libnet.ErrFrameTooLarge {
			t.Error(err)
		}
		send(t, far, "x")
		receive(t, near, "x")
	})
}

// A lostConn does not know its peer's address any more once it is closed.
type lostConn struct{ net.Conn }

func (c lostConn) RemoteAddr() net.Addr {
	if _, err := c.Conn.Write(nil); err != nil {
		panic("as asked")
	}
	return c.Conn.RemoteAddr()
}

func TestASessionOfAConnectionThatPanicsAtItsEndIsKept(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		l := libnettest.NewListener()
		srv := libnet.NewServer(l, protocol, 8)
		configure(&srv.Config)
		go func() { _ = srv.Serve(r.server) }()
		defer srv.Stop()
		near, far := libnettest.Pipe()
		l.Push(lostConn{far}, nil)
		conn := rawSession(t, near)
		sendRaw(t, conn, newHello)
		s := <-r.sessions
		_ = conn.Close()
		time.Sleep(time.Hour)
		wantEnd(t, s, resume.ErrWindow, 0)
	})
}

func TestASessionIsKeptThoughACloseCallbackOfItsConnectionDoesNotReturn(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		l := libnettest.NewListener()
		srv := libnet.NewServer(l, protocol, 8)
		configure(&srv.Config)
		release := make(chan struct{})
		srv.OnSession = func(s *libnet.Session) error {
			s.OnClose(func() { <-release })
			return nil
		}
		go func() { _ = srv.Serve(r.server) }()
		defer srv.Stop()
		defer close(release)
		near, far := libnettest.Pipe()
		l.Push(far, nil)
		conn := rawSession(t, near)
		sendRaw(t, conn, newHello)
		s := <-r.sessions
		_ = conn.Close()
		synctest.Wait()
		if s.State() != resume.Detached || r.server.Stats().Kept != 1 {
			t.Errorf("%v, %+v", s.State(), r.server.Stats())
		}
		time.Sleep(time.Hour)
		wantEnd(t, s, resume.ErrWindow, 0)
	})
}

func TestCallbacksOfAConnectionComeAndGoWhileItsSessionIsServed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var ran []string
		var stop func() bool
		r := newRig(t, func(h *resume.Server) {
			h.MessageHandler = func(s *resume.Session, msg []byte) {
				if name := string(msg); name == "none" {
					stop()
				} else {
					stop = s.Conn().OnClose(func() { ran = append(ran, name) })
				}
			}
		})
		l := libnettest.NewListener()
		srv := libnet.NewServer(l, protocol, 8)
		configure(&srv.Config)
		go func() { _ = srv.ServeMessages(r.server) }()
		defer srv.Stop()
		near, far := libnettest.Pipe()
		l.Push(far, nil)
		conn := rawSession(t, near)
		sendRaw(t, conn, newHello)
		for _, msg := range []string{"\x00a", "\x00b", "\x00none", "\x00c", "\x00d"} {
			sendRaw(t, conn, []byte(msg))
			synctest.Wait()
		}
		_ = conn.Close()
		synctest.Wait()
		if got := strings.Join(ran, " "); got != "a c d" || r.server.Stats().Kept != 1 {
			t.Errorf("ran %q; %+v", got, r.server.Stats())
		}
	})
}

// An around is a marshaler of the user's that has Frames make each frame, as one that encrypts would.
type around struct {
	codec.Marshaler
	frames *atomic.Int64
}

func (a around) AppendMarshal(dst []byte, msg any) ([]byte, error) {
	a.frames.Add(1)
	return a.Marshaler.AppendMarshal(dst, msg)
}

// What package codec puts behind its header by itself where the marshaler is Frames, it leaves to a marshaler around
// that.
func TestAMarshalerAroundFramesSeesEachMessage(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		l, frames := libnettest.NewListener(), new(atomic.Int64)
		srv := libnet.NewServer(l, codec.New(codec.Uint32BE, around{resume.Frames, frames}), 0)
		configure(&srv.Config)
		go func() { _ = srv.Serve(r.server) }()
		defer srv.Stop()
		r.pipes = l
		near, far := r.start(new(resume.Client))
		before := frames.Load()
		send(t, far, "1", "2", "3")
		receive(t, near, "1", "2", "3")
		if n := frames.Load() - before; n != 3 {
			t.Errorf("it has seen %d of 3", n)
		}
	})
}
