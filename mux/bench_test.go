package mux_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/mux"
)

// serveBench serves until the benchmark ends.
func serveBench(b *testing.B, p libnet.Protocol, h libnet.MessageHandler) *libnet.Server {
	srv := libnet.NewServer(testkit.Listen(b, "tcp"), p, 128)
	srv.Logger = testkit.Quiet
	go func() { _ = srv.ServeMessages(h) }()
	b.Cleanup(srv.Stop)
	return srv
}

// Routing, beside what is written by hand without it: a switch over kinds, with the same decoding and the same replies.
// 64 clients send 64 requests at a time; a message's cost is that of both ends.
func BenchmarkRouting(b *testing.B) {
	m := newMux()
	mux.Handle(m, double, doubled)
	mux.On(m, other, func(context.Context, *libnet.Session, *num) error { return nil })
	for _, c := range []struct {
		name     string
		protocol libnet.Protocol
		handler  libnet.MessageHandler
	}{
		{"mux", protocolOf(m), m},
		{"switch", codec.New(codec.Uint32BE, written{}), libnet.MessageHandlerFunc(byHand)},
	} {
		b.Run(c.name, func(b *testing.B) {
			srv := serveBench(b, c.protocol, c.handler)
			b.ReportAllocs()
			pipelined(b, srv.Listener().Addr())
		})
	}
}

// pipelined has 64 clients exchange b.N messages with a server, in bursts of 64.
func pipelined(b *testing.B, addr net.Addr) {
	request := append([]byte{0, 0, 0, 10}, append(header(1, 5, mux.Ask), 0, 0, 0, 0, 0, 0, 0, 9)...)
	burst := bytes.Repeat(request, 64)
	var clients sync.WaitGroup
	conns := make([]net.Conn, 64)
	for i := range conns {
		conn, err := net.Dial("tcp", addr.String())
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		conns[i] = conn
	}
	b.ResetTimer()
	for _, conn := range conns {
		clients.Go(func() {
			replies := make([]byte, len(burst))
			for n := 0; n < b.N; n += 64 * len(conns) {
				if _, err := conn.Write(burst); err != nil {
					b.Error(err)
					return
				}
				if _, err := io.ReadFull(conn, replies); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	clients.Wait()
}

// written is a message that byHand sends.
type written struct {
	kind, id uint64
	body     *num
}

// AppendMarshal makes written the marshaler of its protocol.
func (written) AppendMarshal(dst []byte, msg any) ([]byte, error) {
	w := msg.(*written)
	return w.body.AppendBinary(binary.AppendUvarint(binary.AppendUvarint(dst, w.kind), w.id<<2|uint64(mux.Reply)))
}

func byHand(s *libnet.Session, msg []byte) {
	kind, n := binary.Uvarint(msg)
	tag, k := binary.Uvarint(msg[n:])
	if n <= 0 || k <= 0 {
		_ = s.CloseWithError(mux.ErrMalformed)
		return
	}
	req := new(num)
	switch kind {
	case 1:
		if req.UnmarshalBinary(msg[n+k:]) != nil {
			return
		}
		if resp, err := doubled(context.Background(), s, req); err == nil {
			_ = s.Send(&written{kind, tag >> 2, resp})
		}
	case 3:
		_ = req.UnmarshalBinary(msg[n+k:])
	}
}

// A call over TCP, beside a message that is answered with itself.
func BenchmarkRoundTrip(b *testing.B) {
	serve := func(b *testing.B, p libnet.Protocol, h libnet.MessageHandler) *libnet.Session {
		srv := serveBench(b, p, h)
		s, err := libnet.Connect("tcp", srv.Listener().Addr().String(), p, 64)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = s.Close() })
		return s
	}
	calls := func(b *testing.B, peer func(*mux.Mux, *libnet.Session) mux.Peer) {
		m := newMux()
		mux.Handle(m, double, doubled)
		s := serve(b, protocolOf(m), m)
		p := peer(m, s)
		ctx := within(b, 5*patience)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := mux.Call[num, num](ctx, p, double, &num{7}); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("call", func(b *testing.B) { calls(b, (*mux.Mux).Start) })
	b.Run("synchronous call", func(b *testing.B) { calls(b, (*mux.Mux).SyncPeer) })
	b.Run("bare", func(b *testing.B) {
		s := serve(b, codec.New(codec.Uint32BE, codec.Bytes), libnet.MessageHandlerFunc(func(s *libnet.Session, msg []byte) {
			_ = s.Send(msg)
		}))
		msg := make([]byte, 10)
		b.ReportAllocs()
		for b.Loop() {
			_ = s.Send(msg)
			if _, err := s.Receive(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// What the end of a session takes that has 10,000 calls pending, until each of them has returned.
func BenchmarkEndOfASession(b *testing.B) {
	const pending = 10_000
	for b.Loop() {
		b.StopTimer()
		m := newMux()
		m.MaxCalls = -1
		s := discarding(b, protocolOf(m))
		var calls sync.WaitGroup
		for range pending {
			calls.Go(func() { _, _ = mux.Call[num, num](context.Background(), m.Peer(s), double, nil) })
		}
		for s.Stats().MessagesOut < pending {
			runtime.Gosched()
		}
		b.StartTimer()
		_ = s.Close()
		calls.Wait()
	}
}
