package cluster_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/cluster"
)

// A stallProtocol's codecs wait in AppendFrame, and with them the dispatcher: user code that does so is what
// it takes to stall one.
type stallProtocol struct {
	libnet.Protocol
	stalled chan struct{} // receives one value for each call that waits
	release chan struct{} // closed to let all through
}

type stallCodec struct {
	countingCodec
	p stallProtocol
}

func (p stallProtocol) NewCodec(rw io.ReadWriter) libnet.Codec {
	c := p.Protocol.NewCodec(rw)
	return &stallCodec{countingCodec{Codec: c, FrameParser: c.(libnet.FrameParser), appender: c.(libnet.FrameAppender)}, p}
}

func (c *stallCodec) AppendFrame(dst []byte, msg any) ([]byte, error) {
	select {
	case c.p.stalled <- struct{}{}:
	default:
	}
	<-c.p.release
	return c.appender.AppendFrame(dst, msg)
}

func TestMessagesThatANodeHasNoRoomForAreCountedAndNeverAcknowledged(t *testing.T) {
	nodes := mesh(t, 2)
	protocol := stallProtocol{lines, make(chan struct{}, 1), make(chan struct{})}
	server := newSessions(t, protocol, func(s *libnet.Server) { s.SendQueue, s.SendQueueBytes = 1<<20, 1<<30 })
	release := sync.OnceFunc(func() { close(protocol.release) })
	t.Cleanup(release) // or a node would not close, when the test fails
	session, err := server.NewSession(newSink(nil))
	if err != nil {
		t.Fatal(err)
	}
	bind(t, nodes[1], session, "u")
	if err := nodes[1].Sync(patience(t)); err != nil { // or the first post takes a detour, and the others wait behind it
		t.Fatal(err)
	}

	const posts = 64<<10 + 5000 // more than a dispatcher's channel holds
	if err := nodes[0].Post("u", []byte("x")); err != nil {
		t.Fatal(err)
	}
	<-protocol.stalled
	for range posts - 1 {
		if err := nodes[0].Post("u", []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "messages to be dropped", func() bool { return nodes[1].Stats().Dropped > 1000 })

	const sends = 100
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for range sends {
		wg.Go(func() {
			err := nodes[0].Send(ctx, "u", []byte("y"))
			if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, cluster.ErrDegraded) {
				t.Errorf("Send that was dropped: %v", err)
			}
		})
	}
	wg.Wait()
	release()
	if err := nodes[0].Sync(patience(t)); err != nil {
		t.Fatal(err)
	}
	send(t, nodes[0], "u", "z") // it works again
	stats := nodes[1].Stats()
	if stats.Delivered < 64<<10 || stats.Delivered > posts+1 || stats.Dropped < 5000-1000 {
		t.Errorf("after %d posts: %+v", posts, stats)
	}
}
