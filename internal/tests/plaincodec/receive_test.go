package plaincodec

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// ponger is a plain codec that answers a ping ('p') from within Receive, under no Send; a message is a line.
type ponger struct {
	rw     io.ReadWriter
	inSend func() // called within Send, before it writes
	pong   []byte
	ponged func()              // called within Receive, behind a pong
	after  func(msg any) error // what Send returns
}

func (c *ponger) Close() error { return nil }
func (c *ponger) Receive() ([]byte, error) {
	var b [1]byte
	for {
		if _, err := io.ReadFull(c.rw, b[:]); err != nil {
			return nil, err
		}
		if b[0] != 'p' {
			return b[:], nil
		}
		if _, err := c.rw.Write(c.pong); err != nil && !errors.Is(err, libnet.ErrSessionBlocked) {
			return nil, err
		}
		if c.ponged != nil {
			c.ponged()
		}
	}
}
func (c *ponger) Send(msg any) error {
	if c.inSend != nil {
		c.inSend()
	}
	if _, err := c.rw.Write(fmt.Appendf(nil, "%v;", msg)); err != nil {
		return err
	}
	if c.after != nil {
		return c.after(msg)
	}
	return nil
}

// A pong that the receiver writes while a Send encodes is no part of that Send's message, and goes out though that is
// dropped, or cannot be encoded after all.
func TestAPongThatMeetsASendIsNotDroppedWithItsMessage(t *testing.T) {
	for _, how := range []string{"DropOldest", "ErrEncode"} {
		t.Run(how, func(t *testing.T) {
			inSend, goOn, ponged := make(chan struct{}), make(chan struct{}), make(chan struct{})
			var hold atomic.Bool
			p := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
				return &ponger{rw: rw, pong: []byte("PONG;"), ponged: func() { close(ponged) }, inSend: func() {
					if hold.CompareAndSwap(true, false) {
						close(inSend)
						<-goOn
					}
				}, after: func(msg any) error {
					if msg == "bad" {
						return libnet.ErrEncode
					}
					return nil
				}}
			})
			srv := testkit.NewServer(t, p, 2)
			srv.OnFull = libnet.DropOldest
			near, far := libnettest.PipeSize(4)
			s := testkit.Adopt(t, srv, near)
			go s.Receive()
			testkit.MustSend(t, s, "in flight, and too long for the pipe")
			testkit.Eventually(t, "a write", func() bool { return far.(interface{ Buffered() int }).Buffered() > 0 })
			hold.Store(true)
			msg := "dropped"
			if how == "ErrEncode" {
				msg = "bad"
			}
			sent := make(chan error, 1)
			go func() { sent <- s.Send(msg) }()
			<-inSend
			testkit.MustWrite(t, far, []byte("p"))
			testkit.Await(t, testkit.Patience, "the pong", ponged)
			close(goOn)
			t.Log(<-sent)
			for i := range 3 {
				testkit.MustSend(t, s, fmt.Sprint(i))
			}
			go s.Shutdown(testkit.TimeoutContext(t, testkit.Patience))
			got, _ := io.ReadAll(far)
			if !bytes.Contains(got, []byte("PONG;")) {
				t.Errorf("the peer got %q: no pong", got)
			}
		})
	}
}

// "SendQueueBytes bounds the bytes that a session's queue holds."
func TestWhatACodecWritesInReceiveIsBoundedBySendQueueBytes(t *testing.T) {
	for name, maxMessage := range map[string]int{"default MaxMessage": 0, "no MaxMessage": -1} {
		t.Run(name, func(t *testing.T) {
			p := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
				return &ponger{rw: rw, pong: make([]byte, 1000)}
			})
			srv := testkit.NewServer(t, p, 16)
			srv.SendQueueBytes, srv.MaxMessage, srv.WriteTimeout = 20_000, maxMessage, time.Minute
			near, far := testkit.ConnectPipe(t)
			s := testkit.Adopt(t, srv, near)
			go s.Receive()
			ping := bytes.Repeat([]byte("p"), 4000)
			for range 10 {
				testkit.MustWrite(t, far, ping)
			}
			time.Sleep(300 * time.Millisecond)
			if n := s.Stats().QueuedBytes; n > 200_000 {
				t.Errorf("%d bytes are queued; SendQueueBytes is 20,000", n)
			}
		})
	}
}

// docs/locks.md: a plain codec's Receive "may send".
func TestAReceiveWhoseCodecSendsOnASessionThatFailsReturns(t *testing.T) {
	var s *libnet.Session
	p := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
		c := testkit.NewTwoWrites(rw)
		return &testkit.FuncCodec{OnSend: c.Send, OnReceive: func() ([]byte, error) {
			if err := s.Send([]byte("hello")); err != nil {
				return nil, err
			}
			return c.Receive()
		}}
	})
	srv := testkit.NewServer(t, p, 0)
	srv.Linger = 300 * time.Millisecond
	near, far := libnettest.Pipe()
	s = testkit.Adopt(t, srv, near)
	_ = far.Close()
	done := make(chan error, 1)
	go func() {
		_, err := s.Receive()
		done <- err
	}()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Errorf("Receive has not returned; closed: %v, %v", s.IsClosed(), s.Err())
	}
}

func TestDropOldestKeepsWhatACodecWroteOutsideSend(t *testing.T) {
	ponging := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
		c := testkit.NewTwoWrites(rw)
		return &testkit.FuncCodec{OnSend: c.Send, OnReceive: func() ([]byte, error) {
			msg, err := c.Receive()
			if err == nil {
				err = c.Send([]byte("pong"))
			}
			return msg, err
		}}
	})
	synctest.Test(t, func(t *testing.T) {
		srv := libnet.NewServer(libnettest.NewListener(), ponging, 2)
		srv.Logger, srv.OnFull = testkit.Quiet, libnet.DropOldest
		near, far := libnettest.PipeSize(10)
		s, err := srv.NewSession(near)
		if err != nil {
			t.Fatal(err)
		}
		testkit.MustSend(t, s, make([]byte, 100)) // in flight
		synctest.Wait()
		go func() { _, _ = far.Write(testkit.Frame("ping")) }()
		for i := range 3 {
			testkit.MustSend(t, s, []byte{byte('0' + i)})
		}
		if _, err := s.Receive(); err != nil {
			t.Fatal(err)
		}
		for i := range 5 {
			testkit.MustSend(t, s, []byte{byte('5' + i)})
		}
		_ = far.SetReadDeadline(time.Now().Add(time.Second))
		got, _ := io.ReadAll(far)
		if rest := string(got[104:]); !strings.HasPrefix(rest, string(testkit.Frame("pong"))) || !strings.HasSuffix(rest, string(testkit.Frame("9"))) {
			t.Errorf("the peer read %q behind the first message", rest)
		}
		_ = s.Close()
		srv.Stop()
	})
}

// deepAnswerer answers a byte from deep within its Receive, while its Send is between a frame's two writes.
type deepAnswerer struct {
	io.ReadWriter
	sending, answered chan struct{}
}

func (c *deepAnswerer) Receive() ([]byte, error) {
	p := make([]byte, 1)
	if _, err := io.ReadFull(c, p); err != nil {
		return nil, err
	}
	<-c.sending
	c.answer(200)
	return p, nil
}

//go:noinline
func (c *deepAnswerer) answer(depth int) {
	if depth > 0 {
		c.answer(depth - 1)
		return
	}
	_, _ = c.Write([]byte("P"))
	close(c.answered)
}

func (c *deepAnswerer) Send(any) error {
	_, _ = c.Write([]byte("<"))
	close(c.sending)
	<-c.answered
	_, err := c.Write([]byte(">"))
	return err
}

func (c *deepAnswerer) Close() error { return nil }

func TestAnAnswerFromDeepWithinReceiveIsNoPartOfAMessage(t *testing.T) {
	p := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
		return &deepAnswerer{rw, make(chan struct{}), make(chan struct{})}
	})
	near, far := testkit.ConnectPipe(t)
	s := testkit.Adopt(t, testkit.NewServer(t, p, 8), near)
	go func() { _, _ = s.Receive() }()
	testkit.MustWrite(t, far, []byte("p"))
	time.Sleep(20 * time.Millisecond)
	testkit.MustSend(t, s, "m")
	got := make([]byte, 3)
	if _, err := io.ReadFull(far, got); err != nil || string(got) == "<P>" {
		t.Errorf("the peer got %q, %v", got, err)
	}
	_ = s.Close()
}

// prompter is a plain codec that asks for each line before it reads one.
type prompter struct {
	rw       io.ReadWriter
	inSend   func() // called between the two writes of Send
	prompted func()
}

func (c *prompter) Close() error { return nil }
func (c *prompter) Receive() ([]byte, error) {
	if _, err := c.rw.Write([]byte(">")); err != nil {
		return nil, err
	}
	c.prompted()
	var b [1]byte
	_, err := io.ReadFull(c.rw, b[:])
	return b[:], err
}
func (c *prompter) Send(msg any) error {
	if _, err := io.WriteString(c.rw, "first,"); err != nil {
		return err
	}
	c.inSend()
	_, err := io.WriteString(c.rw, "second;")
	return err
}

// What a codec writes in Receive before it has read anything is no part of the message that a Send encodes.
func TestAPromptThatMeetsASendIsNoPartOfItsMessage(t *testing.T) {
	for _, queue := range []int{8, 0} {
		t.Run(fmt.Sprint("SendQueue ", queue), func(t *testing.T) {
			inSend, prompted := make(chan struct{}), make(chan struct{})
			p := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
				return &prompter{rw, func() { close(inSend); <-prompted }, func() { close(prompted) }}
			})
			near, far := testkit.ConnectPipe(t)
			s := testkit.Adopt(t, testkit.NewServer(t, p, queue), near)
			sent := make(chan error, 1)
			go func() { sent <- s.Send("a message") }()
			<-inSend
			go s.Receive()
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
			go s.Shutdown(testkit.TimeoutContext(t, testkit.Patience))
			got, _ := io.ReadAll(far)
			if !bytes.Contains(got, []byte("first,second;")) || !bytes.Contains(got, []byte(">")) {
				t.Errorf("the peer got %q", got)
			}
		})
	}
}
