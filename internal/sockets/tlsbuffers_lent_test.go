//go:build lendtlsbuffers && linux

package sockets

import (
	"bytes"
	"crypto/tls"
	"net"
	"reflect"
	"testing"
)

// Crypto/tls of another Go may have other fields: then a connection costs more, and this says so.
func TestTheFieldsOfThisGosCryptoTLSAreFound(t *testing.T) {
	if !LendsTLSBuffers() {
		t.Errorf("rawInput, input and hand are not those of %v as they are known", reflect.TypeFor[tls.Conn]())
	}
}

func TestFieldsThatDifferAreNotUsed(t *testing.T) {
	for name, conn := range map[string]reflect.Type{
		"none": reflect.TypeFor[struct{ in []byte }](),
		"raw is missing": reflect.TypeFor[struct {
			hand  bytes.Buffer
			input bytes.Reader
		}](),
		"hand is missing": reflect.TypeFor[struct {
			rawInput bytes.Buffer
			input    bytes.Reader
		}](),
		"input is missing": reflect.TypeFor[struct{ rawInput, hand bytes.Buffer }](),
		"raw is a pointer": reflect.TypeFor[struct {
			rawInput *bytes.Buffer
			hand     bytes.Buffer
			input    bytes.Reader
		}](),
		"raw is bytes": reflect.TypeFor[struct {
			rawInput []byte
			hand     bytes.Buffer
			input    bytes.Reader
		}](),
		"hand is a reader": reflect.TypeFor[struct {
			rawInput    bytes.Buffer
			hand, input bytes.Reader
		}](),
		"input is a buffer": reflect.TypeFor[struct{ rawInput, hand, input bytes.Buffer }](),
		"they lie in another struct": reflect.TypeFor[struct {
			n int
			tls.Conn
		}](),
	} {
		if at, ok := findInput(conn); ok {
			t.Errorf("%s: found at %v", name, at)
		}
	}
	var conn struct {
		n        int
		hand     bytes.Buffer
		input    bytes.Reader
		more     [3]string
		b        byte
		rawInput bytes.Buffer
	}
	at, ok := findInput(reflect.TypeOf(conn))
	base := reflect.ValueOf(&conn).Elem()
	for name, offset := range map[string]uintptr{"rawInput": at.raw, "hand": at.hand, "input": at.plain} {
		if !ok || base.FieldByName(name).UnsafeAddr()-base.UnsafeAddr() != offset {
			t.Errorf("%s is found at %d", name, offset)
		}
	}
}

// WithoutLending is how it is with fields that differ.
func WithoutLending(t *testing.T) {
	buffersAreLent = false
	t.Cleanup(func() { buffersAreLent = true })
}

// InputHeld returns how many bytes of memory conn has for its input.
func InputHeld(conn net.Conn) int {
	c := conn.(*Secured)
	c.reading.Lock()
	defer c.reading.Unlock()
	in := inputOf(c.tls)
	return in.raw.Cap() + int(in.plain.Size()) + in.hand.Cap()
}

// Scribble overwrites a buffer that nobody is lent: what is still read from it is seen to be wrong, and by the race
// detector.
func Scribble() {
	b := lentBuffers.Get().(*bytes.Buffer)
	p := b.AvailableBuffer()
	for p = p[:cap(p)]; len(p) > 0; {
		p = p[copy(p, "scribbled over"):]
	}
	lentBuffers.Put(b)
}
