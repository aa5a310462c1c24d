package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
)

// The benchmark's WebSocket client writes and compares bytes, as it does without WebSocket: a library's would cost more
// than the servers that are measured.

const upgradeRequest = "GET / HTTP/1.1\r\nHost: bench.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"

// upgrade makes a connection a WebSocket. Nothing comes behind the answer before something is sent.
func upgrade(conn io.ReadWriter) error {
	if _, err := io.WriteString(conn, upgradeRequest); err != nil {
		return err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("the server answered %s", response.Status)
	}
	return nil
}

const finBinary = 0x82

func appendServerFrame(dst, payload []byte) []byte {
	return append(appendFrameHeader(dst, len(payload), 0), payload...)
}

// appendClientFrame masks with a key of its own for each frame, as clients have to.
func appendClientFrame(dst, payload []byte) []byte {
	dst = appendFrameHeader(dst, len(payload), 0x80)
	key := [4]byte{0x5a, byte(len(dst)), 0xc3, byte(len(dst) >> 8)}
	dst = append(dst, key[:]...)
	for i, b := range payload {
		dst = append(dst, b^key[i%4])
	}
	return dst
}

func appendFrameHeader(dst []byte, n int, mask byte) []byte {
	if n < 126 {
		return append(dst, finBinary, mask|byte(n))
	}
	return binary.BigEndian.AppendUint16(append(dst, finBinary, mask|126), uint16(n))
}
