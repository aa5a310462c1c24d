package ws

import (
	"encoding/binary"
	"io"

	"github.com/coder/websocket"
)

// fragmentSize is how much of a message is gathered before it goes out as a fragment of its own: as much as
// a session writes at a time.
const fragmentSize = 16 << 10

// A splitter turns frames, however they are cut, into WebSocket messages.
type splitter struct {
	ws  *websocket.Conn
	typ websocket.MessageType

	header    [headerSize]byte
	headerLen int            // how much of the header has come
	left      int            // how much of the payload is to come, once the header is whole
	part      *outbuf        // the payload so far, less the fragments; nil when empty
	fragments io.WriteCloser // of a message that goes out in several; nil else
}

func (s *splitter) split(p []byte) error {
	for len(p) > 0 {
		if s.headerLen < headerSize {
			n := copy(s.header[s.headerLen:], p)
			s.headerLen, p = s.headerLen+n, p[n:]
			if s.headerLen < headerSize {
				return nil
			}
			s.left = int(binary.BigEndian.Uint32(s.header[lengthAt:]))
		}
		n := min(len(p), s.left)
		if err := s.add(p[:n]); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// add takes a part of the payload, which is the last one when left is 0 behind it.
func (s *splitter) add(p []byte) error {
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
		return nil
	}
	err := s.send(p, last)
	if s.part != nil {
		s.part.bytes = s.part.bytes[:0]
		outbufs.Put(s.part)
		s.part = nil
	}
	if last {
		s.headerLen = 0
	}
	return err
}

func (s *splitter) send(p []byte, last bool) (err error) {
	if last && s.fragments == nil {
		return s.ws.Write(background, s.typ, p)
	}
	if s.fragments == nil {
		if s.fragments, err = s.ws.Writer(background, s.typ); err != nil {
			return err
		}
	}
	if _, err = s.fragments.Write(p); err != nil || !last {
		return err
	}
	err = s.fragments.Close()
	s.fragments = nil
	return err
}
