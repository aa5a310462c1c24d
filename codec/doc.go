// Package codec holds ready-made protocols for libnet: a framing, which says where a message ends on
// the wire, and a marshaler, which says what a message is in Go.
//
//	protocol := codec.New(codec.Uint32BE, codec.JSON).MaxMessage(64 << 10)
//	server, err := libnet.Serve("tcp", ":7000", protocol, 128)
//	if err != nil {
//		return err
//	}
//	return server.Serve(libnet.HandlerFunc(func(s *libnet.Session) {
//		for {
//			msg, err := s.Receive() // one message, without its header
//			if err != nil {
//				return
//			}
//			s.Send(json.RawMessage(msg)) // one frame
//		}
//	}))
//
// # Your protocol, and the line to write
//
// Where a line ends in m, it goes with any marshaler.
//
//	FishChatServer2, the original libnet   Protobuf()
//	funny/link, Json()                     New(Lines, JSON), of a struct with link's Head and Body
//	funny/link, FixLen(Json(), 2, …)       New(Uint16LE, JSON) of the same, or Uint16BE: the order it was given
//	Kafka, Thrift framed: 4 bytes          New(Uint32BE, m)
//	DNS over TCP                           New(Uint16BE, Bytes)
//	Protocol Buffers, delimited stream     New(Uvarint, Proto)
//	MQTT-like varint                       New(Uvarint, m).MaxMessage(268435455)
//	JSON lines                             New(Lines, JSON)
//	telnet, chat lines                     New(Lines, Bytes)
//	Redis, SMTP and memcached lines        New(Delimiter("\r\n"), Bytes)
//	zero-terminated: STOMP, XMLSocket      New(Delimiter("\x00"), Bytes)
//	records of one size: MPEG-TS           New(Fixed(188), Bytes)
//	game: 2 bytes LE that count themselves New(LengthField{Size: 2, Order: binary.LittleEndian,
//	                                           IncludesHeader: true, Strip: 2}, m)
//	gRPC message: flag, then 4 bytes       New(LengthField{Offset: 1, Size: 4}, Bytes)
//	PostgreSQL: type, 4 bytes with itself  New(LengthField{Offset: 1, Size: 4, Adjust: -4}, Bytes)
//	MySQL: 3 bytes LE, number, payload     New(LengthField{Size: 3, Order: binary.LittleEndian,
//	                                           Adjust: 1}, Bytes)
//	BGP: marker, 2 bytes for the whole     New(LengthField{Offset: 16, Size: 2,
//	                                           IncludesHeader: true}, Bytes)
//	Netty, LengthFieldBasedFrameDecoder(   New(LengthField{Offset: o, Size: s, Adjust: a,
//	    max, o, s, a, strip)                   Strip: strip}, m).MaxMessage(max - strip)
//	Netty, LengthFieldPrepender(2, true)   New(LengthField{Size: 2, IncludesHeader: true, Strip: 2}, m)
//	anything else                          New(a Framing of yours, a Marshaler of yours)
//
// A [LengthField] with Strip 0 hands out the header with the message: where the header holds more
// than the length (gRPC's flag, PostgreSQL's type), that is where to find it, and to send it.
//
// # What holds for all of them
//
//   - A codec works on any io.ReadWriter, with or without a session, and allocates nothing to encode
//     or to find a frame with [Bytes] and [Proto]. (A message of the older protobuf package costs
//     16 bytes, for the wrapper that protobuf-go puts around it; one with a Marshal of its own what that costs.)
//   - A frame's memory grows with the bytes that have arrived, never with the length that was claimed.
//   - A frame of length 0 is a message of length 0.
//   - A message that arrives in many small pieces is not searched from its start with each of them.
//   - Bytes that are handed to you end where they end: an append to them overwrites nothing.
//   - An error of Send is the sender's: it wraps libnet.ErrEncode or libnet.ErrFrameTooLarge, nothing
//     of the message was written, and the next one can be sent.
//   - An error of Receive is the end: io.EOF between two frames, io.ErrUnexpectedEOF inside one,
//     or one that wraps libnet.ErrFrameTooLarge or libnet.ErrMalformedFrame.
//   - No error holds a part of what a peer sent.
//
// # What is refused
//
//   - Sending or receiving a message over the bound, see [Composed.MaxMessage]. A length is refused
//     when its header is complete, a missing delimiter as soon as the bound is passed.
//   - A message that would arrive as another: one that contains its delimiter, or has not the fixed size.
//   - nil, nil pointers, and messages of a type that the marshaler does not know or would not send whole.
//   - A framing or marshaler of yours that answers what cannot be: what it returned is not sent.
//   - Guessing where the next frame begins after one that makes no sense.
//
// There is no compression, no checksum and no encryption here: the first two can be a [Framing] or a
// [Marshaler] of yours, the last is TLS.
package codec
