package ws

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net"

	"github.com/coder/websocket"
	"github.com/libnet-go/libnet"
)

// Of a close frame (RFC 6455, 5.2 and 5.5.1).
const (
	opcodeClose    = 0x88 // with the FIN bit
	maskBit        = 0x80
	maxCloseReason = 123
)

// closeError says with which code a session that ends for reason closes its WebSocket.
func closeError(reason error) websocket.CloseError {
	var chosen websocket.CloseError
	code := websocket.StatusNormalClosure
	switch {
	case errors.As(reason, &chosen):
		return chosen
	case errors.Is(reason, libnet.ErrServerClosed):
		code = websocket.StatusGoingAway
	case errors.Is(reason, libnet.ErrFrameTooLarge):
		code = websocket.StatusMessageTooBig
	case errors.Is(reason, errNotUTF8):
		code = websocket.StatusInvalidFramePayloadData
	case errors.Is(reason, libnet.ErrMalformedFrame):
		code = websocket.StatusProtocolError
	case errors.Is(reason, libnet.ErrPanic):
		code = websocket.StatusInternalError
	case isTimeout(reason), errors.Is(reason, libnet.ErrSlowConsumer):
		code = websocket.StatusPolicyViolation
	}
	return websocket.CloseError{Code: code}
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// appendCloseFrame appends a close frame. The library can only write one and then wait for the answer.
// A code that may not be sent, or a reason that is too long, is left out.
func appendCloseFrame(dst []byte, e websocket.CloseError, masked bool) []byte {
	if !sendable(e.Code) {
		e = websocket.CloseError{Code: websocket.StatusNormalClosure}
	}
	if len(e.Reason) > maxCloseReason {
		e.Reason = ""
	}
	payload := binary.BigEndian.AppendUint16(nil, uint16(e.Code))
	payload = append(payload, e.Reason...)
	if !masked {
		return append(append(dst, opcodeClose, byte(len(payload))), payload...)
	}
	var mask [4]byte
	_, _ = rand.Read(mask[:]) // never fails, says crypto/rand
	for i := range payload {
		payload[i] ^= mask[i%4]
	}
	dst = append(dst, opcodeClose, maskBit|byte(len(payload)))
	return append(append(dst, mask[:]...), payload...)
}

// sendable holds for the codes that RFC 6455, 7.4 lets an endpoint send.
func sendable(code websocket.StatusCode) bool {
	switch code {
	case websocket.StatusNoStatusRcvd, websocket.StatusAbnormalClosure, websocket.StatusTLSHandshake, 1004:
		return false
	}
	return code >= 1000 && code <= 1014 || code >= 3000 && code <= 4999
}
