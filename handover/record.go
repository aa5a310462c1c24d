package handover

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"

	"github.com/libnet-go/libnet/internal/moving"
	"github.com/libnet-go/libnet/internal/sendqueue"
)

// What the messages hold is written with numbers of variable length, as encoding/binary has them, and strings behind
// their length. Who reads takes no memory for a length that is not there.

// version is that of the exchange. A process that speaks another refuses it before anything stands still.
const version = 2

// magic is what the first message begins with.
const magic = "libnet handover"

// Flags of a record.
const (
	flagCodec = 1 << iota
	flagState
)

func appendBytes[T string | []byte](b []byte, p T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(p))), p...)
}

// appendIntroduction appends what of a session does not change. Its client's address is the only one that may be
// missing over TCP.
func appendIntroduction(b []byte, i *moving.Introduction) []byte {
	b = binary.AppendUvarint(b, i.ID)
	b = binary.AppendUvarint(b, uint64(i.Age))
	b = appendAddr(b, i.Remote)
	return appendAddr(b, i.Client)
}

// appendRecord appends the rest.
func appendRecord(b []byte, r *moving.Record) []byte {
	var flags uint64
	if r.HasCodec {
		flags |= flagCodec
	}
	if r.State != nil {
		flags |= flagState
	}
	for _, n := range [...]uint64{
		r.ID, flags, uint64(r.Received), uint64(r.FrameStart), r.Parsed, r.Read, r.Dropped,
	} {
		b = binary.AppendUvarint(b, n)
	}
	b = appendBytes(b, r.Name)
	b = appendBytes(b, r.Unread)
	b = appendBytes(b, r.Codec)
	return appendBytes(b, r.State)
}

func appendAddr(b []byte, a netip.AddrPort) []byte {
	if !a.IsValid() {
		return append(b, 0)
	}
	p, _ := a.MarshalBinary() // which has no error
	return appendBytes(b, p)
}

// A reader reads what the above have appended. Its first error stays.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", ErrMalformed, what)
	}
	r.rest = nil
}

func (r *reader) number() uint64 {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 {
		r.fail("a number is missing, or too long")
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

func (r *reader) time() int64 {
	n := r.number()
	if n > math.MaxInt64 {
		r.fail("a time is too long")
	}
	return int64(n)
}

// bytes returns a part of what is read, nil for an empty one.
func (r *reader) bytes() []byte {
	n := r.number()
	if n > uint64(len(r.rest)) {
		r.fail("a length is more than there is")
		return nil
	}
	p := r.rest[:n:n]
	r.rest = r.rest[n:]
	if n == 0 {
		return nil
	}
	return p
}

func (r *reader) addr() (a netip.AddrPort) {
	p := r.bytes()
	if len(p) > 0 && (a.UnmarshalBinary(p) != nil || !a.IsValid()) { // two bytes are a port without an address
		r.fail("an address")
	}
	return a
}

// end is the error of all that was read; what is left is one, too.
func (r *reader) end() error {
	if r.err == nil && len(r.rest) > 0 {
		r.fail("more than there should be")
	}
	return r.err
}

func parseIntroduction(p []byte) (*moving.Introduction, error) {
	in := &reader{rest: p}
	i := &moving.Introduction{ID: in.number(), Age: in.time()}
	i.Remote, i.Client = in.addr(), in.addr()
	i.Unix = !i.Remote.IsValid()
	if i.ID == 0 {
		in.fail("a session without a number")
	}
	return i, in.end()
}

// parseRecord returns what shares p.
func parseRecord(p []byte) (*moving.Record, error) {
	in := &reader{rest: p}
	r := &moving.Record{ID: in.number()}
	flags := in.number()
	r.HasCodec = flags&flagCodec != 0
	r.Received, r.FrameStart = in.time(), in.time()
	r.Parsed, r.Read, r.Dropped = in.number(), in.number(), in.number()
	r.Name = string(in.bytes())
	r.Unread, r.Codec, r.State = in.bytes(), in.bytes(), in.bytes()
	if r.State == nil && flags&flagState != 0 {
		r.State = []byte{}
	}
	switch {
	case r.ID == 0:
		in.fail("a session without a number")
	case uint64(len(r.Unread)) > r.Read:
		in.fail("more unread than was read")
	}
	return r, in.end()
}

// appendOutput appends what of a session is to be written.
func appendOutput(b []byte, id uint64, c *sendqueue.Contents) []byte {
	cut := uint64(0)
	if c.Cut {
		cut = 1
	}
	for _, n := range []uint64{id, cut, c.MessagesOut, c.BytesOut, c.Discarded, c.Dropped, uint64(len(c.Sizes))} {
		b = binary.AppendUvarint(b, n)
	}
	for _, n := range c.Sizes {
		b = binary.AppendVarint(b, int64(n))
	}
	return appendBytes(b, c.Bytes)
}

func parseOutput(p []byte) (id uint64, c *sendqueue.Contents, err error) {
	in := &reader{rest: p}
	id, c = in.number(), new(sendqueue.Contents)
	c.Cut = in.number() != 0
	c.MessagesOut, c.BytesOut, c.Discarded, c.Dropped = in.number(), in.number(), in.number(), in.number()
	n := in.number()
	if n > uint64(len(in.rest)) { // each takes a byte at least
		in.fail("more frames than there are bytes")
		n = 0
	}
	for range n {
		size, length := binary.Varint(in.rest)
		if length <= 0 || size > math.MaxInt32 || size < math.MinInt32 {
			in.fail("the size of a frame")
			break
		}
		in.rest = in.rest[length:]
		c.Sizes = append(c.Sizes, int(size))
	}
	c.Bytes = in.bytes()
	if in.err == nil && !c.Valid() {
		in.fail("frames that are not as long as their bytes")
	}
	return id, c, in.end()
}

// A hello is the first message.
type hello struct {
	lastID  uint64 // of the sessions of the process that gives
	unlinks bool   // the listener's socket is to be removed at the end
}

func (h hello) append(b []byte) []byte {
	b = append(b, magic...)
	b = binary.AppendUvarint(b, version)
	b = binary.AppendUvarint(b, h.lastID)
	if h.unlinks {
		return append(b, 1)
	}
	return append(b, 0)
}

func parseHello(p []byte) (h hello, err error) {
	if len(p) < len(magic) || string(p[:len(magic)]) != magic {
		return h, ErrVersion
	}
	in := &reader{rest: p[len(magic):]}
	if v := in.number(); in.err == nil && v != version {
		return h, fmt.Errorf("%w: %d, not %d", ErrVersion, v, version)
	}
	h.lastID = in.number()
	h.unlinks = in.number() != 0
	return h, in.end()
}

// Lists of sessions' numbers, behind how many there are.

func appendIDs(b []byte, ids []uint64) []byte {
	b = binary.AppendUvarint(b, uint64(len(ids)))
	for _, id := range ids {
		b = binary.AppendUvarint(b, id)
	}
	return b
}

func parseIDs(p []byte) (ids []uint64, err error) {
	in := &reader{rest: p}
	n := in.number()
	if n > uint64(len(in.rest)) {
		in.fail("more numbers than bytes")
		n = 0
	}
	for range n {
		ids = append(ids, in.number())
	}
	return ids, in.end()
}
