package ws

import "encoding/binary"

// fragmentSize is how much of a message is gathered before it goes out as a fragment of its own: as much as
// a session writes at a time.
const fragmentSize = 16 << 10

// A splitter turns frames, however they are cut, into WebSocket messages.
type splitter struct {
	link   *link
	opcode byte // of a message's first fragment

	header     [headerSize]byte
	headerLen  int     // how much of the header has come
	left       int     // how much of the payload is to come, once the header is whole
	part       *outbuf // the payload so far, less the fragments; nil when empty
	fragmented bool    // a fragment has gone out
	dropped    bool    // a part of a message came too late for the link
}

func (s *splitter) split(p []byte) {
	for len(p) > 0 {
		if s.headerLen < headerSize {
			n := copy(s.header[s.headerLen:], p)
			s.headerLen, p = s.headerLen+n, p[n:]
			if s.headerLen < headerSize {
				return
			}
			s.left = int(binary.BigEndian.Uint32(s.header[lengthAt:]))
		}
		n := min(len(p), s.left)
		s.add(p[:n])
		p = p[n:]
	}
}

// add takes a part of the payload, which is the last one when left is 0 behind it.
func (s *splitter) add(p []byte) {
	s.left -= len(p)
	last := s.left == 0
	if !last || s.part != nil {
		if s.part == nil {
			s.part = outbufs.Get().(*outbuf)
		}
		s.part.bytes = append(s.part.bytes, p...)
		p = s.part.bytes
	}
	if !last && len(p) < fragmentSize {
		return
	}
	s.send(p, last)
	if s.part != nil {
		putOutbuf(s.part)
		s.part = nil
	}
}

func (s *splitter) send(p []byte, last bool) {
	first := s.opcode | s.header[0]
	if s.fragmented {
		first = opContinuation
	}
	if last {
		first |= finBit
		s.headerLen = 0
	}
	s.fragmented = !last
	s.dropped = !s.link.add(first, p) || s.dropped
}
