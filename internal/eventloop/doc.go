// Package eventloop promises that a source which waits costs no goroutine and no storage; that each source is
// served by one goroutine at a time, and again for whatever arrived meanwhile; that a source which always has more
// does not keep the others of its poller from their turn; and that a handler which blocks holds up those others for
// two periods of the watch (6 ms) at most, or, if it computes and no processor is left, for as long as package sysmon
// says.
//
//	loop, err := eventloop.New(host)   // errors.ErrUnsupported where the system has no readiness queue
//	state.Start(readAll)               // the caller serves the source
//	…                                  // what the caller does first of all
//	loop.Release(source)
//	err = loop.Register(id, rawConn)   // the loop serves the source from now on, beginning with what has arrived
//
// The loop knows of a source only its id and its [State]; what it does with one, the [Host] says. Nothing is taken
// out of the loop: an event of an id that the host does not know is dropped, and closing the descriptor ends them.
//
// There is a poller for each processor, with a readiness queue of the system's that is edge-triggered: epoll_linux.go.
// A system is added by a file like that one, with the same five functions; unsupported.go stands for the others.
package eventloop
