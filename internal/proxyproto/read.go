package proxyproto

import (
	"io"
	"net/netip"
)

const (
	// firstRoom is storage for all headers but those with long TLVs. It grows as bytes come, and not as a length says.
	firstRoom = 256

	// maxEmpty is how many empty reads a reader may answer with, as bufio allows one.
	maxEmpty = 100
)

// Read reads a header from r and returns what [Parse] does of it. It asks for no byte that may lie behind the header,
// and returns when there is one, or bytes that can become none. Those are an [Error], and so is an end of r within the
// header; an end of r before its first byte is io.EOF, and other errors of r are returned as they are.
func Read(r io.Reader) (client netip.AddrPort, err error) {
	src := make([]byte, 0, firstRoom)
	for {
		client, n, more, err := Parse(src)
		if n > 0 || err != nil {
			return client, err
		}
		if src, err = readSome(r, src, more); err != nil {
			return client, err
		}
	}
}

// readSome appends what one read brings, more bytes at the most.
func readSome(r io.Reader, src []byte, more int) ([]byte, error) {
	if len(src) == cap(src) {
		src = append(make([]byte, 0, 2*cap(src)), src...)
	}
	room := src[len(src):min(cap(src), len(src)+more)]
	for range maxEmpty {
		n, err := r.Read(room)
		switch {
		case n < 0 || n > len(room):
			return src, io.ErrNoProgress // a reader that is none
		case n > 0:
			return src[:len(src)+n], nil // an error comes again
		case err == io.EOF && len(src) > 0:
			return src, Error("the connection ends within it")
		case err != nil:
			return src, err
		}
	}
	return src, io.ErrNoProgress
}
