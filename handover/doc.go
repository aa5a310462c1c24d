// Package handover gives a running server to another process: its listener, and its live sessions, whose peers notice
// nothing but a pause of some 0.1 s. It is for a new binary on the same machine, on Linux; elsewhere its calls return
// [ErrUnsupported].
//
// A program that can be upgraded begins with [Inherited]: where an [Upgrade] has started it, it calls [Take], and
// otherwise it listens. When it is asked to, it calls Upgrade itself:
//
//	conn, err := handover.Inherited()
//	...
//	if conn == nil {
//		srv, err = libnet.Serve("tcp", ":7000", protocol, 64)
//	} else {
//		srv, _, err = handover.Take(ctx, conn, func(l net.Listener) (*libnet.Server, error) {
//			return libnet.NewServer(l, protocol, 64), nil
//		}, handover.TakeOptions{Thaw: thaw})
//	}
//	...
//	go func() {
//		for range hangups {
//			_, err := handover.Upgrade(ctx, exec.Command(os.Args[0], os.Args[1:]...), srv, handover.GiveOptions{Freeze: freeze})
//			...
//		}
//	}()
//	err = srv.ServeMessages(handler) // returns when the other process has the server, and what could not move is drained
//
// With each session go its number, name and counters, what has arrived and was not received, what Send has accepted and
// was not written, and what Freeze returns for it. No message is lost, comes twice or out of order.
//
// It has two phases. First all sessions are stopped between two messages and copied. Only when the other process has
// said that all is its own do they end here; until then, and at whatever step it fails, they go on here as if nothing
// had been, and the error wraps [ErrKept].
//
// TLS, WebSockets of net/http, plain codecs, connections without a descriptor, and handlers that do not return in time
// stay, and are drained: [Result] counts them. docs/handover.md has the exchange, what moves, what stays and why.
package handover
