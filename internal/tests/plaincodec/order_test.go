package plaincodec

import (
	"context"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"io"
	"net"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// numberingCodec is a codec that remembers something of the stream, as gob, ciphers and compression do: it numbers its
// frames.
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
