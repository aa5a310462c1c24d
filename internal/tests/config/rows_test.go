package config

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/reconnect"
)

// loudly runs f and reports whether it panicked as libnet does with a mistake of the programmer's.
func loudly(t *testing.T, f func()) (panicked bool) {
	t.Helper()
	defer func() {
		if r := recover(); r != nil {
			panicked = true
			if text := fmt.Sprint(r); !strings.HasPrefix(text, "libnet") {
				t.Errorf("panicked with %q, which does not say whose mistake it is", text)
			}
		}
	}()
	f()
	return false
}

// plainServe is Serve and Connect, on which the older calls rest.
func plainServe(t *testing.T, size int64) {
	srv, err := libnet.Serve("tcp", "127.0.0.1:0", testkit.Frames, int(size))
	if err != nil {
		t.Fatal(err)
	}
	srv.Logger = testkit.Quiet
	served := make(chan error, 1)
	go func() { served <- modes[0].serve(srv) }()
	c, err := libnet.Connect("tcp", srv.Listener().Addr().String(), testkit.Frames, int(size))
	if err == nil {
		err = ask(t, c, []byte("x"))
	}
	if err != nil {
		t.Error(err)
	}
	shutDown(t, srv, c)
	<-served
}

func connectTimeout(t *testing.T, timeout int64) {
	srv, err := libnet.Serve("tcp", "127.0.0.1:0", testkit.Frames, 1)
	if err != nil {
		t.Fatal(err)
	}
	srv.Logger = testkit.Quiet
	served := make(chan error, 1)
	go func() { served <- modes[0].serve(srv) }()
	c, err := libnet.ConnectTimeout("tcp", srv.Listener().Addr().String(), time.Duration(timeout), testkit.Frames, 1)
	if err == nil {
		err = ask(t, c, []byte("x"))
	}
	if err != nil && timeout >= int64(time.Second) {
		t.Error(err)
	}
	shutDown(t, srv, c)
	<-served
}

// bareSession sends on sessions that are made from a codec.
func bareSession(t *testing.T, size int64) {
	near, far := libnettest.Pipe()
	defer far.Close()
	s := libnet.NewSession(testkit.Frames.NewCodec(near), int(size))
	peer := testkit.Frames.NewCodec(far)
	testkit.Within(t, testkit.Patience, "an exchange", func() {
		if err := s.Send([]byte("x")); err != nil {
			t.Error(err)
		}
		if msg, err := peer.Receive(); err != nil || string(msg) != "x" {
			t.Errorf("%q, %v", msg, err)
		}
		_ = s.Close()
	})
}

// wireReasons are those that a codec gives which cannot make sense of what it gets.
var wireReasons = []string{"malformed_frame", "frame_too_large", "unexpected_eof"}

// overTCP has messages echoed with a protocol.
func overTCP(t *testing.T, p libnet.Protocol, sizes ...int) {
	t.Helper()
	for _, size := range sizes {
		modes[0].echo(t, func(s *setting) { s.protocol, s.message = p, make([]byte, size) }, wireReasons)
	}
}

func protocol(of func(n int) libnet.Protocol) number {
	return number{counts, func(t *testing.T, value int64) {
		var p libnet.Protocol
		if !loudly(t, func() { p = of(int(value)) }) {
			overTCP(t, p, 1, 2, 1<<16)
		}
	}}
}

func framing(field func(*codec.LengthField) *int) number {
	return protocol(func(n int) libnet.Protocol {
		f := codec.LengthField{Size: 4, Strip: 4}
		*field(&f) = n
		return codec.New(f, codec.Bytes)
	})
}

func protobufMaxMessage(t *testing.T, value int64) {
	var p libnet.Protocol
	if loudly(t, func() { p = codec.Protobuf().MaxMessage(int(value)) }) {
		return
	}
	near, far := libnettest.Pipe()
	defer near.Close()
	defer far.Close()
	testkit.Within(t, testkit.Patience, "an exchange", func() {
		if err := p.NewCodec(near).Send(wrapperspb.Bytes(make([]byte, 100))); err != nil {
			return
		}
		if _, err := p.NewCodec(far).Receive(); err != nil {
			t.Error(err)
		}
	})
}

func pipeSize(t *testing.T, size int64) {
	near, far := libnettest.PipeSize(int(size))
	testkit.Within(t, testkit.Patience, "an exchange", func() {
		go near.Write([]byte("hello"))
		if _, err := io.ReadFull(far, make([]byte, 5)); err != nil {
			t.Error(err)
		}
		_, _ = near.Close(), far.Close()
	})
}

func faultBytes(t *testing.T, n int64) {
	var faults libnettest.Faults
	if loudly(t, func() { faults.Fail(libnettest.OpRead, 1, libnettest.Fault{N: int(n), Err: io.ErrClosedPipe}) }) {
		return
	}
	near, far := libnettest.Pipe()
	defer far.Close()
	conn := faults.Wrap(near)
	defer conn.Close()
	testkit.Within(t, testkit.Patience, "a read", func() {
		_, _ = far.Write([]byte("hello"))
		if _, err := conn.Read(make([]byte, 5)); err != io.ErrClosedPipe {
			t.Errorf("%v", err)
		}
	})
}

// backoff counts the attempts of a client whose server is not there, and then has it connect.
func backoff(field func(*reconnect.Client) *time.Duration) number {
	return number{durations, func(t *testing.T, value int64) {
		var dials atomic.Int64
		var c reconnect.Client
		c.Logger = testkit.Quiet
		c.MinBackoff, c.MaxBackoff = time.Millisecond, 20*time.Millisecond
		*field(&c) = time.Duration(value)
		c.Dial = func(context.Context) (*libnet.Session, error) {
			dials.Add(1)
			return nil, errors.New("nobody is there")
		}
		c.Start()
		testkit.Eventually(t, "an attempt", func() bool { return dials.Load() > 0 })
		begun := time.Now()
		time.Sleep(10 * time.Millisecond) // longer on a busy machine
		if n, while := dials.Load(), time.Since(begun); n > 40*int64(while/time.Millisecond)/10 {
			t.Errorf("%d attempts in %v", n, while)
		}
		testkit.Within(t, testkit.Patience, "Close", c.Close)
	}}
}

// held sends before there is a session, and wants an echo of it, or a refusal.
func held(field func(*reconnect.Client) *int) number {
	return number{counts, func(t *testing.T, value int64) {
		srv, err := libnet.Serve("tcp", "127.0.0.1:0", testkit.Frames, 16)
		if err != nil {
			t.Fatal(err)
		}
		srv.Logger = testkit.Quiet
		served := make(chan error, 1)
		go func() { served <- modes[0].serve(srv) }()
		echoed := make(chan struct{}, 1)
		up := make(chan struct{})
		var c reconnect.Client
		c.Logger = testkit.Quiet
		*field(&c) = int(value)
		c.Dial = func(ctx context.Context) (*libnet.Session, error) {
			<-up
			return (&libnet.Dialer{Protocol: testkit.Frames}).Dial(ctx, "tcp", srv.Listener().Addr().String())
		}
		c.Handler = libnet.MessageHandlerFunc(func(*libnet.Session, []byte) { echoed <- struct{}{} })
		c.Start()
		sent := c.Send([]byte("x"))
		close(up)
		if sent == nil {
			testkit.Within(t, testkit.Patience, "the echo of what was held", func() { <-echoed })
		}
		testkit.Within(t, testkit.Patience, "Close", c.Close)
		shutDown(t, srv, nil)
		<-served
	}}
}
