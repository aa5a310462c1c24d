package codec_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
)

// Each row of the table in the package doc, with bytes as its protocol has them.
func TestTheTableOfThePackageDocSpeaksItsProtocols(t *testing.T) {
	big, little := binary.BigEndian, binary.LittleEndian
	duration := durationpb.New(5e9)
	body, _ := proto.Marshal(duration)
	var delimited bytes.Buffer
	if _, err := protodelim.MarshalTo(&delimited, duration); err != nil {
		t.Fatal(err)
	}
	record := strings.Repeat("\x47rec", 47)
	postgres := "Q\x00\x00\x00\x0dSELECT 1\x00"
	mysql := "\x05\x00\x00\x07hello"
	bgp := strings.Repeat("\xff", 16) + "\x00\x13\x04"
	packet := struct {
		Head string
		Body user
	}{"p/user", user{Name: "x"}}
	const linkPacket = `{"Head":"p/user","Body":{"name":"x"}}`
	for _, row := range []struct {
		name     string
		protocol libnet.Protocol
		message  any    // what is sent
		wire     string // is this
		payload  string // and is received as this
	}{
		{"FishChatServer2", codec.Protobuf(), duration, "\x00" + string(rune(len(body))) + string(body), string(body)},
		{"funny/link", codec.New(codec.Lines, codec.JSON), packet, linkPacket + "\n", linkPacket},
		{"funny/link, FixLen", codec.New(codec.Uint16LE, codec.JSON), packet, "\x25\x00" + linkPacket, linkPacket},
		{"Kafka", codec.New(codec.Uint32BE, codec.Bytes), "request", "\x00\x00\x00\x07request", "request"},
		{"DNS over TCP", codec.New(codec.Uint16BE, codec.Bytes), "query", "\x00\x05query", "query"},
		{"protobuf, delimited", codec.New(codec.Uvarint, codec.Proto), duration, delimited.String(), string(body)},
		{"MQTT-like", codec.New(codec.Uvarint, codec.Bytes).MaxMessage(268435455), strings.Repeat("m", 321), "\xc1\x02" + strings.Repeat("m", 321), strings.Repeat("m", 321)},
		{"JSON lines", codec.New(codec.Lines, codec.JSON), []int{1, 2}, "[1,2]\n", "[1,2]"},
		{"chat lines", codec.New(codec.Lines, codec.Bytes), "/join #go", "/join #go\n", "/join #go"},
		{"Redis", codec.New(codec.Delimiter("\r\n"), codec.Bytes), "+PONG", "+PONG\r\n", "+PONG"},
		{"STOMP", codec.New(codec.Delimiter("\x00"), codec.Bytes), "SEND\n\nhi", "SEND\n\nhi\x00", "SEND\n\nhi"},
		{"MPEG-TS", codec.New(codec.Fixed(188), codec.Bytes), record, record, record},
		{
			"a game", codec.New(codec.LengthField{Size: 2, Order: little, IncludesHeader: true, Strip: 2}, codec.Bytes),
			"move", "\x06\x00move", "move",
		},
		{"gRPC", codec.New(codec.LengthField{Offset: 1, Size: 4}, codec.Bytes), "\x01....zip", "\x01\x00\x00\x00\x03zip", "\x01\x00\x00\x00\x03zip"},
		{"PostgreSQL", codec.New(codec.LengthField{Offset: 1, Size: 4, Adjust: -4}, codec.Bytes), postgres, postgres, postgres},
		{"MySQL", codec.New(codec.LengthField{Size: 3, Order: little, Adjust: 1}, codec.Bytes), mysql, mysql, mysql},
		{"BGP", codec.New(codec.LengthField{Offset: 16, Size: 2, IncludesHeader: true}, codec.Bytes), bgp, bgp, bgp},
		// The examples that Netty's documentation of LengthFieldBasedFrameDecoder goes through.
		{"Netty 2, 0", codec.New(codec.LengthField{Size: 2}, codec.Bytes), "??HELLO, WORLD", "\x00\x0cHELLO, WORLD", "\x00\x0cHELLO, WORLD"},
		{"Netty 2, 2", codec.New(codec.LengthField{Size: 2, Strip: 2}, codec.Bytes), "HELLO, WORLD", "\x00\x0cHELLO, WORLD", "HELLO, WORLD"},
		{"Netty whole", codec.New(codec.LengthField{Size: 2, Adjust: -2}, codec.Bytes), "??HELLO, WORLD", "\x00\x0eHELLO, WORLD", "\x00\x0eHELLO, WORLD"},
		{"Netty 3 of 5", codec.New(codec.LengthField{Offset: 2, Size: 3}, codec.Bytes), "\xca\xfe???HELLO, WORLD", "\xca\xfe\x00\x00\x0cHELLO, WORLD", "\xca\xfe\x00\x00\x0cHELLO, WORLD"},
		{"Netty extra header", codec.New(codec.LengthField{Size: 3, Adjust: 2}, codec.Bytes), "???\xca\xfeHELLO, WORLD", "\x00\x00\x0c\xca\xfeHELLO, WORLD", "\x00\x00\x0c\xca\xfeHELLO, WORLD"},
		{"Netty prepender", codec.New(codec.LengthField{Size: 2, Order: big, IncludesHeader: true, Strip: 2}, codec.Bytes), "HELLO, WORLD", "\x00\x0eHELLO, WORLD", "HELLO, WORLD"},
	} {
		var wire bytes.Buffer
		sender := row.protocol.NewCodec(writing(&wire))
		if err := sender.Send(row.message); err != nil || wire.String() != row.wire {
			t.Errorf("%s: sent %q, %v, want %q", row.name, wire.String(), err, row.wire)
		}
		receiver := row.protocol.NewCodec(reading(strings.NewReader(row.wire + row.wire)))
		for range 2 {
			if got, err := receiver.Receive(); err != nil || string(got) != row.payload {
				t.Errorf("%s: received %q, %v, want %q", row.name, got, err, row.payload)
			}
		}
	}
}

// The last of Netty's examples strips the first byte and the length, and keeps the second header
// byte: what was stripped is sent as zeros.
func TestALengthFieldMayStripAPartOfItsHeader(t *testing.T) {
	protocol := codec.New(codec.LengthField{Offset: 1, Size: 2, Adjust: 1, Strip: 3}, codec.Bytes)
	c := pure(protocol)
	got, n, err := c.ParseFrame([]byte("\xca\x00\x0c\xfeHELLO, WORLD"))
	if err != nil || n != 16 || string(got) != "\xfeHELLO, WORLD" {
		t.Errorf("%q, %d, %v", got, n, err)
	}
	if frame := mustAppend(t, c, nil, got); string(frame) != "\x00\x00\x0c\xfeHELLO, WORLD" {
		t.Errorf("sent %q", frame)
	}
	whole := pure(codec.New(codec.LengthField{Offset: 1, Size: 2, Adjust: -3, Strip: 3}, codec.Bytes))
	if got, n, err := whole.ParseFrame([]byte("\xca\x00\x10\xfeHELLO, WORLD")); err != nil || n != 16 || string(got) != "\xfeHELLO, WORLD" {
		t.Errorf("with the length of the whole: %q, %d, %v", got, n, err)
	}
	inside := pure(codec.New(codec.LengthField{Size: 4, Strip: 2}, codec.Bytes))
	if frame := mustAppend(t, inside, nil, "??abc"); string(frame) != "\x00\x00\x00\x03abc" {
		t.Errorf("stripped inside the length field: %q", frame)
	}
}

func TestLinesTakeBothEndingsAndKeepOtherCarriageReturns(t *testing.T) {
	c := codec.New(codec.Lines, codec.Bytes).MaxMessage(5).NewCodec(reading(strings.NewReader("a\nb\r\n\n\r\nc\r\r\nd\re\n12345\r\n12345\n123456\n")))
	for _, want := range []string{"a", "b", "", "", "c\r", "d\re", "12345", "12345"} {
		if got, err := c.Receive(); err != nil || string(got) != want {
			t.Fatalf("%q, %v, want %q", got, err, want)
		}
	}
	if got, err := c.Receive(); !errors.Is(err, libnet.ErrFrameTooLarge) {
		t.Fatalf("%q, %v", got, err)
	}
}

func TestADelimiterMayBeginInsideTheBoundAndEndBehindIt(t *testing.T) {
	c := pure(codec.New(codec.Delimiter("<end>"), codec.Bytes).MaxMessage(8))
	for _, row := range []struct {
		src, payload string
		n            int
		want         error
	}{
		{"12345678", "", 0, nil},
		{"12345678<", "", 0, nil},
		{"12345678<end", "", 0, nil},
		{"12345678<end>", "12345678", 13, nil},
		{"1234567<end", "", 0, nil},
		{"12345678x", "", 0, libnet.ErrFrameTooLarge},
		{"12345678<x", "", 0, libnet.ErrFrameTooLarge},
		{"123456789<end>", "", 0, libnet.ErrFrameTooLarge},
		{"<end>", "", 5, nil},
	} {
		got, n, err := c.ParseFrame([]byte(row.src))
		if string(got) != row.payload || n != row.n || !errors.Is(err, row.want) {
			t.Errorf("%q: %q, %d, %v", row.src, got, n, err)
		}
	}
}

func TestADelimiterIsACopyOfWhatItWasMadeFrom(t *testing.T) {
	sep := []byte("--")
	framing := codec.Delimiter(sep)
	sep[0] = 'x'
	if frame, err := framing.AppendFrame(nil, []byte("a")); string(frame) != "a--" || err != nil {
		t.Errorf("%q, %v", frame, err)
	}
}

// What reaches a port by mistake is refused at once: 4-byte lengths read from it are huge.
func TestOtherProtocolsOnThePortAreRefused(t *testing.T) {
	for name, hello := range map[string]string{
		"HTTP": "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"TLS":  "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		"SSH":  "SSH-2.0-OpenSSH_9.6\r\n",
	} {
		c := codec.New(codec.Uint32BE, codec.Bytes).NewCodec(reading(strings.NewReader(hello)))
		if _, err := c.Receive(); !errors.Is(err, libnet.ErrFrameTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A million empty messages cost what they bring and end where they end.
func TestEmptyFramesAreEmptyMessages(t *testing.T) {
	c := codec.New(codec.Uint16BE, codec.Bytes).NewCodec(reading(io.LimitReader(zeros{}, 2_000_000)))
	for i := range 1_000_000 {
		if msg, err := c.Receive(); err != nil || msg == nil || len(msg) != 0 {
			t.Fatalf("message %d: %v, %v", i, msg, err)
		}
	}
	if _, err := c.Receive(); err != io.EOF {
		t.Fatal(err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestAJSONProtocolEchoesARawMessage(t *testing.T) {
	var wire bytes.Buffer
	c := codec.New(codec.Lines, codec.JSON).NewCodec(&wire)
	wire.WriteString(`{"in": "<this>"}` + "\n")
	msg, err := c.Receive()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Send(json.RawMessage(msg)); err != nil || wire.String() != `{"in": "<this>"}`+"\n" {
		t.Errorf("%q, %v", wire.String(), err)
	}
}
