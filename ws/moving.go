package ws

import (
	"encoding/json"
	"errors"
	"io"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/inside"
)

// A session of Protocol's may move to another process (package handover), between two messages: what its codec knows
// goes with it.

// moved is that.
type moved struct {
	Request     string
	Subprotocol string `json:",omitempty"`
	Deflates    bool   `json:",omitempty"`
}

// Moves returns what the codec knows; not ok while fragments of a message are to come, and when the peer has closed.
func (c *serverCodec) Moves(inside.Call) (state []byte, ok bool) {
	if c.message != nil || c.beyond != nil || c.peerClosed() {
		return nil, false
	}
	state, err := json.Marshal(moved{c.request, c.subprotocol, c.deflates})
	return state, err == nil
}

// Moved makes the codec of a session whose handshake was in another process.
func (p *serverProtocol) Moved(rw io.ReadWriter, state []byte, _ inside.Call) (libnet.Codec, error) {
	var m moved
	if err := json.Unmarshal(state, &m); err != nil {
		return nil, err
	}
	if m.Deflates && p.options.compressFrom == 0 {
		return nil, errNoCompression
	}
	made, err := p.newCodec(rw.(sessionStream), agreement{m.Subprotocol, m.Deflates})
	if err != nil {
		return nil, err
	}
	made.request = m.Request
	return made, nil
}

var errNoCompression = errors.New("libnet: ws: a session that compresses came to a protocol that does not")
