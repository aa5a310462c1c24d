package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

const upgradeRequest = "GET / HTTP/1.1\r\nHost: soak\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"

// upgrade makes a connection a WebSocket.
func (p *peer) upgrade() error {
	_ = p.SetDeadline(time.Now().Add(patience))
	defer p.SetDeadline(time.Time{})
	if _, err := io.WriteString(p, upgradeRequest); err != nil {
		return err
	}
	response, err := http.ReadResponse(p.in, nil)
	if err == nil && response.StatusCode != http.StatusSwitchingProtocols {
		err = errors.New("no upgrade: " + response.Status)
	}
	return err
}

const (
	finBit  = 0x80
	maskBit = 0x80

	opBinary = 0x2
	opClose  = 0x8

	lengthIn16 = 126
	lengthIn64 = 127
)

// clientFrame is a masked frame of a payload up to 64 KiB.
func clientFrame(first byte, payload []byte) []byte {
	mask := [4]byte{byte(len(payload)), 0xa5, 0x5a, 1}
	frame := []byte{first}
	if len(payload) < lengthIn16 {
		frame = append(frame, maskBit|byte(len(payload)))
	} else {
		frame = binary.BigEndian.AppendUint16(append(frame, maskBit|lengthIn16), uint16(len(payload)))
	}
	frame = append(frame, mask[:]...)
	for i, b := range payload {
		frame = append(frame, b^mask[i%4])
	}
	return frame
}

// readWebSocketMessage returns io.EOF for a close frame that gives no reason but an orderly end.
func readWebSocketMessage(in *bufio.Reader) (msg []byte, err error) {
	for {
		first, payload, err := readServerFrame(in)
		if err != nil {
			return nil, err
		}
		if first&0xf == opClose {
			return nil, closedWith(payload)
		}
		if msg = append(msg, payload...); first&finBit != 0 {
			return msg, nil
		}
	}
}

func closedWith(payload []byte) error {
	if len(payload) < 2 {
		return io.EOF
	}
	if code := binary.BigEndian.Uint16(payload); code != 1000 {
		return fmt.Errorf("closed with %d %s", code, payload[2:])
	}
	return io.EOF
}

func readServerFrame(in *bufio.Reader) (first byte, payload []byte, err error) {
	var header [2]byte
	if _, err = io.ReadFull(in, header[:]); err != nil {
		return 0, nil, err
	}
	var extended [8]byte
	length, size := uint64(header[1]), 0
	switch length {
	case lengthIn16:
		size = 2
	case lengthIn64:
		size = 8
	}
	if size > 0 {
		if _, err = io.ReadFull(in, extended[8-size:]); err != nil {
			return 0, nil, fmt.Errorf("inside a header: %w", err)
		}
		length = binary.BigEndian.Uint64(extended[:])
	}
	payload, err = readPayload(in, length)
	return header[0], payload, err
}
