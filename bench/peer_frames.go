package main

import (
	"encoding/binary"
	"sync"
)

// What the servers on libraries that hand over bytes as they came do by hand: find the frames, and join what leaves at
// once.

// cutFrame is the first frame of in, header and all, or nil where it is not whole.
func cutFrame(in []byte) []byte {
	if len(in) < 2 {
		return nil
	}
	n := 2 + int(binary.BigEndian.Uint16(in))
	if len(in) < n {
		return nil
	}
	return in[:n]
}

// A frameHandler takes the whole frames of in, adds what the sender gets and what all get behind one another, and says
// how many bytes of in it has taken.
type frameHandler func(out *outgoing, in []byte) (taken int)

// outgoing is what leaves in one write each.
type outgoing struct{ reply, all []byte }

var outgoings = sync.Pool{New: func() any { return new(outgoing) }}

func newOutgoing() *outgoing {
	out := outgoings.Get().(*outgoing)
	out.reply, out.all = out.reply[:0], out.all[:0]
	return out
}

func (out *outgoing) free() { outgoings.Put(out) }

// replyToEach echoes.
func replyToEach(before func([]byte)) frameHandler {
	return func(out *outgoing, in []byte) int {
		taken := 0
		for frame := cutFrame(in); frame != nil; frame = cutFrame(in[taken:]) {
			taken += len(frame)
			if before != nil {
				before(frame[2:])
			}
			out.reply = append(out.reply, frame...)
		}
		return taken
	}
}

// passToAll is the broadcast rows' handler.
func passToAll(out *outgoing, in []byte) int {
	taken := 0
	for frame := cutFrame(in); frame != nil; frame = cutFrame(in[taken:]) {
		taken += len(frame)
		if wantsReply(frame[2:]) {
			out.reply = append(out.reply, frame...)
		} else {
			out.all = append(out.all, frame...)
		}
	}
	return taken
}

// remainder is what a connection keeps of a frame that was not whole when it was read. The zero value is ready.
type remainder struct{ kept []byte }

// take has the handler take what was kept and what was read behind it, and keeps the rest.
func (r *remainder) take(out *outgoing, read []byte, handle frameHandler) {
	if len(r.kept) == 0 {
		taken := handle(out, read)
		r.kept = append(r.kept, read[taken:]...)
		return
	}
	r.kept = append(r.kept, read...)
	taken := handle(out, r.kept)
	r.kept = append(r.kept[:0], r.kept[taken:]...)
}
