package ws_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"
	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/inside"
	"github.com/libnet-go/libnet/libnettest"
)

func TestARefusalsMessageAndCodeArrive(t *testing.T) {
	for name, queue := range map[string]int{"synchronous": 0, "queued": 8} {
		for _, speaks := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, with a message %v", name, speaks), func(t *testing.T) {
				r := start(t, setup{queue: queue, config: func(srv *libnet.Server) {
					srv.OnSession = func(s *libnet.Session) error {
						if speaks {
							s.Send("wrong token")
						}
						return fmt.Errorf("refused: %w", websocket.CloseError{Code: 4001, Reason: "wrong token"})
					}
				}})
				browser := r.browser(t)
				if speaks {
					if _, msg, err := browser.Read(t.Context()); string(msg) != "wrong token" {
						t.Fatalf("read %q, %v", msg, err)
					}
				}
				_, _, err := browser.Read(t.Context())
				var e websocket.CloseError
				if !errors.As(err, &e) || e.Code != 4001 || e.Reason != "wrong token" {
					t.Fatalf("read %v", err)
				}
			})
		}
	}
}

func TestAServerThatTakesNoSessionSaysSo(t *testing.T) {
	for name, set := range map[string]func(*libnet.Server){
		"MaxSessions":      func(srv *libnet.Server) { srv.MaxSessions = 1 },
		"MaxSessionsPerIP": func(srv *libnet.Server) { srv.MaxSessionsPerIP = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			libnettest.VerifyNone(t)
			r := start(t, setup{config: set})
			r.browser(t)
			r.session(t)
			wantCode(t, r.browser(t), websocket.StatusTryAgainLater)
			r.Stop()
			wantCode(t, r.browser(t), websocket.StatusGoingAway)
			if stats := r.Stats(); stats.Accepted != 1 || stats.Rejected != 1 {
				t.Errorf("%+v", stats)
			}
		})
	}
}

// Whoever is thrown out by the login that comes after its own must know it, or it comes back and throws that out.
func TestACloseTellsItsReason(t *testing.T) {
	long := strings.Repeat("é", 100)
	for name, test := range map[string]struct {
		reason error
		code   websocket.StatusCode
		text   string
	}{
		"a kick":             {errors.New("logged in elsewhere"), 1008, "logged in elsewhere"},
		"a wrapped kick":     {fmt.Errorf("kick: %w", errors.New("spam")), 1008, "kick: spam"},
		"an idle peer":       {libnet.ErrIdleTimeout, 1008, libnet.ErrIdleTimeout.Error()},
		"a slow consumer":    {libnet.ErrSlowConsumer, 1008, libnet.ErrSlowConsumer.Error()},
		"a long reason":      {errors.New(long), 1008, long[:122]},
		"no UTF-8":           {errors.New("a\xff\xfeb"), 1008, "a\uFFFDb"},
		"a long text chosen": {websocket.CloseError{Code: 3000, Reason: long}, 3000, long[:122]},
		"no UTF-8 chosen":    {websocket.CloseError{Code: 4000, Reason: "\xff"}, 4000, "\uFFFD"},
		"code 0":             {websocket.CloseError{Reason: "x"}, 1000, "x"},
		"code 1005":          {websocket.CloseError{Code: 1005}, 1000, ""},
		"code -1":            {websocket.CloseError{Code: -1}, 1000, ""},
		"code 65536+1001":    {websocket.CloseError{Code: 65536 + 1001}, 1000, ""},
		"no reason":          {nil, 1000, ""},
		"the peer's own end": {io.EOF, 1000, ""},
		"a panic":            {fmt.Errorf("%w: secret", libnet.ErrPanic), 1011, ""},
		"a panicking error":  {panickingError{}, 1011, ""},
		"a nil error's type": {(*nilError)(nil), 1011, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, setup{handler: sink})
			conn, in := r.raw(t)
			s := r.session(t)
			s.CloseWithError(test.reason)
			conn.SetReadDeadline(time.Now().Add(soon))
			got := closes(t, in)
			if len(got) != 1 || code(got[0]) != int(test.code) || got[0][2:] != test.text {
				t.Fatalf("close frames %q, want %d %q", got, test.code, test.text)
			}
			if !utf8.ValidString(got[0][2:]) {
				t.Error("no UTF-8")
			}
		})
	}
}

type panickingError struct{}

func (panickingError) Error() string { panic("in Error") }

type nilError struct{ text string }

func (e *nilError) Error() string { return e.text }

func TestAClientIsToldWhyItWasThrownOut(t *testing.T) {
	r := start(t, setup{handler: sink})
	client := r.dial(t, 0)
	r.session(t).CloseWithError(errors.New("logged in elsewhere"))
	_, err := client.Receive()
	var e websocket.CloseError
	if !errors.As(err, &e) || e != (websocket.CloseError{Code: 1008, Reason: "logged in elsewhere"}) {
		t.Fatal(err)
	}
}

func TestALastWordArrivesAndThenItsReason(t *testing.T) {
	for _, queue := range []int{0, 8} {
		r := start(t, setup{queue: queue, handler: sink})
		browser := r.browser(t)
		s := r.session(t)
		send(t, s, "you have logged in elsewhere")
		go s.ShutdownWithError(t.Context(), websocket.CloseError{Code: 4001, Reason: "replaced"})
		if _, msg, err := browser.Read(t.Context()); string(msg) != "you have logged in elsewhere" {
			t.Fatalf("read %q, %v", msg, err)
		}
		_, _, err := browser.Read(t.Context())
		var e websocket.CloseError
		if !errors.As(err, &e) || e != (websocket.CloseError{Code: 4001, Reason: "replaced"}) {
			t.Fatal(err)
		}
		<-s.Done()
	}
}

// pushOnly never receives.
var pushOnly = libnet.HandlerFunc(func(s *libnet.Session) { <-s.Done() })

// loginThenPush receives once.
var loginThenPush = libnet.HandlerFunc(func(s *libnet.Session) {
	s.Receive()
	<-s.Done()
})

func TestAHandlerThatDoesNotReceiveLearnsOfItsPeersEnd(t *testing.T) {
	for name, test := range map[string]struct {
		handler libnet.Handler
		bytes   string
		reason  error
		code    int // 0: none
	}{
		"a close frame":         {pushOnly, frame(0x88, "\x03\xe8"), io.EOF, 1000},
		"no close frame":        {pushOnly, "", io.ErrUnexpectedEOF, 0},
		"half a frame":          {pushOnly, frame(fin|binaryFrame, "hello")[:8], io.ErrUnexpectedEOF, 0},
		"a protocol error":      {pushOnly, "\xff\xff", libnet.ErrMalformedFrame, 1002},
		"after its login":       {loginThenPush, frame(fin|binaryFrame, "me") + frame(0x88, "\x03\xe9"), io.EOF, 1001},
		"after login, half":     {loginThenPush, frame(fin|binaryFrame, "me") + frame(fin|binaryFrame, "hello")[:8], io.ErrUnexpectedEOF, 0},
		"after login, no close": {loginThenPush, frame(fin|binaryFrame, "me"), io.ErrUnexpectedEOF, 0},
		"after login, a ping":   {loginThenPush, frame(fin|binaryFrame, "me") + frame(ping, "") + frame(0x88, ""), io.EOF, 1005},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, pipes *libnettest.Listener) {
				r := start(t, setup{listener: pipes, handler: test.handler})
				conn, in := r.raw(t)
				s := r.session(t)
				begin := time.Now()
				write(t, conn, test.bytes)
				conn.(*libnettest.PipeConn).CloseWrite()
				got := closes(t, in)
				if test.code != 0 && (len(got) != 1 || code(got[0]) != test.code) {
					t.Errorf("close frames %q, want %d", got, test.code)
				}
				wantEnd(t, s, test.reason)
				if took := time.Since(begin); took > 2*time.Second {
					t.Errorf("ended after %v", took)
				}
			})
		})
	}
}

// What came before the end is the handler's, however late it comes for it.
func TestMessagesThatArrivedBeforeTheEndAreReceivedByASlowHandler(t *testing.T) {
	inBubble(t, func(t *testing.T, pipes *libnettest.Listener) {
		got := make(chan string, 10)
		r := start(t, setup{listener: pipes, queue: 10, handler: libnet.HandlerFunc(func(s *libnet.Session) {
			defer close(got)
			for {
				time.Sleep(time.Minute)
				msg, err := s.Receive()
				if err != nil {
					got <- err.Error()
					return
				}
				got <- string(msg)
			}
		})})
		conn, _ := r.raw(t)
		r.session(t)
		write(t, conn, frame(fin|binaryFrame, "1")+frame(fin|text, "2")+frame(fin|binaryFrame, "3")+frame(0x88, ""))
		conn.Close()
		for _, want := range []string{"1", "2", "3", "EOF"} {
			if msg := <-got; msg != want {
				t.Errorf("received %q, want %q", msg, want)
			}
		}
	})
}

// Behind the peer's close frame nothing can be sent. What came before it is received all the same.
func TestMessagesThatArrivedSurviveAFailedSend(t *testing.T) {
	for _, queue := range []int{0, 16} {
		t.Run(fmt.Sprint("a queue of ", queue), func(t *testing.T) {
			inBubble(t, func(t *testing.T, pipes *libnettest.Listener) {
				got := make(chan int, 1)
				r := start(t, setup{listener: pipes, queue: queue, handler: libnet.HandlerFunc(func(s *libnet.Session) {
					n := 0
					for {
						msg, err := s.Receive()
						if err != nil {
							got <- n
							return
						}
						n++
						s.Send(msg)
						time.Sleep(10 * time.Millisecond)
					}
				})})
				conn, in := r.raw(t)
				s := r.session(t)
				begin := time.Now()
				write(t, conn, strings.Repeat(frame(fin|binaryFrame, "hello"), 100)+frame(0x88, "\x03\xe8"))
				if payloads := closes(t, in); len(payloads) != 1 {
					t.Errorf("close frames %q", payloads)
				}
				if n := <-got; n != 100 {
					t.Errorf("received %d of 100", n)
				}
				wantEnd(t, s, io.EOF)
				if took := time.Since(begin); took > 3*time.Second {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

// A failed Send interrupts a Receive that waits. That must not cost what arrives at this moment.
func TestMessagesThatArriveAsASendFailsAreReceived(t *testing.T) {
	for range 300 {
		inBubble(t, func(t *testing.T, pipes *libnettest.Listener) {
			got := make(chan int, 1)
			r := start(t, setup{listener: pipes, queue: 16, handler: libnet.HandlerFunc(func(s *libnet.Session) {
				n := 0
				for receiveOne(s) == nil {
					n++
				}
				got <- n
			})})
			conn, in := r.raw(t)
			s := r.session(t)
			go io.Copy(io.Discard, in)
			go func() {
				for s.SendContext(t.Context(), "push") == nil {
				}
			}()
			write(t, conn, strings.Repeat(frame(fin|binaryFrame, "hello"), 20)+frame(0x88, "\x03\xe8"))
			if n := <-got; n != 20 {
				t.Fatalf("received %d of 20", n)
			}
			wantEnd(t, s, io.EOF)
		})
	}
}

func TestTheCountersOfASessionThatEndedUnderItsHandlerAreExact(t *testing.T) {
	inBubble(t, func(t *testing.T, pipes *libnettest.Listener) {
		for n := range 20 {
			r := start(t, setup{listener: libnettest.NewListener(), handler: libnet.HandlerFunc(func(s *libnet.Session) {
				for range n {
					s.Receive()
				}
				<-s.Done()
			})})
			conn, _ := r.raw(t)
			s := r.session(t)
			for range n {
				write(t, conn, frame(fin|binaryFrame, "me"))
			}
			write(t, conn, frame(0x88, ""))
			wantEnd(t, s, io.EOF)
			if in := s.Stats().MessagesIn; in != uint64(n) {
				t.Fatalf("received %d messages of %d", in, n)
			}
		}
	})
}

func TestIdleTimeoutSparesAPeerThatIsNotSilent(t *testing.T) {
	for name, test := range map[string]struct {
		receive func(s *libnet.Session) error
		beat    string
		unread  bool // what comes stays unread
	}{
		"pings":                           {receiveAll, frame(ping, ""), false},
		"pongs that nobody asked for":     {receiveAll, frame(0x8a, ""), false},
		"pings, and nobody receives":      {receiveNothing, frame(ping, ""), false},
		"messages, and nobody receives":   {receiveNothing, frame(fin|binaryFrame, "beat"), true},
		"messages, and the handler works": {receiveOne, frame(fin|binaryFrame, "beat"), true},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, pipes *libnettest.Listener) {
				r := start(t, setup{listener: pipes, config: func(srv *libnet.Server) { srv.IdleTimeout = time.Minute },
					handler: libnet.HandlerFunc(func(s *libnet.Session) {
						test.receive(s)
						<-s.Done()
					})})
				conn, in := r.raw(t)
				s := r.session(t)
				go io.Copy(io.Discard, in)
				for range 30 {
					write(t, conn, test.beat)
					time.Sleep(40 * time.Second)
				}
				if err := s.Err(); err != nil {
					t.Fatalf("ended with %v", err)
				}
				if test.unread {
					return
				}
				last := time.Now().Add(-40 * time.Second)
				wantEnd(t, s, libnet.ErrIdleTimeout) // of one that falls silent
				if took := time.Since(last); took != time.Minute {
					t.Errorf("ended %v after the last sign of life", took)
				}
			})
		})
	}
}

func receiveNothing(*libnet.Session) error { return nil }

func receiveOne(s *libnet.Session) error {
	_, err := s.Receive()
	return err
}

func receiveAll(s *libnet.Session) (err error) {
	for err == nil {
		err = receiveOne(s)
	}
	return err
}

func TestAMessageThatTheFramingCannotCarryIsRefusedBothWays(t *testing.T) {
	for name, test := range map[string]struct {
		protocol    libnet.Protocol
		good, wrong string
		reason      error
	}{
		"Fixed, short":        {codec.New(codec.Fixed(8), codec.Bytes), "12345678", "1234567", libnet.ErrMalformedFrame},
		"Fixed, empty":        {codec.New(codec.Fixed(8), codec.Bytes), "12345678", "", libnet.ErrMalformedFrame},
		"Fixed, long":         {codec.New(codec.Fixed(8), codec.Bytes), "12345678", "123456789", libnet.ErrFrameTooLarge},
		"Lines":               {codec.New(codec.Lines, codec.Bytes), "a line", "two\nlines", libnet.ErrMalformedFrame},
		"Lines, a return":     {codec.New(codec.Lines, codec.Bytes), "a\rline", "a line\r", libnet.ErrMalformedFrame},
		"Delimiter":           {codec.New(codec.Delimiter("--"), codec.Bytes), "a-b", "a--b", libnet.ErrMalformedFrame},
		"Delimiter, half":     {codec.New(codec.Delimiter("--"), codec.Bytes), "a", "a-", libnet.ErrMalformedFrame},
		"Uint8":               {codec.New(codec.Uint8, codec.Bytes), strings.Repeat("x", 255), strings.Repeat("x", 256), libnet.ErrFrameTooLarge},
		"a framing of a user": {codec.New(evenFraming{}, codec.Bytes), "even", "odd", libnet.ErrMalformedFrame},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, setup{protocol: test.protocol})
			browser := r.browser(t)
			s := r.session(t)
			for range 2 {
				browser.Write(t.Context(), websocket.MessageBinary, []byte(test.good))
				if _, msg, err := browser.Read(t.Context()); string(msg) != test.good {
					t.Fatalf("read %q, %v", msg, err)
				}
			}
			if err := s.Send(test.wrong); !errors.Is(err, libnet.ErrEncode) && !errors.Is(err, libnet.ErrFrameTooLarge) || s.IsClosed() {
				t.Errorf("Send: %v, closed %v", err, s.IsClosed())
			}
			browser.Write(t.Context(), websocket.MessageBinary, []byte(test.wrong))
			code := websocket.StatusProtocolError
			if test.reason == libnet.ErrFrameTooLarge {
				code = websocket.StatusMessageTooBig
			}
			wantCode(t, browser, code)
			wantEnd(t, s, test.reason)
		})
	}
}

// evenFraming carries payloads of even length, behind one byte of length.
type evenFraming struct{}

func (evenFraming) AppendFrame(dst, payload []byte) ([]byte, error) {
	if len(payload)%2 != 0 {
		return dst, fmt.Errorf("%w: odd", libnet.ErrEncode)
	}
	return append(append(dst, byte(len(payload)/2)), payload...), nil
}

func (evenFraming) ParseFrame(src []byte) ([]byte, int, error) {
	if len(src) == 0 || len(src) < 1+2*int(src[0]) {
		return nil, 0, nil
	}
	n := 1 + 2*int(src[0])
	return src[1:n:n], n, nil
}

func (evenFraming) Max() int { return 510 }

func TestWhatAClientHasReadAheadAndNotReceivedIsDroppedAndCounted(t *testing.T) {
	r := start(t, setup{queue: 8, handler: libnet.HandlerFunc(func(s *libnet.Session) {
		for _, text := range []string{"one", "two", "three"} {
			if err := s.Send(text); err != nil {
				t.Error(err)
			}
		}
	})})
	client := r.dial(t, 8)
	<-r.session(t).Done() // the client has answered the close frame, which came behind the messages
	client.Close()
	if got, want := client.Stats().Dropped, uint64(3*5+len("onetwothree")); got != want {
		t.Errorf("%d bytes dropped, want %d", got, want)
	}
}

// A reason of this module's, or one that packages errors and fmt have made of such, is told at once: on a goroutine of
// its own its answer could be late, on a machine with much to do, and its peer would be told of an internal error.
func TestReasonsThatAreNoUsersAreAskedWhereTheyAre(t *testing.T) {
	kicked := websocket.CloseError{Code: 4001, Reason: "logged in elsewhere"}
	itself := &net.OpError{Op: "read"}
	itself.Err = itself
	for _, reason := range []error{
		libnet.ErrServerClosed, libnet.ErrIdleTimeout, libnet.ErrRateLimit, kicked, fmt.Errorf("out: %w", kicked),
		fmt.Errorf("%w: a frame with a reserved bit", libnet.ErrMalformedFrame), errors.New("banned"),
		&net.OpError{Op: "read", Err: fmt.Errorf("as ever: %w", syscall.ECONNRESET)},
	} {
		if !inside.IsOwn(reason) {
			t.Errorf("%v is taken for one that may not answer", reason)
		}
	}
	users := struct{ error }{io.EOF}
	for _, reason := range []error{users, fmt.Errorf("out: %w", users), errors.Join(io.EOF, users), itself} {
		if inside.IsOwn(reason) {
			t.Errorf("a %T is taken for one that answers", reason)
		}
	}
}
