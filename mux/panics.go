package mux

import (
	"fmt"
	"runtime/debug"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/usercode"
)

// guarded calls f, which runs handlers on a goroutine of the package's own: one that panics, or ends the goroutine,
// ends the session.
func (m *Mux) guarded(r Request, f func()) {
	returned := false
	defer func() {
		if !returned {
			m.ended(r, recover())
		}
	}()
	f()
	returned = true
}

func (m *Mux) ended(r Request, value any) {
	if value == nil { // it has ended its goroutine
		_ = r.Session.CloseWithError(libnet.ErrSessionClosed)
		return
	}
	err := fmt.Errorf("%w in a handler: %s", libnet.ErrPanic, clip(usercode.Text(value), maxText))
	_ = r.Session.CloseWithError(err)
	m.log(r, fmt.Errorf("%w\n%s", err, debug.Stack()))
}
