package ws_test

import (
	"fmt"
	"io"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
)

// A codec may answer with a frame that it has made before, or that has others of its own behind it: these are not the
// session's.
func TestAFrameInTheMemoryOfACodecIsNotChanged(t *testing.T) {
	eachMode(t, func(t *testing.T) {
		kept := &keptFrames{Protocol: frames}
		for i := range 10 {
			kept.add(t, fmt.Sprintf("message %d", i))
		}
		before := string(kept.memory)
		r := start(t, setup{protocol: kept, queue: 100})
		client := r.dial(t, 100)
		server := r.session(t)
		for range 3 {
			for i := range 10 {
				send(t, server, i)
				want(t, client, fmt.Sprintf("message %d", i))
				r.Manager().Broadcast(i)
				want(t, client, fmt.Sprintf("message %d", i))
			}
		}
		if string(kept.memory) != before {
			t.Errorf("the codec's frames are %q now", kept.memory)
		}
	})
}

// keptFrames is a protocol whose messages are numbers of frames that lie behind one another.
type keptFrames struct {
	libnet.Protocol
	memory []byte
	ends   []int
}

func (p *keptFrames) add(t *testing.T, msg string) {
	appender := p.Protocol.NewCodec(nil).(libnet.FrameAppender)
	var err error
	if p.memory, err = appender.AppendFrame(p.memory, msg); err != nil {
		t.Fatal(err)
	}
	p.ends = append(p.ends, len(p.memory))
}

func (p *keptFrames) NewCodec(rw io.ReadWriter) libnet.Codec {
	inner := p.Protocol.NewCodec(rw)
	return testkit.FramingCodec{Codec: inner, OnAppend: func(dst []byte, msg any) ([]byte, error) {
		number, ok := msg.(int)
		if !ok {
			return inner.(libnet.FrameAppender).AppendFrame(dst, msg)
		}
		begin := 0
		if number > 0 {
			begin = p.ends[number-1]
		}
		frame := p.memory[begin:p.ends[number]]
		if len(dst) == 0 {
			return frame, nil
		}
		return append(dst, frame...), nil
	}}
}
