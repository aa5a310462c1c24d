package sockets

import (
	"iter"
	"net"
	"reflect"
	"syscall"
)

// Transport is the conn below conn, by its own word, or conn itself.
func Transport(conn net.Conn) (below net.Conn) {
	defer func() {
		if recover() != nil || below == nil {
			below = conn
		}
	}()
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok {
		return t.NetConn()
	}
	return conn
}

// maxWrapped bounds how many conns may lie in one another: one may say that it wraps itself.
const maxWrapped = 16

// layers yields conn, what it wraps, what that wraps, and so on.
func layers(conn net.Conn) iter.Seq[net.Conn] {
	return func(yield func(net.Conn) bool) {
		for range maxWrapped {
			if conn == nil || !yield(conn) {
				return
			}
			conn = wrapped(conn)
		}
	}
}

// Raw returns the handle of the outermost descriptor in conn; nil if there is none, or if a method of conn panics.
// Whatever a handle of the user's does, a call of its Control returns soon, and only its results are lost.
func Raw(conn net.Conn) (raw syscall.RawConn) {
	defer func() {
		if recover() != nil {
			raw = nil
		}
	}()
	for c := range layers(conn) {
		if sc, ok := c.(syscall.Conn); ok {
			if raw, err := sc.SyscallConn(); err == nil {
				return guarded(raw)
			}
		}
	}
	return nil
}

// A CloseWriter ends its output and leaves its input open.
type CloseWriter interface{ CloseWrite() error }

// HalfClose returns how conn ends its output: by its own method, or by that of a conn which it embeds, for a wrapper
// has no other bytes than that one unless it says by NetConn that it has. It returns nil for a conn that cannot.
func HalfClose(conn net.Conn) CloseWriter {
	defer func() { _ = recover() }()
	for range maxWrapped {
		if c, ok := conn.(CloseWriter); ok {
			return c
		}
		if conn = embedded(conn); conn == nil {
			return nil
		}
	}
	return nil
}

// wrapped returns the conn that conn wraps, nil if it does not say: NetConn says so, and an embedded field does.
func wrapped(conn net.Conn) net.Conn {
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok {
		return t.NetConn()
	}
	return embedded(conn)
}

// embedded returns the conn in an embedded field of conn's, nil for a conn that has a NetConn or no such field.
func embedded(conn net.Conn) net.Conn {
	if _, ok := conn.(interface{ NetConn() net.Conn }); ok {
		return nil
	}
	v := reflect.Indirect(reflect.ValueOf(conn))
	if v.Kind() != reflect.Struct {
		return nil
	}
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.Anonymous && f.IsExported() {
			if inner, ok := v.Field(i).Interface().(net.Conn); ok {
				return inner
			}
		}
	}
	return nil
}
