package ws

import (
	"compress/flate"
	"io"
	"runtime"
	"sync"
)

// Compression as RFC 7692 has it, of each message by itself. A compressor takes 1.2 MB and an inflater 41 KB, while it
// has a message.

const (
	// deflateTail ends what a flush makes, and is not sent (RFC 7692, 7.2.1).
	deflateTail = "\x00\x00\xff\xff"

	// deflateEnd is an empty last block, behind which there is no more.
	deflateEnd = "\x01\x00\x00\xff\xff"

	// maxLastBlocks is how often a message may begin anew behind a block that says it is the last, as RFC 7692, 7.2.3.4
	// lets it: each time costs as much as thousands of bytes.
	maxLastBlocks = 64

	// window is how far back a message may refer.
	window = 1 << windowBits
)

// maxDeflated bounds the compressed form of a message of up to limit bytes: what cannot be compressed becomes longer,
// by 5 bytes in 16 KiB at the most as zlib does it. It leaves a session's own bound, of 64 KiB beside a message, to the
// header.
func maxDeflated(limit int) int { return limit + min(limit>>10+1024, 32<<10, longest-limit) }

// Those who compress or inflate share the processors: more at a time would only take more memory.
var deflateSlots = make(chan struct{}, runtime.GOMAXPROCS(0))

// A compressor appends what it makes of a message.
type compressor struct {
	writer *flate.Writer
	dst    []byte
}

// The fastest level: with messages of a few KiB the next one takes twice as long and saves 3 % more.
var compressors = sync.Pool{New: func() any {
	c := new(compressor)
	c.writer, _ = flate.NewWriter(c, flate.BestSpeed)
	return c
}}

func (c *compressor) Write(p []byte) (int, error) {
	c.dst = append(c.dst, p...)
	return len(p), nil
}

// appendDeflated appends a message's compressed form to dst.
func appendDeflated(dst, message []byte) []byte {
	deflateSlots <- struct{}{}
	defer func() { <-deflateSlots }()
	c := compressors.Get().(*compressor)
	defer compressors.Put(c)
	c.dst = dst
	c.writer.Reset(c)
	_, _ = c.writer.Write(message)
	_ = c.writer.Flush()
	dst, c.dst = c.dst, nil
	return dst[:len(dst)-len(deflateTail)]
}

// An inflater is the reader of what it inflates.
type inflater struct {
	reader io.Reader // a flate.Resetter
	rest   []byte    // of the message
	behind []byte    // what of tail and end follows that
	beyond [1]byte
}

var inflaters = sync.Pool{New: func() any {
	f := new(inflater)
	f.reader = flate.NewReader(f)
	return f
}}

var deflateBehind = []byte(deflateTail + deflateEnd)

// appendInflated appends to dst the message, of limit bytes at most, of which src is the compressed form. An error is a
// *fault.
func appendInflated(dst, src []byte, limit int) ([]byte, error) {
	deflateSlots <- struct{}{}
	defer func() { <-deflateSlots }()
	f := inflaters.Get().(*inflater)
	defer inflaters.Put(f)
	f.rest, f.behind = src, deflateBehind
	dst, err := f.appendTo(dst, limit)
	f.rest = nil
	return dst, err
}

func (f *inflater) appendTo(dst []byte, limit int) ([]byte, error) {
	start := len(dst)
	for range maxLastBlocks {
		history := dst[max(start, len(dst)-window):]
		if err := f.reader.(flate.Resetter).Reset(f, history); err != nil {
			return dst, err
		}
		var err error
		if dst, err = f.appendBlocks(dst, start+limit); err != nil {
			return dst, err
		}
		if len(f.rest) == 0 && len(f.behind) == 0 {
			return dst, nil
		}
	}
	return dst, malformed("a compressed message with too many last blocks")
}

// appendBlocks inflates up to a block that says it is the last. dst grows to most bytes, and no further: at once to
// what is usual for what there is to inflate, and by doubling from then on.
func (f *inflater) appendBlocks(dst []byte, most int) ([]byte, error) {
	for {
		if len(dst) == cap(dst) && len(dst) < most {
			dst = append(make([]byte, 0, min(max(512, 2*cap(dst), 4*len(f.rest)), most)), dst...)
		}
		room := dst[len(dst):min(cap(dst), most)]
		if len(room) == 0 {
			room = f.beyond[:]
		}
		n, err := f.reader.Read(room)
		switch {
		case n > 0 && len(dst) == most:
			return dst, errTooLarge
		case err != nil && err != io.EOF:
			return dst, malformed("a message that does not inflate")
		}
		dst = dst[:len(dst)+n]
		if err == io.EOF {
			return dst, nil
		}
	}
}

// Read and ReadByte read the message and what was cut off behind it. flate reads no more than it needs where there is a
// ReadByte.
func (f *inflater) Read(p []byte) (int, error) {
	if !f.more() {
		return 0, io.EOF
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

func (f *inflater) ReadByte() (byte, error) {
	if !f.more() {
		return 0, io.EOF
	}
	b := f.rest[0]
	f.rest = f.rest[1:]
	return b, nil
}

func (f *inflater) more() bool {
	if len(f.rest) == 0 {
		f.rest, f.behind = f.behind, nil
	}
	return len(f.rest) > 0
}

// inflated returns the message of which src is the compressed form, in memory of its own. An error is a *fault.
func inflated(src []byte, limit int) (message []byte, err error) {
	b := inbufs.Get().(*inbuf)
	defer putInbuf(b)
	message, err = appendInflated(b.bytes[:0], src, limit)
	switch {
	case err != nil:
		return nil, err
	case cap(message) > keptMessage: // it has outgrown b
		return message, nil
	}
	b.bytes = message
	return append([]byte{}, message...), nil
}
