package access_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/libnet-go/libnet/examples/im/internal/wire"
)

// BenchmarkRequests is what a request costs that the server answers by itself: 64 at a time, from a client that does
// nothing but compare the answers.
func BenchmarkRequests(b *testing.B) {
	const window = 64
	for _, kind := range []struct {
		name            string
		request, answer proto.Message
	}{
		{"ping", &wire.ReqPing{Cmd: wire.CmdPing, UID: 1}, wire.OK(wire.CmdPing)},
		{"whoami", &wire.ReqWhoAmI{Cmd: wire.CmdWhoAmI}, &wire.ResWhoAmI{Cmd: wire.CmdWhoAmI, UID: 1, Server: "access-1"}},
	} {
		b.Run(kind.name, func(b *testing.B) {
			r := newRig(b)
			conn, err := net.Dial("tcp", r.start(nil).Addr())
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close()
			exchange := func(request, answer proto.Message, times int) {
				got, want := make([]byte, len(framed(answer))*times), bytes.Repeat(framed(answer), times)
				if _, err := conn.Write(bytes.Repeat(framed(request), times)); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, want) {
					b.Fatalf("%x, %v; want %x", got, err, want)
				}
			}
			exchange(&wire.ReqLogin{Cmd: wire.CmdLogin, UID: 1, Token: r.token(1)}, wire.OK(wire.CmdLogin), 1)
			b.ReportAllocs()
			for n := 0; n < b.N; n += window {
				exchange(kind.request, kind.answer, min(window, b.N-n))
			}
		})
	}
}

func framed(msg proto.Message) []byte {
	payload := wire.Encode(msg)
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(payload))), payload...)
}
