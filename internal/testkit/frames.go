package testkit

import (
	"encoding/binary"
	"io"
	"net"
	"testing"

	"github.com/libnet-go/libnet/codec"
)

// Frames is the protocol of most tests: 4 bytes of length, then the message.
var Frames = codec.New(codec.Uint32BE, codec.Bytes)

// Frames64K is the same for messages of at most Max64K.
var Frames64K = Frames.MaxMessage(Max64K)

const (
	HeaderSize = 4 // of Frames
	Max64K     = 64 << 10
)

// Frame is msg as the protocol Frames puts it on the wire.
func Frame(msg string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(msg))), msg...)
}

// ReadFrame is the reference decoder: what libnet should make of a stream, in a few lines.
func ReadFrame(r io.Reader) ([]byte, error) {
	var header [HeaderSize]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return nil, err // io.EOF before the first byte, io.ErrUnexpectedEOF after it
	}
	msg := make([]byte, binary.BigEndian.Uint32(header[:]))
	if _, err := io.ReadFull(r, msg); err == io.EOF {
		return nil, io.ErrUnexpectedEOF
	} else if err != nil {
		return nil, err
	}
	return msg, nil
}

// Ask writes a message and wants it back.
func Ask(t testing.TB, conn net.Conn, msg string) {
	t.Helper()
	MustWrite(t, conn, Frame(msg))
	WantFrame(t, conn, msg)
}

// WantFrame reads a message and compares it.
func WantFrame(t testing.TB, conn net.Conn, want string) {
	t.Helper()
	if got, err := ReadFrame(conn); err != nil || string(got) != want {
		t.Fatalf("read %.64q, %v; want %.64q", got, err, want)
	}
}
