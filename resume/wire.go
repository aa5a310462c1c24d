package resume

import (
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/sendqueue"
)

// Frames is the marshaler of the protocol that a resumable session's connections have: the framing is yours to choose.
//
//	codec.New(codec.Uint32BE, resume.Frames)
//
// The application's messages are marshalled by Config.Marshaler before that.
var Frames frames

type frames struct{}

// AppendMarshal takes frames of the package's own, and nothing else.
func (frames) AppendMarshal(dst []byte, msg any) ([]byte, error) {
	switch f := msg.(type) {
	case *sendqueue.Payload:
		return append(dst, f.Bytes...), nil
	case hello:
		return f.append(dst), nil
	case welcome:
		return f.append(dst), nil
	case ending:
		return binary.AppendUvarint(append(dst, kindEnd), f.taken), nil
	case lastTaken:
		return binary.AppendUvarint(append(dst, kindLastTaken), f.taken), nil
	case refusal:
		return append(dst, kindRefusal, byte(f)), nil
	}
	return dst, fmt.Errorf("%w: send a %T on the resume.Session, and not on its connection", libnet.ErrEncode, msg)
}

// TakesPayload has package codec put such a message behind its header without asking. A marshaler around Frames has no
// such method.
func (frames) TakesPayload(sendqueue.Payload) bool { return true }

// The first byte of a frame. That of a message has flags.
const (
	kindMessage byte = 0
	flagAck     byte = 1 // a count follows: so many messages the sender's application has taken
	flagAtOnce  byte = 2 // acknowledge this one at once

	kindAck     byte = 0x10
	kindEnd     byte = 0x11
	kindHello   byte = 0x12
	kindWelcome byte = 0x13
	kindRefusal byte = 0x14

	kindLastTaken byte = 0x15
)

// version is the first byte behind a hello's kind.
const version = 1

// maxOverhead is the most that is put before a message.
const maxOverhead = 1 + binary.MaxVarintLen64

// An ack is the frame of an acknowledgement.
type ack struct {
	sendqueue.Payload
	room [1 + binary.MaxVarintLen64]byte
}

var acks = sync.Pool{New: func() any { return new(ack) }}

func newAck(count uint64) *ack {
	a := acks.Get().(*ack)
	a.Bytes = binary.AppendUvarint(append(a.room[:0], kindAck), count)
	return a
}

// cutCount is strict: a number has one encoding.
func cutCount(b []byte) (n uint64, rest []byte, ok bool) {
	n, size := binary.Uvarint(b)
	if size <= 0 || size > 1 && b[size-1] == 0 {
		return 0, nil, false
	}
	return n, b[size:], true
}

// parseCount is for frames that are a kind and a count: kindAck, kindEnd and kindLastTaken.
func parseCount(frame []byte) (n uint64, ok bool) {
	n, rest, ok := cutCount(frame[1:])
	return n, ok && len(rest) == 0
}

// counts say how far an end has come with the other's messages, and what it keeps of its own.
type counts struct {
	received uint64 // messages that have arrived: the next to send is the one behind them
	taken    uint64 // those of them that the application has taken
	limits   limits
}

func (c counts) append(dst []byte) []byte {
	for _, n := range [...]uint64{c.received, c.taken, uint64(c.limits.messages), uint64(c.limits.bytes)} {
		dst = binary.AppendUvarint(dst, n)
	}
	return dst
}

func parseCounts(b []byte) (c counts, ok bool) {
	var n [4]uint64
	for i := range n {
		if n[i], b, ok = cutCount(b); !ok {
			return c, false
		}
	}
	c = counts{n[0], n[1], limits{int32(min(n[2], noBound)), int32(min(n[3], noBound))}}
	return c, len(b) == 0 && c.taken <= c.received && c.limits.messages > 0 && c.limits.bytes > 0
}

// maxTries is the largest number of a hello, so that there is one behind it.
const maxTries = 1 << 62

// A hello is a client's first frame on each connection.
type hello struct {
	resumes bool
	token   token  // the one of the last welcome
	number  uint64 // of the session's resumes, in the order in which the client has tried; from 1 on
	counts  counts
}

func (h hello) append(dst []byte) []byte {
	dst = append(dst, kindHello, version, 0)
	if h.resumes {
		dst[len(dst)-1] = tokenSize
		dst = binary.AppendUvarint(append(dst, h.token[:]...), h.number)
	}
	return h.counts.append(dst)
}

// parseHello answers refusedVersion for a client of another version, and refusedFrame for what is no hello.
func parseHello(frame []byte) (h hello, why refusal) {
	if len(frame) < 3 || frame[0] != kindHello {
		return h, refusedFrame
	}
	if frame[1] != version {
		return h, refusedVersion
	}
	size, rest := int(frame[2]), frame[3:]
	if size != 0 && size != tokenSize || len(rest) < size {
		return h, refusedFrame
	}
	h.resumes = size != 0
	copy(h.token[:], rest[:size])
	rest, ok := rest[size:], true
	if h.resumes {
		h.number, rest, ok = cutCount(rest)
	}
	if !ok || h.number > maxTries {
		return h, refusedFrame
	}
	if h.counts, ok = parseCounts(rest); !ok || !h.resumes && h.counts.received > 0 {
		return h, refusedFrame
	}
	return h, 0
}

// A welcome answers a hello.
type welcome struct {
	token  token // for the next resume
	counts counts
}

func (w welcome) append(dst []byte) []byte {
	return w.counts.append(append(append(dst, kindWelcome), w.token[:]...))
}

func parseWelcome(frame []byte) (w welcome, ok bool) {
	if len(frame) < 1+tokenSize || frame[0] != kindWelcome {
		return w, false
	}
	copy(w.token[:], frame[1:])
	w.counts, ok = parseCounts(frame[1+tokenSize:])
	return w, ok
}

// An ending is a session's last frame. It says, once more, how many messages of the peer's were taken.
type ending struct{ taken uint64 }

// A lastTaken says that the application takes no message more, though its end of the session waits for acknowledgements
// still.
type lastTaken struct{ taken uint64 }

// A refusal says why a hello is not answered with a welcome.
type refusal byte

const (
	refusedUnknown refusal = 1 // no session has this token
	refusedBusy    refusal = 2 // no session is taken now
	refusedVersion refusal = 3
	refusedFrame   refusal = 4
)

func parseRefusal(frame []byte) (r refusal, ok bool) {
	if len(frame) != 2 || frame[0] != kindRefusal {
		return 0, false
	}
	return refusal(frame[1]), true
}
