package usercode

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
)

// scratchCodec returns each frame in the same memory of its own.
type scratchCodec struct {
	testkit.FramingCodec
	scratch *[]byte
}

func (c scratchCodec) AppendFrame(_ []byte, msg any) (frame []byte, err error) {
	*c.scratch, err = c.FramingCodec.AppendFrame((*c.scratch)[:0], msg)
	return *c.scratch, err
}

// A broadcast that shares its frame does so from memory that the codec of one session cannot change.
func TestACodecThatUsesItsMemoryAgainDoesNotChangeABroadcastThatWaits(t *testing.T) {
	scratch := make([]byte, 0, 1<<20)
	protocol := sameProtocol{&scratch}
	srv := testkit.NewServer(t, protocol, 8)
	var far []io.Reader
	for range 2 {
		near, peer := testkit.ConnectNetPipe(t)
		testkit.Adopt(t, srv, near)
		far = append(far, peer)
	}
	const size = 32 << 10
	for i := range 3 {
		if r := srv.Manager().Broadcast(bytes.Repeat([]byte{byte('a' + i)}, size)); r.Sent != len(far) {
			t.Fatalf("%+v", r)
		}
	}
	for _, peer := range far {
		codec := testkit.Frames64K.NewCodec(struct {
			io.Reader
			io.Writer
		}{peer, io.Discard})
		for i := range 3 {
			msg, err := codec.Receive()
			if err != nil || len(msg) != size || msg[0] != byte('a'+i) || msg[size-1] != byte('a'+i) {
				t.Fatalf("message %d: %d bytes of %q, %v", i, len(msg), fmt.Sprintf("%.1s", msg), err)
			}
		}
	}
}

type sameProtocol struct{ scratch *[]byte }

func (p sameProtocol) NewCodec(rw io.ReadWriter) libnet.Codec {
	return scratchCodec{testkit.FramingCodec{Codec: testkit.Frames64K.NewCodec(rw)}, p.scratch}
}
