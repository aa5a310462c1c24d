package codec_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// bytesFramings are all kinds of framings, with the marshaler whose messages are bytes as they are.
var bytesFramings = map[string]codec.Framing{
	"Uint8":       codec.Uint8,
	"Uint16BE":    codec.Uint16BE,
	"Uint64LE":    codec.Uint64LE,
	"Uvarint":     codec.Uvarint,
	"LengthField": codec.LengthField{Offset: 2, Size: 4},
	"Lines":       codec.Lines,
	"Delimiter":   codec.Delimiter("\r\n.\r\n"),
	"Fixed":       codec.Fixed(64),
	"foreign":     foreignFraming{},
}

// foreignFraming is a user's: a length of three bytes.
type foreignFraming struct{}

func (foreignFraming) Max() int { return 1 << 20 }

func (foreignFraming) AppendFrame(dst, payload []byte) ([]byte, error) {
	return append(append(dst, byte(len(payload)>>16), byte(len(payload)>>8), byte(len(payload))), payload...), nil
}

func (foreignFraming) ParseFrame(src []byte) (payload []byte, n int, err error) {
	if len(src) < 3 {
		return nil, 0, nil
	}
	if n = 3 + int(src[0])<<16 + int(src[1])<<8 + int(src[2]); len(src) < n {
		return nil, 0, nil
	}
	return src[3:n], n, nil
}

// onlySlices is a user's marshaler, which knows no pointer to a slice.
type onlySlices struct{}

func (onlySlices) AppendMarshal(dst []byte, msg any) ([]byte, error) {
	b, ok := msg.([]byte)
	if !ok {
		return dst, fmt.Errorf("%T is no []byte", msg)
	}
	return append(append(dst, fmt.Sprint(b == nil)...), b...), nil
}

// onlySends is a codec that knows only io.Writer, and no pointer to a slice.
type onlySends struct{ rw io.ReadWriter }

func (c onlySends) Receive() ([]byte, error) { return nil, io.EOF }
func (c onlySends) Close() error             { return nil }

func (c onlySends) Send(msg any) error {
	b, ok := msg.([]byte)
	if !ok || len(b) > 1000 {
		return fmt.Errorf("%w: a %T", libnet.ErrEncode, msg)
	}
	_, err := c.rw.Write(append(binary.AppendUvarint(nil, uint64(len(b))), b...))
	return err
}

// The ways to send, each as it takes a message in an any and as it takes bytes.
var bytesSends = map[string]struct {
	boxed, bytes func(s *libnet.Session, msg []byte) error
}{
	"Send": {
		func(s *libnet.Session, msg []byte) error { return s.Send(msg) },
		func(s *libnet.Session, msg []byte) error { return s.SendBytes(msg) },
	},
	"SendContext": {
		func(s *libnet.Session, msg []byte) error { return s.SendContext(context.Background(), msg) },
		func(s *libnet.Session, msg []byte) error { return s.SendBytesContext(context.Background(), msg) },
	},
	"Group.Broadcast": {
		func(s *libnet.Session, msg []byte) error { return outcome(groupOf(s).Broadcast(msg)) },
		func(s *libnet.Session, msg []byte) error { return outcome(groupOf(s).BroadcastBytes(msg)) },
	},
	"Group.BroadcastExcept": {
		func(s *libnet.Session, msg []byte) error { return outcome(groupOf(s).BroadcastExcept(msg, s)) },
		func(s *libnet.Session, msg []byte) error { return outcome(groupOf(s).BroadcastBytesExcept(msg, s)) },
	},
}

func groupOf(s *libnet.Session) *libnet.Group[int] {
	var g libnet.Group[int]
	g.Put(1, s)
	return &g
}

func outcome(r libnet.BroadcastResult) error { return fmt.Errorf("%+v", r) }

func TestSendBytesDoesWhatSendDoes(t *testing.T) {
	protocols := map[string]libnet.Protocol{
		"JSON":               codec.New(codec.Uint32BE, codec.JSON),
		"a user's marshaler": codec.New(codec.Uint32BE, onlySlices{}),
		"a plain codec":      libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec { return onlySends{rw} }),
	}
	for name, f := range bytesFramings {
		protocols[name] = codec.New(f, codec.Bytes).MaxMessage(50_000)
	}
	for name, protocol := range protocols {
		for _, queue := range []int{0, 4} {
			for way, send := range bytesSends {
				t.Run(fmt.Sprintf("%s, queue %d, %s", name, queue, way), func(t *testing.T) {
					want, got := whatIsSent(t, protocol, queue, send.boxed), whatIsSent(t, protocol, queue, send.bytes)
					if got != want {
						t.Errorf("bytes:\n%.2000s\nboxed:\n%.2000s", got, want)
					}
				})
			}
		}
	}
}

// whatIsSent tells the errors, the bytes on the wire and the counters of a session.
func whatIsSent(t *testing.T, p libnet.Protocol, queue int, send func(*libnet.Session, []byte) error) string {
	var told bytes.Buffer
	near, far := libnettest.Pipe()
	s := testkit.Adopt(t, testkit.NewServer(t, p, queue), near)
	read := make(chan []byte, 1)
	go func() {
		read <- testkit.ReadToEnd(t, far)
		_ = far.Close()
	}()
	for _, size := range []int{-1, 0, 1, 64, 127, 128, 255, 256, 33_000, 50_000, 50_001, 70_000} {
		fmt.Fprintln(&told, size, send(s, bytesOf(size)))
		testkit.Eventually(t, "an empty queue", func() bool { return s.Stats().Queued == 0 })
	}
	fmt.Fprintln(&told, "two lines", send(s, []byte("a\nb\r\n.\r\nc")))
	if err := s.Shutdown(testkit.TimeoutContext(t, testkit.Patience)); err != nil {
		fmt.Fprintln(&told, err)
	}
	fmt.Fprintln(&told, "late", send(s, []byte("late")), s.Err())
	stats := s.Stats()
	fmt.Fprintln(&told, stats.MessagesOut, stats.BytesOut, stats.Discarded)
	fmt.Fprintf(&told, "%x", <-read)
	return told.String()
}

func bytesOf(n int) []byte {
	if n < 0 {
		return nil
	}
	return bytes.Repeat([]byte{'x'}, n)
}

func TestSendBytesMeetsAFullQueueAsSendDoes(t *testing.T) {
	for policy, want := range map[libnet.FullPolicy]error{
		libnet.RejectNewest: libnet.ErrSessionBlocked, libnet.CloseSession: libnet.ErrSlowConsumer, libnet.DropOldest: nil,
	} {
		for name, framing := range bytesFramings {
			srv := testkit.NewServer(t, codec.New(framing, codec.Bytes), 2)
			srv.OnFull = policy
			near, _ := net.Pipe() // which takes nothing
			s := testkit.Adopt(t, srv, near)
			var err error
			for range 5 {
				if err = s.SendBytes(bytesOf(64)); err != nil {
					break
				}
			}
			if !errors.Is(err, want) {
				t.Errorf("%s, policy %v: %v, want %v", name, policy, err, want)
			}
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			if err := s.SendBytesContext(ctx, bytesOf(64)); err == nil {
				t.Errorf("%s, policy %v: SendBytesContext found room", name, policy)
			}
			_ = s.Close()
			_ = near.Close()
		}
	}
}

// A session made from a bare codec encodes later: the message is the caller's own slice, and not lent.
func TestABareCodecGetsTheBytesThemselves(t *testing.T) {
	var sent []any
	release := make(chan struct{})
	s := libnet.NewSession(&testkit.FuncCodec{OnSend: func(msg any) error { <-release; sent = append(sent, msg); return nil }}, 8)
	for _, text := range []string{"one", "two", "three"} {
		if err := s.SendBytes([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	close(release)
	if err := s.Shutdown(testkit.TimeoutContext(t, testkit.Patience)); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%s", sent); got != "[one two three]" {
		t.Error(got)
	}
}

func TestAnEchoWithSendBytesAllocatesNothing(t *testing.T) {
	body := bytesOf(64)
	for name, framing := range bytesFramings {
		if name == "foreign" {
			continue
		}
		protocol := codec.New(framing, codec.Bytes)
		frame, err := protocol.NewCodec(nil).(libnet.FrameAppender).AppendFrame(nil, body)
		if err != nil {
			t.Fatal(err)
		}
		for _, way := range []string{"Send", "SendContext"} {
			for _, queue := range []int{0, 64} {
				near, far := testkit.ConnectTCP(t)
				s := testkit.Adopt(t, testkit.NewServer(t, protocol, queue), near)
				go echo(s, bytesSends[way].bytes)
				in := make([]byte, len(frame))
				testkit.Steady(t, fmt.Sprintf("%s, queue %d, %sBytes", name, queue, way), 0, func() {
					testkit.MustWrite(t, far, frame)
					if _, err := io.ReadFull(far, in); err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
}

func echo(s *libnet.Session, send func(*libnet.Session, []byte) error) {
	buf := make([]byte, 0, 64)
	for {
		var err error
		if buf, err = s.ReceiveInto(buf); err != nil || send(s, buf) != nil {
			return
		}
	}
}
