package codec_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
)

func Example() {
	protocol := codec.New(codec.Uint32BE, codec.JSON).MaxMessage(64 << 10)
	server, err := libnet.Serve("tcp", "127.0.0.1:0", protocol, 128)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Stop()
	go server.Serve(libnet.HandlerFunc(func(s *libnet.Session) {
		for {
			msg, err := s.Receive() // one message, without its header
			if err != nil {
				return
			}
			s.Send(json.RawMessage(msg)) // one frame
		}
	}))

	client, err := libnet.Connect("tcp", server.Listener().Addr().String(), protocol, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	client.Send(map[string]int{"answer": 42})
	reply, err := client.Receive()
	fmt.Printf("%s %v\n", reply, err)
	// Output: {"answer":42} <nil>
}

// A codec is of use without a session, too: on any connection.
func Example_withoutASession() {
	near, far := net.Pipe()
	protocol := codec.New(codec.Uint32BE, codec.JSON).MaxMessage(64 << 10)

	go func() {
		c := protocol.NewCodec(far)
		defer c.Close()
		for {
			msg, err := c.Receive()
			if err != nil {
				return
			}
			c.Send(json.RawMessage(msg))
		}
	}()

	c := protocol.NewCodec(near)
	c.Send(map[string]int{"answer": 42})
	reply, err := c.Receive()
	fmt.Printf("%s %v\n", reply, err)
	c.Close()
	// Output: {"answer":42} <nil>
}

func ExampleNew() {
	var wire bytes.Buffer
	c := codec.New(codec.Lines, codec.Bytes).NewCodec(&wire)
	c.Send("hello")
	c.Send([]byte("world"))
	fmt.Printf("%q\n", wire.String())
	for {
		msg, err := c.Receive()
		if err == io.EOF {
			break
		}
		fmt.Printf("%s\n", msg)
	}
	// Output:
	// "hello\nworld\n"
	// hello
	// world
}

func ExampleProtobuf() {
	var wire bytes.Buffer
	c := codec.Protobuf().NewCodec(&wire)
	c.Send(durationpb.New(1e9))
	fmt.Printf("% x\n", wire.Bytes())

	payload, err := c.Receive()
	var d durationpb.Duration
	fmt.Println(err, proto.Unmarshal(payload, &d), d.AsDuration())
	// Output:
	// 00 02 08 01
	// <nil> <nil> 1s
}

func ExampleComposed_MaxMessage() {
	protocol := codec.New(codec.Uint32BE, codec.Bytes).MaxMessage(5)

	var wire bytes.Buffer
	c := protocol.NewCodec(&wire)
	err := c.Send("too long")
	fmt.Println(err, errors.Is(err, libnet.ErrFrameTooLarge), wire.Len())

	wire.WriteString("\xff\xff\xff\xffGET /")
	_, err = c.Receive()
	fmt.Println(err)
	// Output:
	// libnet: frame too large: 8 bytes, limit 5 true 0
	// libnet: frame too large: 4294967295 bytes, limit 5
}

// A game's packets begin with their whole length and an opcode, in 2 bytes each, little-endian. The
// message is the opcode and what follows.
func ExampleLengthField() {
	packets := codec.LengthField{Size: 2, Order: binary.LittleEndian, IncludesHeader: true, Strip: 2}
	var wire bytes.Buffer
	c := codec.New(packets, codec.Bytes).NewCodec(&wire)
	c.Send("\x07\x00jump")
	fmt.Printf("%q\n", wire.String())
	msg, err := c.Receive()
	fmt.Printf("%q %v\n", msg, err)
	// Output:
	// "\b\x00\a\x00jump"
	// "\a\x00jump" <nil>
}

// With Strip 0 the header belongs to the message. The sender leaves room for the length.
func ExampleLengthField_header() {
	postgres := codec.LengthField{Offset: 1, Size: 4, Adjust: -4}
	var wire bytes.Buffer
	c := codec.New(postgres, codec.Bytes).NewCodec(&wire)
	c.Send("Q....SELECT 1\x00")
	msg, err := c.Receive()
	fmt.Printf("%q %v\n", msg, err)
	// Output: "Q\x00\x00\x00\rSELECT 1\x00" <nil>
}

func ExampleDelimiter() {
	var wire bytes.Buffer
	c := codec.New(codec.Delimiter("\r\n"), codec.Bytes).NewCodec(&wire)
	fmt.Println(c.Send("two\r\nlines"))
	c.Send("+PONG")
	fmt.Printf("%q\n", wire.String())
	// Output:
	// libnet: message cannot be encoded: a message that contains its delimiter
	// "+PONG\r\n"
}

func ExampleFixed() {
	wire := bytes.NewBufferString("onetwosixte")
	c := codec.New(codec.Fixed(3), codec.Bytes).NewCodec(wire)
	for {
		msg, err := c.Receive()
		if err != nil {
			fmt.Println(err)
			break
		}
		fmt.Printf("%s\n", msg)
	}
	fmt.Println(c.Send("four"))
	// Output:
	// one
	// two
	// six
	// unexpected EOF
	// libnet: message cannot be encoded: libnet: frame too large: 4 bytes, limit 3
}
