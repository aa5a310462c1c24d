package mux_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/mux"
)

// fish is a message in the manner of FishChatServer2's, which has its command in field 1, a code in field 2 and a text
// in field 3.
type fish struct {
	Cmd, Code uint32
	Text      string
}

func (f *fish) Marshal() (b []byte, err error) {
	if f.Cmd != 0 {
		b = protowire.AppendVarint(protowire.AppendTag(b, 1, protowire.VarintType), uint64(f.Cmd))
	}
	if f.Code != 0 {
		b = protowire.AppendVarint(protowire.AppendTag(b, 2, protowire.VarintType), uint64(f.Code))
	}
	if f.Text != "" {
		b = protowire.AppendString(protowire.AppendTag(b, 3, protowire.BytesType), f.Text)
	}
	return b, nil
}

func (f *fish) Unmarshal(b []byte) error {
	for len(b) > 0 {
		field, t, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		m := protowire.ConsumeFieldValue(field, t, b[n:])
		if m < 0 {
			return protowire.ParseError(m)
		}
		v, _ := protowire.ConsumeVarint(b[n:])
		switch field {
		case 1:
			f.Cmd = uint32(v)
		case 2:
			f.Code = uint32(v)
		case 3:
			text, _ := protowire.ConsumeString(b[n:])
			f.Text = text
		}
		b = b[n+m:]
	}
	return nil
}

func (*fish) Reset()         {}
func (*fish) String() string { return "fish" }
func (*fish) ProtoMessage()  {}

// What is on the wire is what other programs speak: it may not change.
func TestTheBytesOfTheEnvelopes(t *testing.T) {
	compact, web, proto := mux.Binary(mux.BinaryBody), mux.JSON, mux.Proto(90001)
	ping, say := mux.Number(20002), mux.Kind("say")
	for _, c := range []struct {
		envelope mux.Envelope
		header   mux.Header
		body     any
		want     string
	}{
		{compact, mux.Header{Kind: "5"}, nil, "\x05\x00"},
		{compact, mux.Header{Kind: "300", ID: 3}, &num{1}, "\xac\x02\x0c\x00\x00\x00\x00\x00\x00\x00\x01"},
		{compact, mux.Header{Kind: "5", ID: 100, Role: mux.Reply}, nil, "\x05\x91\x03"},
		{compact, mux.Header{Kind: "5", ID: 1, Role: mux.Failure}, &mux.Error{Code: 404, Text: "no"}, "\x05\x06\x94\x03no"},
		{mux.Binary(mux.JSONBody), mux.Header{Kind: "5", ID: 1}, &num{1}, "\x05\x04" + `{"N":1}`},
		{web, mux.Header{Kind: say}, nil, `{"type":"say"}`},
		{web, mux.Header{Kind: say}, &num{1}, `{"type":"say","data":{"N":1}}`},
		{web, mux.Header{Kind: say, ID: 7}, &num{1}, `{"type":"say","id":7,"data":{"N":1}}`},
		{web, mux.Header{Kind: say, ID: 7, Role: mux.Reply}, &num{1}, `{"type":"say","reply":7,"data":{"N":1}}`},
		{web, mux.Header{Kind: say, ID: 7, Role: mux.Reply}, nil, `{"type":"say","reply":7}`},
		{web, mux.Header{Kind: say, ID: 7, Role: mux.Failure}, &mux.Error{Code: 4, Text: "a\nb"}, `{"type":"say","reply":7,"error":{"code":4,"text":"a\nb"}}`},
		{web, mux.Header{Kind: say, Role: mux.Failure}, &mux.Error{Code: 4}, `{"type":"say","error":{"code":4,"text":""}}`},
		{web, mux.Header{Kind: "a\"ü\xff"}, nil, `{"type":"a\"ü\ufffd"}`},
		{proto, mux.Header{Kind: ping}, &fish{Cmd: 20002, Text: "x"}, "\x08\xa2\x9c\x01\x1a\x01x"},
		{proto, mux.Header{Kind: ping, ID: 9, Role: mux.Reply}, &fish{Cmd: 20002, Code: 1}, "\x08\xa2\x9c\x01\x10\x01"},
		{proto, mux.Header{Kind: ping}, &fish{Text: "x"}, "\x08\xa2\x9c\x01\x1a\x01x"},
		{proto, mux.Header{Kind: ping}, wrapperspb.UInt32(20002), "\x08\xa2\x9c\x01"},
		{proto, mux.Header{Kind: ping}, nil, "\x08\xa2\x9c\x01"},
		{proto, mux.Header{Kind: ping, Role: mux.Failure}, &mux.Error{Code: 93001, Text: "no\xff"}, "\x08\x91\xbf\x05\x10\xc9\xd6\x05\x1a\x05no\xef\xbf\xbd"},
	} {
		name := fmt.Sprintf("%T %+v", c.envelope, c.header)
		got, err := c.envelope.Append([]byte("before"), c.header, c.body)
		if err != nil || string(got) != "before"+c.want {
			t.Errorf("%s: %q, %v, want %q", name, got, err, c.want)
			continue
		}
		h, body, ok := c.envelope.Open(new(mux.Kinds), []byte(c.want))
		if _, ordered := c.envelope.(mux.OrderedEnvelope); ordered && c.header.Role != mux.Failure {
			c.header.ID, c.header.Role = 0, mux.Ask // are not on the wire
		}
		if !ok || h.ID != c.header.ID || h.Role != c.header.Role || h.Role == mux.Ask && h.Kind != mux.Kind(strings.ToValidUTF8(string(c.header.Kind), "\ufffd")) {
			t.Errorf("%s is read as %+v, %v", name, h, ok)
		}
		if want, ok := c.body.(*mux.Error); ok {
			got := new(mux.Error)
			if err := c.envelope.Unmarshal(body, got); err != nil || got.Code != want.Code || got.Text != strings.ToValidUTF8(want.Text, "\ufffd") {
				t.Errorf("%s: the error is read as %+v, %v", name, got, err)
			}
		}
	}
}

func TestWhatAnEnvelopeCannotCarryIsAnErrorOfEncoding(t *testing.T) {
	for _, c := range []struct {
		envelope mux.Envelope
		kind     mux.Kind
		body     any
	}{
		{mux.Binary(mux.BinaryBody), "say", nil},
		{mux.Binary(mux.BinaryBody), "5", "no BinaryAppender"},
		{mux.Binary(mux.JSONBody), "5", []byte("bytes")},
		{mux.JSON, "", nil},
		{mux.JSON, "say", func() {}},
		{mux.Proto(90001), "say", nil},
		{mux.Proto(90001), "0", nil},
		{mux.Proto(90001), "90001", nil},
		{mux.Proto(90001), "4294967296", nil},
		{mux.Proto(90001), "20002", &fish{Cmd: 20003}},
		{mux.Proto(90001), "20002", &num{}},
	} {
		got, err := c.envelope.Append([]byte("before"), mux.Header{Kind: c.kind}, c.body)
		if !errors.Is(err, libnet.ErrEncode) && c.kind != "5" && c.kind != "say" || err == nil || string(got) != "before" {
			t.Errorf("%T, kind %q, %T: %q, %v", c.envelope, c.kind, c.body, got, err)
		}
	}
}

func TestHowABrowserMayWriteTheJSONEnvelope(t *testing.T) {
	for msg, want := range map[string]mux.Header{
		` { "data" : {"type":"no","a":[1,{"b":"}\""}]} , "id" : 7 , "type" : "say" } `: {Kind: "say", ID: 7},
		`{"type":"say","more":[[],{}],"x":"\\","data":null}`:                           {Kind: "say"},
		`{"type":"s\u0061y","id":0}`:                                                   {Kind: "say"},
		`{"type":"no","type":"say"}`:                                                   {Kind: "say"},
		`{"type":"say","id":null,"reply":null,"error":null}`:                           {Kind: "say"},
		`{"reply":7}`:                          {ID: 7, Role: mux.Reply},
		`{"reply":7,"error":{"code":1}}`:       {ID: 7, Role: mux.Failure},
		`{"type":"` + long(100) + `"}`:         {Kind: mux.Kind(long(64))},
		`{"type":"say","id":9007199254740991}`: {Kind: "say", ID: 1<<53 - 1},
	} {
		got, _, ok := mux.JSON.Open(new(mux.Kinds), []byte(msg))
		if !ok || got != want {
			t.Errorf("%s: %+v, %v, want %+v", msg, got, ok, want)
		}
	}
	for _, msg := range []string{
		``, ` `, `{`, `[]`, `"type"`, `1`, `null`, `{}`, `{"type":""}`, `{"type":1}`, `{"type":"say"}{}`, `{"type":"say",}`,
		`{"type":"say","id":-1}`, `{"type":"say","id":1.5}`, `{"type":"say","id":"1"}`, `{"type":"say","id":1e3}`,
		`{"type":"say","id":18446744073709551616}`, `{"reply":true}`, `{"TYPE":"say"}`, "{\"type\":\"say\x00\"}",
	} {
		if h, _, ok := mux.JSON.Open(new(mux.Kinds), []byte(msg)); ok {
			t.Errorf("%s: %+v", msg, h)
		}
	}
}

func long(n int) string { return strings.Repeat("x", n) }

func TestWhatIsNoEnvelopeIsMalformed(t *testing.T) {
	for msg, envelope := range map[string]mux.Envelope{
		"":                                    mux.Binary(mux.BinaryBody),
		"\x05":                                mux.Binary(mux.BinaryBody),
		"\x05\x80":                            mux.Binary(mux.BinaryBody),
		"\x05\x01":                            mux.Binary(mux.BinaryBody), // a reply to no id
		"\x05\x07":                            mux.Binary(mux.BinaryBody), // no role
		strings.Repeat("\x80", 11):            mux.Binary(mux.BinaryBody),
		"\x08":                                mux.Proto(90001),
		"\x10\x01":                            mux.Proto(90001), // no field 1
		"\x08\x00":                            mux.Proto(90001),
		"\x08\x80\x80\x80\x80\x10":            mux.Proto(90001), // 0 when it is cut to 32 bits
		"\x0a\x01x":                           mux.Proto(90001), // field 1 is a string
		"\x08\xa2\x9c\x01\x1a\x05x":           mux.Proto(90001),
		"\x08\xa2\x9c\x01" + long(3) + "\xff": mux.Proto(90001),
	} {
		if h, _, ok := envelope.Open(new(mux.Kinds), []byte(msg)); ok {
			t.Errorf("%T, %q: %+v", envelope, msg, h)
		}
	}
}

// FuzzBinary, FuzzJSON and FuzzProto: whatever a peer sends is malformed, or a message that is read again when it is
// written.

func FuzzBinary(f *testing.F) {
	f.Add([]byte("\x05\x0c\x00\x00\x00\x00\x00\x00\x00\x01"))
	f.Add([]byte("\x05\x06\x94\x03no"))
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x01"))
	f.Add([]byte("\x80\x00\x80\x00"))
	envelope := mux.Binary(rawBody{})
	f.Fuzz(func(t *testing.T, msg []byte) {
		h, body, ok := opened(t, envelope, msg)
		if !ok {
			return
		}
		if h.Role == mux.Ask {
			again(t, envelope, h, body)
		}
	})
}

func FuzzJSON(f *testing.F) {
	f.Add([]byte(`{"type":"say","id":7,"data":{"a":[1,"}"]}}`))
	f.Add([]byte(`{"reply":7,"error":{"code":404,"text":"no"}}`))
	f.Add([]byte(` {"type" : "s\u0061y\ud83d","type":"\"", "x":null } `))
	f.Add([]byte(`{"id":1e0,"type":[{}]}`))
	f.Fuzz(func(t *testing.T, msg []byte) {
		h, body, ok := opened(t, mux.JSON, msg)
		var members map[string]json.RawMessage
		if err := json.Unmarshal(msg, &members); err != nil || members == nil {
			if ok {
				t.Fatalf("%q is no JSON object, and was read as %+v", msg, h)
			}
			return
		}
		if !ok {
			return
		}
		data := members["data"]
		if h.Role == mux.Failure {
			data = members["error"]
		}
		if string(data) == "null" {
			data = nil
		}
		if string(body) != string(data) {
			t.Fatalf("%q has the body %q, and not %q", msg, body, data)
		}
		if h.Role != mux.Ask {
			return
		}
		var kind string
		if err := json.Unmarshal(members["type"], &kind); err != nil || len(kind) <= 64 && h.Kind != mux.Kind(kind) {
			t.Fatalf("%q has the kind %q, and not %q, %v", msg, h.Kind, kind, err)
		}
		again(t, mux.JSON, h, body)
	})
}

func FuzzProto(f *testing.F) {
	f.Add([]byte("\x08\xa2\x9c\x01\x1a\x01x"))
	f.Add([]byte("\x08\x91\xbf\x05\x10\xc9\xd6\x05\x1a\x02no"))
	f.Add([]byte("\x0a\x01x\x08\x05\x08\x06"))
	f.Add([]byte("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	envelope := mux.Proto(90001)
	f.Fuzz(func(t *testing.T, msg []byte) {
		h, body, ok := opened(t, envelope, msg)
		if !ok {
			return
		}
		if string(body) != string(msg) {
			t.Fatalf("%q has the body %q", msg, body)
		}
		seen := new(wrapperspb.UInt32Value) // as protobuf itself sees field 1
		if err := envelope.Unmarshal(msg, seen); err == nil && h.Role == mux.Ask && h.Kind != mux.Number(uint64(seen.Value)) {
			t.Fatalf("%q has the kind %q, and its message has %d", msg, h.Kind, seen.Value)
		}
	})
}

// opened takes a message apart, and decodes the error of a failure.
func opened(t *testing.T, e mux.Envelope, msg []byte) (h mux.Header, body []byte, ok bool) {
	h, body, ok = e.Open(new(mux.Kinds), msg)
	switch {
	case !ok:
	case h.Role == mux.Ask && h.Kind == "", h.Role > mux.Failure, h.Role == mux.Reply && h.ID == 0:
		t.Fatalf("%q is read as %+v", msg, h)
	case h.Role == mux.Failure:
		_ = e.Unmarshal(body, new(mux.Error))
	}
	return h, body, ok
}

// again writes what was read, and reads it.
func again(t *testing.T, e mux.Envelope, h mux.Header, body []byte) {
	var content any
	if len(body) > 0 {
		content = json.RawMessage(body)
	}
	msg, err := e.Append(nil, h, content)
	if err != nil {
		t.Fatalf("%+v %q cannot be written: %v", h, body, err)
	}
	h2, body2, ok := e.Open(new(mux.Kinds), msg)
	if !ok || h2 != h || string(body2) != string(body) {
		t.Fatalf("%+v %q is written as %q and read as %+v %q, %v", h, body, msg, h2, body2, ok)
	}
}

// rawBody takes bytes as they are.
type rawBody struct{}

func (rawBody) AppendMarshal(dst []byte, body any) ([]byte, error) {
	return append(dst, body.(json.RawMessage)...), nil
}

func (rawBody) Unmarshal(data []byte, into any) error { return nil }

func TestTheBinaryEnvelopeRefusesWhatItCannotCarry(t *testing.T) {
	e := mux.Binary(mux.JSONBody)
	for _, h := range []mux.Header{{ID: 1 << 62}, {ID: 1<<64 - 1}, {Role: mux.Failure + 1}, {Role: 255}} {
		h.Kind = mux.Number(1)
		if out, err := e.Append([]byte("before"), h, nil); !errors.Is(err, libnet.ErrEncode) || string(out) != "before" {
			t.Errorf("Append of %+v = %q, %v; want ErrEncode", h, out, err)
		}
	}
	if _, err := e.Append(nil, mux.Header{Kind: mux.Number(1), ID: 1<<62 - 1}, nil); err != nil {
		t.Error(err)
	}
}
