package libnet_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
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

// A pong that the receiver writes while a Send encodes is no part of that Send's message, and goes out though that is dropped, or
// cannot be encoded after all.
func TestAPongThatMeetsASendIsNotDroppedWithItsMessage(t *testing.T) {
	for _, how := range []string{"DropOldest", "ErrEncode"} {
		t.Run(how, func(t *testing.T) {
			inSend, goOn := make(chan struct{}), make(chan struct{})
			var hold atomic.Bool
			p := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
				return &ponger{rw: rw, pong: []byte("PONG;"), inSend: func() {
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
			time.Sleep(50 * time.Millisecond)
			hold.Store(true)
			msg := "dropped"
			if how == "ErrEncode" {
				msg = "bad"
			}
			sent := make(chan error, 1)
			go func() { sent <- s.Send(msg) }()
			<-inSend
			testkit.MustWrite(t, far, []byte("p"))
			time.Sleep(50 * time.Millisecond) // the receiver has written its pong
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

// Who waits for room for a large message gets it, though small ones that would fit come all the time.
func TestSendContextIsNotPassedOverForEver(t *testing.T) {
	srv := testkit.NewServer(t, testkit.Frames, 100_000)
	srv.SendQueueBytes = 1_000_000
	near, far := libnettest.PipeSize(40_000)
	s := testkit.Adopt(t, srv, near)
	var read atomic.Int64
	go func() { // reads steadily
		buf := make([]byte, 40_000)
		for {
			n, err := far.Read(buf)
			read.Add(int64(n))
			if err != nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	stop := make(chan struct{})
	defer close(stop)
	var accepted atomic.Int64
	go func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if s.Send(make([]byte, 1000)) == nil {
				accepted.Add(1)
			} else {
				time.Sleep(20 * time.Microsecond)
			}
		}
	}()
	testkit.Eventually(t, "a full queue", func() bool { return s.Stats().QueuedBytes > 990_000 })
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	before, readBefore := accepted.Load(), read.Load()
	if err := s.SendContext(ctx, make([]byte, 400_000)); err != nil {
		t.Errorf("SendContext: %v; meanwhile %d other messages were accepted and the peer read %d bytes", err, accepted.Load()-before, read.Load()-readBefore)
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

// Stats "is final once Session.Done is closed".
func TestCountersAreFinalAtDone(t *testing.T) {
	for _, kind := range []string{"FrameParser", "plain", "bare"} {
		t.Run(kind, func(t *testing.T) {
			at, goOn := make(chan struct{}), make(chan struct{})
			stop := func() { close(at); <-goOn }
			srv := testkit.NewServer(t, libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
				inner := testkit.Frames.NewCodec(rw)
				if kind == "plain" {
					two := testkit.NewTwoWrites(rw)
					return &testkit.FuncCodec{OnSend: two.Send, OnReceive: func() ([]byte, error) {
						msg, err := two.Receive()
						stop()
						return msg, err
					}}
				}
				return testkit.FramingCodec{Codec: inner, OnParse: func(src []byte) ([]byte, int, error) {
					stop()
					return inner.(libnet.FrameParser).ParseFrame(src)
				}}
			}), 4)
			var s *libnet.Session
			if kind == "bare" {
				s = libnet.NewSession(&testkit.FuncCodec{OnReceive: func() ([]byte, error) { stop(); return []byte("x"), nil }}, 4)
			} else {
				near, far := testkit.ConnectTCP(t)
				s = testkit.Adopt(t, srv, near)
				testkit.MustWrite(t, far, testkit.Frame("hello"))
			}
			received := make(chan error, 1)
			go func() {
				_, err := s.Receive()
				received <- err
			}()
			<-at
			_ = s.Close()
			<-s.Done()
			final := s.Stats()
			close(goOn)
			<-received
			after := s.Stats()
			if final != after {
				t.Errorf("at Done   %+v\nand after %+v", final, after)
			}
			if kind != "bare" {
				if server2 := srv.Stats(); server2.MessagesIn != after.MessagesIn {
					t.Errorf("the session says %d messages, its server %d", after.MessagesIn, server2.MessagesIn)
				}
			}
		})
	}
}

// numberingCodec is a codec that remembers something of the stream, as gob, ciphers and compression do: it numbers its frames.
type numberingCodec struct {
	rw   io.ReadWriter
	next uint32
}

func (c *numberingCodec) Close() error { return nil }
func (c *numberingCodec) Receive() ([]byte, error) {
	_, err := io.ReadFull(c.rw, make([]byte, 1))
	return nil, err
}
func (c *numberingCodec) Send(msg any) error {
	body := msg.([]byte)
	p := binary.BigEndian.AppendUint32(nil, c.next)
	p = binary.BigEndian.AppendUint32(p, uint32(len(body)))
	c.next++
	_, err := c.rw.Write(append(p, body...))
	return err
}

var numbered = libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec { return &numberingCodec{rw: rw} })

// checkNumbers returns how many frames came out of order, of those that came.
func checkNumbers(conn net.Conn) (wrong, n int) {
	var header [8]byte
	next := uint32(0)
	for {
		if _, err := io.ReadFull(conn, header[:]); err != nil {
			return wrong, n
		}
		if _, err := io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint32(header[4:]))); err != nil {
			return wrong, n
		}
		if got := binary.BigEndian.Uint32(header[:]); got != next {
			wrong++
		} else {
			n++
		}
		next = binary.BigEndian.Uint32(header[:]) + 1
	}
}

// What a plain codec has encoded first is written first.
func TestFramesOfAPlainCodecAreWrittenInTheOrderItMadeThem(t *testing.T) {
	for name, connect := range map[string]testkit.Connector{"TCP": testkit.ConnectTCP, "pipe": testkit.ConnectPipe} {
		t.Run(name+"/synchronous", func(t *testing.T) {
			near, far := connect(t)
			s := testkit.Adopt(t, testkit.NewServer(t, numbered, 0), near)
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					for range 500 {
						if err := s.Send(make([]byte, 10)); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			go func() { wg.Wait(); _ = s.Shutdown(testkit.TimeoutContext(t, testkit.Patience)) }()
			if wrong, n := checkNumbers(far); wrong > 0 {
				t.Errorf("%d frames out of order, %d in order", wrong, n)
			}
		})
	}
	t.Run("Send beside SendContext", func(t *testing.T) {
		srv := testkit.NewServer(t, numbered, 100)
		srv.SendQueueBytes = 10_000
		near, far := libnettest.PipeSize(4)
		s := testkit.Adopt(t, srv, near)
		testkit.MustSend(t, s, make([]byte, 5000))
		done := make(chan error, 1)
		go func() { done <- s.SendContext(context.Background(), make([]byte, 8000)) }()
		time.Sleep(50 * time.Millisecond)
		_ = s.Send(make([]byte, 10)) // may find the queue full
		go func() { <-done; _ = s.Shutdown(testkit.TimeoutContext(t, testkit.Patience)) }()
		if wrong, n := checkNumbers(far); wrong > 0 {
			t.Errorf("%d frames out of order, %d in order", wrong, n)
		}
	})
	t.Run("a broadcast beside a synchronous Send", func(t *testing.T) {
		srv := testkit.NewServer(t, numbered, 0)
		srv.OnFull = libnet.DropOldest
		near, far := libnettest.PipeSize(4)
		s := testkit.Adopt(t, srv, near)
		var wg sync.WaitGroup
		wg.Go(func() { _ = s.Send(make([]byte, 5000)) })
		time.Sleep(50 * time.Millisecond)
		wg.Go(func() { _ = s.Send(make([]byte, 8000)) })
		time.Sleep(50 * time.Millisecond)
		t.Logf("%+v", srv.Manager().Broadcast(make([]byte, 10)))
		go func() { wg.Wait(); _ = s.Shutdown(testkit.TimeoutContext(t, testkit.Patience)) }()
		if wrong, n := checkNumbers(far); wrong > 0 {
			t.Errorf("%d frames out of order, %d in order", wrong, n)
		}
	})
}

type gobCodec struct {
	enc *gob.Encoder
	dec *gob.Decoder
}

type gobMessage struct{ A int }

func (c *gobCodec) Close() error { return nil }
func (c *gobCodec) Receive() ([]byte, error) {
	var m gobMessage
	err := c.dec.Decode(&m)
	return nil, err
}
func (c *gobCodec) Send(msg any) error { return c.enc.Encode(msg) }

// The same with encoding/gob, whose first frame of a type describes it.
func TestGobWorksWithSeveralSynchronousSenders(t *testing.T) {
	p := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec { return &gobCodec{gob.NewEncoder(rw), gob.NewDecoder(rw)} })
	broken := 0
	const rounds = 300
	for range rounds {
		near, far := testkit.ConnectTCP(t)
		s := testkit.Adopt(t, testkit.NewServer(t, p, 0), near)
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for range i {
					_ = s.Send("a string, of a type that gob knows")
				}
				for range 3 {
					_ = s.Send(gobMessage{i})
				}
			})
		}
		go func() { wg.Wait(); _ = s.Shutdown(testkit.TimeoutContext(t, testkit.Patience)) }()
		dec := gob.NewDecoder(far)
		for {
			err := dec.DecodeValue(reflect.Value{}) // discards what comes
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				broken++
				_ = far.Close()
				break
			}
		}
		_ = far.Close()
	}
	if broken > 0 {
		t.Errorf("the stream was broken in %d of %d rounds", broken, rounds)
	}
}
