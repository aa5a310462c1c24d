package ws

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"unicode/utf8"

	"github.com/coder/websocket"
	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/errchain"
	"github.com/libnet-go/libnet/internal/inside"
	"github.com/libnet-go/libnet/internal/usercode"
)

// maxCloseReason is how many bytes of text a close frame has room for behind its code.
const maxCloseReason = maxControlPayload - 2

// closeError says with which code, and which text, a session that ends for reason closes its WebSocket.
func closeError(reason error) websocket.CloseError {
	if chosen, ok := errchain.As[websocket.CloseError](reason); ok {
		return chosen
	}
	code := closeCode(reason)
	switch code {
	case websocket.StatusNormalClosure, websocket.StatusGoingAway, websocket.StatusInternalError:
		return websocket.CloseError{Code: code} // the last may tell what is nobody's business
	}
	return websocket.CloseError{Code: code, Reason: reason.Error()}
}

func closeCode(reason error) websocket.StatusCode {
	switch {
	case reason == nil, errchain.Is(reason, libnet.ErrSessionClosed), errchain.Is(reason, io.EOF):
		return websocket.StatusNormalClosure
	case errchain.Is(reason, libnet.ErrServerClosed):
		return websocket.StatusGoingAway
	case errchain.Is(reason, libnet.ErrTooManySessions), errchain.Is(reason, libnet.ErrTooManySessionsPerIP):
		return websocket.StatusTryAgainLater
	case errchain.Is(reason, libnet.ErrFrameTooLarge):
		return websocket.StatusMessageTooBig
	case errchain.Is(reason, errNotUTF8):
		return websocket.StatusInvalidFramePayloadData
	case errchain.Is(reason, libnet.ErrMalformedFrame):
		return websocket.StatusProtocolError
	case errchain.Is(reason, libnet.ErrPanic), isOf[*net.OpError](reason):
		return websocket.StatusInternalError
	}
	return websocket.StatusPolicyViolation
}

func isOf[T any](err error) bool {
	_, ok := errchain.As[T](err)
	return ok
}

// closeFrame tells the peer reason, an error that may be the user's: one that panics is an internal error.
func closeFrame(reason error, masked bool) (frame []byte) {
	e := websocket.CloseError{Code: websocket.StatusInternalError}
	defer func() {
		_ = recover()
		frame = appendClose(nil, e, masked)
	}()
	e = closeError(reason)
	return nil
}

func init() {
	inside.IsCloseError = func(err error) bool { _, is := err.(websocket.CloseError); return is }
}

// boundedCloseFrame is closeFrame for who has to go on: a reason that does not answer is an internal error, too.
func boundedCloseFrame(reason error, masked bool) []byte {
	if inside.IsOwn(reason) {
		return closeFrame(reason, masked)
	}
	frame, ok := usercode.AnswerWithin(reasonPatience, func() []byte { return closeFrame(reason, masked) })
	if !ok {
		return closeFrame(libnet.ErrPanic, masked)
	}
	return frame
}

// appendClose appends a close frame. A code that may not be sent becomes 1000; of a text that is too long, or no
// UTF-8, what fits and is.
func appendClose(dst []byte, e websocket.CloseError, masked bool) []byte {
	if !sendable(e.Code) {
		e.Code = websocket.StatusNormalClosure
	}
	payload := binary.BigEndian.AppendUint16(nil, uint16(e.Code))
	payload = append(payload, closeText(e.Reason)...)
	return appendFrame(dst, finBit|opClose, payload, masked)
}

func closeText(text string) string {
	text = text[:min(len(text), 4*maxCloseReason)] // of what may be megabytes
	return usercode.Cut(strings.ToValidUTF8(text, "\uFFFD"), maxCloseReason)
}

// sendable holds for the codes that RFC 6455, 7.4 lets an endpoint send.
func sendable(code websocket.StatusCode) bool {
	switch code {
	case websocket.StatusNoStatusRcvd, websocket.StatusAbnormalClosure, websocket.StatusTLSHandshake, 1004:
		return false
	}
	return code >= 1000 && code <= 1014 || code >= 3000 && code <= 4999
}

// endByPeer is the reason of a session whose peer has closed it, perhaps within a message.
func endByPeer(e websocket.CloseError, inMessage bool) error {
	switch e.Code {
	case websocket.StatusNormalClosure, websocket.StatusGoingAway, websocket.StatusNoStatusRcvd:
		if inMessage {
			return io.ErrUnexpectedEOF
		}
		return io.EOF
	}
	return fmt.Errorf("libnet: ws: closed by the peer: %w", e)
}

// parseClose reads a close frame's payload (RFC 6455, 5.5.1). An empty one has the code that stands for none.
func parseClose(payload []byte) (websocket.CloseError, error) {
	none := websocket.CloseError{Code: websocket.StatusNoStatusRcvd}
	switch len(payload) {
	case 0:
		return none, nil
	case 1:
		return none, malformed("a close frame with half a code")
	}
	e := websocket.CloseError{Code: websocket.StatusCode(binary.BigEndian.Uint16(payload)), Reason: string(payload[2:])}
	switch {
	case !sendable(e.Code):
		return none, malformed("a close frame with a code that nobody may send")
	case !utf8.ValidString(e.Reason):
		return none, &fault{errNotUTF8}
	}
	return e, nil
}
