package main

import (
	"encoding/binary"
	"io"

	"github.com/libnet-go/libnet"
)

// plainCodec is what a user writes who knows nothing of libnet's optional interfaces: two reads and
// two writes a message.
type plainCodec struct {
	rw      io.ReadWriter
	readLen [2]byte // Owned by Receive.
	sendLen [2]byte // Owned by Send.
}

var plainProtocol = libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec { return &plainCodec{rw: rw} })

func (c *plainCodec) Receive() ([]byte, error) {
	if _, err := io.ReadFull(c.rw, c.readLen[:]); err != nil {
		return nil, err
	}
	msg := make([]byte, binary.BigEndian.Uint16(c.readLen[:]))
	_, err := io.ReadFull(c.rw, msg)
	return msg, err
}

func (c *plainCodec) Send(msg any) error {
	body := msg.([]byte)
	binary.BigEndian.PutUint16(c.sendLen[:], uint16(len(body)))
	if _, err := c.rw.Write(c.sendLen[:]); err != nil {
		return err
	}
	_, err := c.rw.Write(body)
	return err
}

func (c *plainCodec) Close() error {
	if closer, ok := c.rw.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}
