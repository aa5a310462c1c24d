package codec

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"sync"

	"github.com/libnet-go/libnet"
)

type jsonMarshaler struct{}

// JSON takes whatever encoding/json takes. It writes compact JSON without a line feed, so that it
// fits [Lines], and leaves <, > and & as they are. [json.RawMessage] is sent byte for byte as it is
// once it has been found valid.
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
	if v := reflect.ValueOf(msg); v.Kind() == reflect.Pointer && v.IsNil() {
		return dst, fmt.Errorf("%w: a nil %T", libnet.ErrEncode, msg)
	}
	e := jsonEncoders.Get().(*jsonEncoder)
	out, err := e.append(dst, msg, limit)
	jsonEncoders.Put(e)
	return out, err
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
		return dst, encodeError(err)
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
