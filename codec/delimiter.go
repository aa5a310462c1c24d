package codec

import (
	"bytes"
	"fmt"
	"math"

	"github.com/libnet-go/libnet"
)

type lines struct{}

// Lines ends each message with a line feed. A carriage return before it, as telnet and Windows send,
// is taken off what is received. A message that contains a line feed or ends in a carriage return
// would arrive as another, and is refused by Send.
//
// To send "\r\n" as well, use Delimiter("\r\n"). Note that the bytes of [Proto] may hold line feeds,
// those of [JSON] never do.
var Lines lines

var _ completeFraming = Lines

func (lines) Max() int { return math.MaxInt - len("\r\n") }

func (f lines) AppendFrame(dst, payload []byte) ([]byte, error) {
	return appendPayload(f, dst, payload)
}

func (f lines) ParseFrame(src []byte) (payload []byte, n int, err error) {
	return f.ParseFrameMax(src, f.Max())
}

func (f lines) ParseFrameMax(src []byte, limit int) (payload []byte, n int, err error) {
	limit = min(limit, f.Max())
	end := bytes.IndexByte(src[:min(len(src), limit+len("\r\n"))], '\n')
	if end < 0 {
		if len(src) > limit && !(len(src) == limit+1 && src[limit] == '\r') {
			return nil, 0, undelimited(limit)
		}
		return nil, 0, nil
	}
	payload = src[:end:end]
	if end > 0 && payload[end-1] == '\r' {
		payload = payload[: end-1 : end-1]
	}
	if len(payload) > limit {
		return nil, 0, undelimited(limit)
	}
	return payload, end + 1, nil
}

func (lines) unfinished(src []byte, seen int) bool { return bytes.IndexByte(src[seen:], '\n') < 0 }

func (lines) Room() int { return 0 }

func (lines) SealFrame(dst []byte, start int) ([]byte, error) {
	if !isLine(dst[start:]) {
		return dst, errDelimiter
	}
	return append(dst, '\n'), nil
}

func (lines) checkPayload(payload []byte, _ int) error {
	if !isLine(payload) {
		return errDelimited
	}
	return nil
}

func isLine(payload []byte) bool {
	return bytes.IndexByte(payload, '\n') < 0 && (len(payload) == 0 || payload[len(payload)-1] != '\r')
}

var (
	errDelimiter = fmt.Errorf("%w: a message that contains its delimiter", libnet.ErrEncode)
	errDelimited = fmt.Errorf("%w: a message that contains its delimiter", libnet.ErrMalformedFrame)
)

type delimiter struct{ sep []byte }

// Delimiter ends each message with sep. A message in which sep would be found before its end is
// refused by Send. It panics when sep is empty.
func Delimiter[S ~string | ~[]byte](sep S) Framing {
	if len(sep) == 0 {
		panic("libnet: codec.Delimiter: an empty delimiter")
	}
	return &delimiter{[]byte(string(sep))} // a copy that stays as it is
}

var _ completeFraming = (*delimiter)(nil)

func (f *delimiter) Max() int { return math.MaxInt - len(f.sep) }

func (f *delimiter) AppendFrame(dst, payload []byte) ([]byte, error) {
	return appendPayload(f, dst, payload)
}

func (f *delimiter) ParseFrame(src []byte) (payload []byte, n int, err error) {
	return f.ParseFrameMax(src, f.Max())
}

func (f *delimiter) ParseFrameMax(src []byte, limit int) (payload []byte, n int, err error) {
	limit = min(limit, f.Max())
	end := bytes.Index(src[:min(len(src), limit+len(f.sep))], f.sep)
	if end >= 0 {
		return src[:end:end], end + len(f.sep), nil
	}
	if len(src) <= limit {
		return nil, 0, nil
	}
	// What is over the limit may still be a part of the delimiter.
	for start := max(0, len(src)-len(f.sep)+1); start <= limit; start++ {
		if bytes.HasPrefix(f.sep, src[start:]) {
			return nil, 0, nil
		}
	}
	return nil, 0, undelimited(limit)
}

// unfinished knows that a delimiter may have begun in what was seen.
func (f *delimiter) unfinished(src []byte, seen int) bool {
	return !bytes.Contains(src[max(0, seen-len(f.sep)+1):], f.sep)
}

func (*delimiter) Room() int { return 0 }

// SealFrame looks for the delimiter as the peer will: "a" and "aab" make a frame that ends too early.
func (f *delimiter) SealFrame(dst []byte, start int) ([]byte, error) {
	end := len(dst)
	dst = append(dst, f.sep...)
	if bytes.Index(dst[start:], f.sep) != end-start {
		return dst, errDelimiter
	}
	return dst, nil
}

// checkPayload looks into the payload, and then at its end together with the delimiter.
func (f *delimiter) checkPayload(payload []byte, _ int) error {
	tail := payload[max(0, len(payload)-len(f.sep)+1):]
	end := append(tail[:len(tail):len(tail)], f.sep...)
	if bytes.Contains(payload, f.sep) || bytes.Index(end, f.sep) != len(tail) {
		return errDelimited
	}
	return nil
}

func undelimited(limit int) error {
	return fmt.Errorf("%w: no delimiter within the limit of %d bytes", libnet.ErrFrameTooLarge, limit)
}
