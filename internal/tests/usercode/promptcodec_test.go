package usercode

import (
	"io"
	"runtime/metrics"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// A codec of package codec's needs no goroutine to be made on, for which a busy machine may have no time within the 10
// ms that a broadcast waits.
func TestABroadcastMakesACodecOfPackageCodecItself(t *testing.T) {
	for name, protocol := range map[string]libnet.Protocol{
		"a length": codec.New(codec.Uint32BE, codec.Bytes),
		"lines":    codec.New(codec.Lines, codec.Bytes),
		"protobuf": codec.Protobuf(),
	} {
		t.Run(name, func(t *testing.T) {
			srv := testkit.NewServer(t, protocol, 8)
			least := 1
			for range 5 { // others may be at work
				near, far := libnettest.Pipe()
				s := testkit.Adopt(t, srv, near)
				first, again := broadcastCosts(t, srv), broadcastCosts(t, srv)
				least = min(least, first-again)
				_ = s.Close()
				far.Close()
			}
			if least > 0 {
				t.Error("a broadcast to a session without a codec begins another goroutine")
			}
		})
	}
}

// broadcastCosts is how many goroutines a broadcast begins, with those that flush what it has sent, or log what it has
// not.
func broadcastCosts(t *testing.T, srv *libnet.Server) int {
	before := goroutinesCreated(t)
	srv.Manager().Broadcast("a message")
	time.Sleep(5 * time.Millisecond)
	return int(goroutinesCreated(t) - before)
}

func goroutinesCreated(t *testing.T) uint64 {
	all := []metrics.Sample{{Name: "/sched/goroutines-created:goroutines"}}
	if metrics.Read(all); all[0].Value.Kind() != metrics.KindUint64 {
		t.Skip("this Go does not count goroutines")
	}
	return all[0].Value.Uint64()
}

// embedding is a user's protocol around one of package codec's, which reads a hello first.
type embedding struct {
	*codec.Composed
	release chan struct{}
}

func (p embedding) NewCodec(rw io.ReadWriter) libnet.Codec {
	<-p.release
	return p.Composed.NewCodec(rw)
}

// maxFraming is a user's, whose Max is asked when a codec is made.
type maxFraming struct {
	codec.Framing
	release chan struct{}
}

func (f maxFraming) Max() int {
	<-f.release
	return f.Framing.Max()
}

func TestABroadcastWaitsForNoProtocolThatOnlyHasOneOfPackageCodecs(t *testing.T) {
	for name, protocol := range map[string]func(release chan struct{}) libnet.Protocol{
		"embedded": func(release chan struct{}) libnet.Protocol {
			return embedding{codec.New(codec.Lines, codec.Bytes), release}
		},
		"a framing of the user's": func(release chan struct{}) libnet.Protocol {
			release <- struct{}{} // New asks for it, too
			return codec.New(maxFraming{codec.Lines, release}, codec.Bytes)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{}, 1)
				srv := testkit.NewServer(t, protocol(release), 8)
				near, _ := testkit.ConnectPipe(t)
				testkit.Adopt(t, srv, near)
				began := time.Now()
				result := srv.Manager().Broadcast("a message")
				if took := time.Since(began); took > 100*time.Millisecond || result.Blocked != 1 {
					t.Errorf("it took %v: %+v", took, result)
				}
				close(release)
			})
		})
	}
}
