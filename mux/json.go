package mux

import (
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/libnet-go/libnet"
)

// JSON is the envelope that a browser reads and writes without a library:
//
//	{"type":"say","data":{…}}             a message that asks for no reply
//	{"type":"say","id":7,"data":{…}}      a request
//	{"type":"say","reply":7,"data":{…}}   its reply
//	{"type":"say","reply":7,"error":{"code":404,"text":"…"}}
//
// Members may come in any order, others are not looked at, and of several with the same name the last one counts. Ids
// are whole numbers; 0 is none. Bodies are encoding/json's, with the rules of [codec.JSON].
var JSON Envelope = jsonEnvelope{}

type jsonEnvelope struct{}

func (jsonEnvelope) Append(dst []byte, h Header, body any) ([]byte, error) {
	if h.Kind == "" && h.Role != Failure {
		return dst, fmt.Errorf("%w: a message without a kind", libnet.ErrEncode)
	}
	out := appendString(append(dst, `{"type":`...), string(h.Kind))
	switch {
	case h.ID != 0 && h.Role == Ask:
		out = strconv.AppendUint(append(out, `,"id":`...), h.ID, 10)
	case h.ID != 0:
		out = strconv.AppendUint(append(out, `,"reply":`...), h.ID, 10)
	}
	if body == nil {
		return append(out, '}'), nil
	}
	member := `,"data":`
	if h.Role == Failure {
		member = `,"error":`
	}
	out, err := appendBody(dst, append(out, member...), JSONBody, body)
	if err != nil {
		return dst, err
	}
	return append(out, '}'), nil
}

// appendString appends a string in quotes.
func appendString(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			quoted, _ := json.Marshal(s) // a string always can be
			return append(dst, quoted...)
		}
	}
	return append(append(append(dst, '"'), s...), '"')
}

func (jsonEnvelope) Open(kinds *Kinds, msg []byte) (h Header, body []byte, ok bool) {
	m, ok := openJSON(msg)
	id, reply := jsonID(m.id), jsonID(m.reply)
	switch {
	case !ok || !id.ok || !reply.ok:
		return h, nil, false
	case m.failure != nil:
		if name, ok := jsonString(m.kind); ok && reply.n == 0 {
			h = Header{Kind: kinds.Named(name).Kind}
		}
		h.ID, h.Role = reply.n, Failure
		return h, m.failure, true
	case reply.n != 0:
		return Header{Role: Reply, ID: reply.n}, m.data, true
	}
	name, ok := jsonString(m.kind)
	if !ok || len(name) == 0 {
		return h, nil, false
	}
	h = kinds.Named(name)
	h.ID = id.n
	return h, m.data, true
}

// A jsonNumber is what an id's member says.
type jsonNumber struct {
	n  uint64
	ok bool
}

// jsonID reads an id: a whole number, or what is absent.
func jsonID(value []byte) jsonNumber {
	if value == nil {
		return jsonNumber{ok: true}
	}
	n, ok := Kind(value).Number()
	return jsonNumber{n, ok}
}

// jsonString is the string that a valid value is.
func jsonString(value []byte) (s []byte, ok bool) {
	if len(value) < 2 || value[0] != '"' {
		return nil, false
	}
	inner := value[1 : len(value)-1]
	for _, c := range inner {
		if c == '\\' || c >= utf8.RuneSelf {
			var s string
			err := json.Unmarshal(value, &s)
			return []byte(s), err == nil
		}
	}
	return inner, true
}

func (jsonEnvelope) Unmarshal(body []byte, into any) error {
	if len(body) == 0 {
		return nil // absent: the zero value
	}
	return JSONBody.Unmarshal(body, into)
}
