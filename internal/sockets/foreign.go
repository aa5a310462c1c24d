package sockets

import (
	"errors"
	"reflect"
	"syscall"
	"time"
)

// guarded returns raw, if that is package net's or this package's, and otherwise one that calls a method of the user's:
// it may panic, end its goroutine, hang, and call what it is given never, twice or too late.
func guarded(raw syscall.RawConn) syscall.RawConn {
	if raw == nil {
		return nil
	}
	t := reflect.TypeOf(raw)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.PkgPath() {
	case "net", "os", ownPath:
		return raw
	}
	return foreignRaw{raw}
}

var ownPath = reflect.TypeFor[foreignRaw]().PkgPath()

// A foreignRaw is a RawConn of the user's. That the descriptor is the one of its conn only the user can know.
type foreignRaw struct{ raw syscall.RawConn }

// foreignPatience is how long a RawConn of the user's may take.
const foreignPatience = 100 * time.Millisecond

var (
	errForeign  = errors.New("libnet: a panic in the connection's RawConn, or it does not return")
	errNotAsked = errors.New("libnet: only Control of a connection's RawConn is called")
)

// Control returns when the user's has, or after foreignPatience. It calls f once, or not at all.
func (r foreignRaw) Control(f func(fd uintptr)) error {
	turn, called := make(chan struct{}, 1), make(chan struct{})
	turn <- struct{}{} // taken by the one call of f, or by the end
	result := make(chan error, 1)
	go func() {
		err := errForeign
		defer func() {
			_ = recover()
			result <- err
		}()
		err = r.raw.Control(func(fd uintptr) {
			select {
			case <-turn:
				defer close(called)
				f(fd)
			default:
			}
		})
	}()
	patience := time.NewTimer(foreignPatience)
	defer patience.Stop()
	err := errForeign
	select {
	case err = <-result:
	case <-patience.C:
	}
	select {
	case <-turn:
	case <-called: // f does not wait
	}
	return err
}

func (foreignRaw) Read(func(fd uintptr) (done bool)) error  { return errNotAsked }
func (foreignRaw) Write(func(fd uintptr) (done bool)) error { return errNotAsked }
