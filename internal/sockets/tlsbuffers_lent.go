//go:build lendtlsbuffers && linux

package sockets

import (
	"bytes"
	"crypto/tls"
	"reflect"
	"sync"
	"unsafe"
)

// crypto/tls keeps the buffers of its input for the life of a connection: what the ClientHello took, and a record after
// a large message. Built with the tag lendtlsbuffers, a Secured has one of a pool's for each read instead. The fields
// are none of crypto/tls's API; where they are not found as they are known, it does without.

// inputFields says where in a tls.Conn the fields of its input are.
type inputFields struct {
	raw   uintptr // a bytes.Buffer: what was read and not decrypted, from the beginning of a record
	plain uintptr // a bytes.Reader: what was decrypted and not taken; its bytes are in the memory of raw
	hand  uintptr // a bytes.Buffer: copies of handshake messages that are incomplete
}

var connFields, buffersAreLent = findInput(reflect.TypeFor[tls.Conn]())

// LendsTLSBuffers reports whether TLS connections in event mode have input buffers only while they read.
func LendsTLSBuffers() bool { return buffersAreLent }

// findInput returns where the fields are in conn; ok is false if one of them is not there, or is of another type.
func findInput(conn reflect.Type) (at inputFields, ok bool) {
	raw, rawOK := fieldOf[bytes.Buffer](conn, "rawInput")
	plain, plainOK := fieldOf[bytes.Reader](conn, "input")
	hand, handOK := fieldOf[bytes.Buffer](conn, "hand")
	return inputFields{raw, plain, hand}, rawOK && plainOK && handOK
}

func fieldOf[T any](conn reflect.Type, name string) (offset uintptr, ok bool) {
	f, ok := conn.FieldByName(name)
	if !ok || f.Type != reflect.TypeFor[T]() || len(f.Index) != 1 {
		return 0, false
	}
	return f.Offset, true
}

// A tlsInput is the input of a tls.Conn. It belongs to who calls that one's Read.
type tlsInput struct {
	raw   *bytes.Buffer
	plain *bytes.Reader
	hand  *bytes.Buffer
}

func inputOf(conn *tls.Conn) tlsInput {
	p := unsafe.Pointer(conn)
	return tlsInput{
		raw:   (*bytes.Buffer)(unsafe.Add(p, connFields.raw)),
		plain: (*bytes.Reader)(unsafe.Add(p, connFields.plain)),
		hand:  (*bytes.Buffer)(unsafe.Add(p, connFields.hand)),
	}
}

const (
	// lentSize has room for the longest record (RFC 5246, 6.2.3), and for what crypto/tls wants behind it.
	lentSize = recordHeader + recordSize + 2048 + bytes.MinRead

	// maxLent bounds what is kept for others: a peer's stream of long records has a buffer grow.
	maxLent = 64 << 10
)

var lentBuffers = sync.Pool{New: func() any { return bytes.NewBuffer(make([]byte, 0, lentSize)) }}

// lendBuffer gives conn a buffer to read into, for who holds its reading lock. It returns what takeBuffer is to be
// given: nil if conn has one still, from which it has not decrypted or handed over everything.
func lendBuffer(conn *tls.Conn) *bytes.Buffer {
	if !buffersAreLent {
		return nil
	}
	in := inputOf(conn)
	if in.plain.Len() > 0 {
		return nil
	}
	lent := lentBuffers.Get().(*bytes.Buffer)
	lent.Write(in.raw.Bytes())
	*in.raw, *lent = *lent, bytes.Buffer{}
	return lent
}

// takeBuffer takes the buffer from conn. A part of a record stays there, in memory of its size.
func takeBuffer(conn *tls.Conn, lent *bytes.Buffer) {
	if !buffersAreLent {
		return
	}
	in := inputOf(conn)
	if in.plain.Len() > 0 {
		return
	}
	if lent == nil {
		lent = new(bytes.Buffer)
	}
	in.plain.Reset(nil)
	*lent, *in.raw = *in.raw, bytes.Buffer{}
	in.raw.Write(lent.Bytes())
	if in.hand.Len() == 0 {
		*in.hand = bytes.Buffer{}
	}
	if lent.Reset(); lent.Cap() <= maxLent {
		lentBuffers.Put(lent)
	}
}
