package codec

import (
	"encoding"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"sync"

	"github.com/libnet-go/libnet"
)

type jsonMarshaler struct{}

// JSON takes whatever encoding/json takes, but for bytes. It writes compact JSON without a line feed, so
// that it fits [Lines], and leaves <, > and & as they are. [json.RawMessage] is sent byte for byte as it is
// once it has been found valid.
//
// A message that is a []byte, or a pointer to one, is an error: encoding/json would make a string of
// base64 of it, which is seldom meant. Bytes that are JSON already, as a received message is, are sent as
// json.RawMessage(msg), text as string(msg). Bytes within a message become base64, and a string's bytes
// that are no UTF-8 become U+FFFD, as encoding/json has it.
//
// A nil pointer, and anything else that would become the JSON null, is an error: the peer would
// unmarshal it into nothing. To send a null all the same, send json.RawMessage("null").
var JSON jsonMarshaler

func (m jsonMarshaler) AppendMarshal(dst []byte, msg any) ([]byte, error) {
	return m.appendMax(dst, msg, math.MaxInt)
}

func (jsonMarshaler) appendMax(dst []byte, msg any, limit int) ([]byte, error) {
	switch m := msg.(type) {
	case nil:
		return dst, errNil
	case json.RawMessage:
		return appendRaw(dst, m, limit)
	case *json.RawMessage:
		if m != nil {
			return appendRaw(dst, *m, limit)
		}
	}
	switch v := reflect.ValueOf(msg); v.Kind() {
	case reflect.Pointer, reflect.Slice:
		if err := refuseJSON(v); err != nil {
			return dst, err
		}
	}
	e := jsonEncoders.Get().(*jsonEncoder)
	out, err := e.append(dst, msg, limit)
	jsonEncoders.Put(e)
	return out, err
}

// refuseJSON says why a pointer or a slice is not sent.
func refuseJSON(v reflect.Value) error {
	if v.IsNil() {
		return fmt.Errorf("%w: a nil %v", libnet.ErrEncode, v.Type())
	}
	if wouldBeBase64(v) {
		return fmt.Errorf("%w: JSON takes bytes as json.RawMessage or as string, not as %v", libnet.ErrEncode, v.Type())
	}
	return nil
}

// maxPointers is how many pointers before its bytes a message is followed through: they may form a ring.
const maxPointers = 8

// wouldBeBase64 reports whether encoding/json takes v for bytes.
func wouldBeBase64(v reflect.Value) bool {
	for range maxPointers {
		if v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
			v = v.Elem()
		}
	}
	if v.Kind() != reflect.Slice || v.Type().Elem().Kind() != reflect.Uint8 {
		return false
	}
	return !encodesItself(v.Type(), v.CanAddr()) && !encodesItself(v.Type().Elem(), true)
}

func encodesItself(t reflect.Type, addressable bool) bool {
	if addressable {
		t = reflect.PointerTo(t)
	}
	return t.Implements(reflect.TypeFor[json.Marshaler]()) || t.Implements(reflect.TypeFor[encoding.TextMarshaler]())
}

func appendRaw(dst []byte, raw json.RawMessage, limit int) ([]byte, error) {
	if len(raw) > limit {
		return dst, tooLarge(uint64(len(raw)), limit)
	}
	if !json.Valid(raw) {
		return dst, fmt.Errorf("%w: a json.RawMessage that is not valid JSON", libnet.ErrEncode)
	}
	return append(dst, raw...), nil
}

// jsonEncoder is a json.Encoder whose output goes behind dst. The encoder is kept because it is the
// only door to encoding/json without HTML escaping.
type jsonEncoder struct {
	encoder *json.Encoder
	dst     []byte
	max     int
	err     error
}

var jsonEncoders = sync.Pool{New: func() any {
	e := &jsonEncoder{}
	e.encoder = json.NewEncoder(e)
	e.encoder.SetEscapeHTML(false)
	return e
}}

func (e *jsonEncoder) append(dst []byte, msg any, limit int) ([]byte, error) {
	e.dst, e.max, e.err = dst, limit, nil
	err := e.encoder.Encode(msg)
	out := e.dst
	e.dst = nil
	switch {
	case err != nil:
		return dst, encodeError(sound(err)) // it may wrap one of a MarshalJSON
	case e.err != nil:
		return dst, e.err
	}
	return out, nil
}

// Write is called once a message, with the line feed that ends it. It answers no error: the encoder
// would never work again.
func (e *jsonEncoder) Write(p []byte) (int, error) {
	text := p[:len(p)-1]
	switch {
	case string(text) == "null":
		e.err = errNil
	case len(text) > e.max:
		e.err = tooLarge(uint64(len(text)), e.max)
	default:
		e.dst = append(e.dst, text...)
	}
	return len(p), nil
}
