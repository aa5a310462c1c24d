package ws

// A draft is a message where compression is agreed on, before it is a frame. It is made in buffers of its own: what a
// frame is appended to may wait for a slow peer, and is not to have room for what the message was before.
type draft struct {
	plain    *outbuf
	deflated *outbuf // nil where the message is not compressed

	payload []byte // of one of the two
	bits    byte   // of the first frame: deflatedBit or 0
}

// draftRules are what a message that is sent has to keep to.
type draftRules struct {
	limit        int // bytes of a message
	text         bool
	compressFrom int
}

// make has an inner codec make the message. The caller frees the draft also after an error, but not where the codec
// panics: it may still have the buffer.
func (d *draft) make(inner innerCodec, msg any, rules draftRules) error {
	d.plain = outbufs.Get().(*outbuf)
	framed, payload, err := appendInner(inner, inner, d.plain.bytes[:0], msg)
	if err == nil {
		err = checkSent(payload, rules.limit, rules.text)
	}
	if err != nil {
		return err
	}
	d.payload = payload
	if n := len(framed); n > cap(d.plain.bytes) && n <= keptOutput { // for the next message: what the codec made may be its own
		d.plain.bytes = make([]byte, 0, len(framed))
	}
	if len(payload) >= rules.compressFrom {
		d.compress()
	}
	return nil
}

// compress leaves the message as it is where that makes it no shorter.
func (d *draft) compress() {
	d.deflated = outbufs.Get().(*outbuf)
	d.deflated.bytes = appendDeflated(d.deflated.bytes[:0], d.payload)
	if len(d.deflated.bytes) < len(d.payload) {
		d.payload, d.bits = d.deflated.bytes, deflatedBit
	}
}

func (d *draft) free() {
	for _, b := range []*outbuf{d.plain, d.deflated} {
		if b != nil {
			putOutbuf(b)
		}
	}
}
