package hostile

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/libnet-go/libnet"
)

// A behaviour is what user code does when libnet calls it.
type behaviour string

const (
	panics       behaviour = "panics"
	panicsNil    behaviour = "panics with nil"
	panicsBadly  behaviour = "panics with a value that panics"
	blocks       behaviour = "blocks for a while"
	hangs        behaviour = "does not return until the server has been shut down"
	exits        behaviour = "ends its goroutine"
	asks         behaviour = "asks session, server, group and manager"
	sends        behaviour = "sends on its session"
	closes       behaviour = "closes its session"
	shuts        behaviour = "shuts its session down"
	broadcasts   behaviour = "broadcasts"
	stops        behaviour = "shuts the server down"
	givesNil     behaviour = "returns nil"
	givesTyped   behaviour = "returns a typed nil"
	givesItself  behaviour = "returns itself"
	givesBoth    behaviour = "returns a value and an error"
	givesLess    behaviour = "returns a negative number"
	givesMore    behaviour = "returns too large a number"
	givesError   behaviour = "returns an error"
	givesHostile behaviour = "returns an error whose methods panic"
	givesOther   behaviour = "returns a value of a type that cannot be compared"
)

// anywhere are the behaviours that need no result.
var anywhere = []behaviour{panics, panicsNil, panicsBadly, blocks, hangs, exits, asks, sends, closes, shuts, broadcasts, stops}

// A bomb is user code that misbehaves once, at one site, when it is armed.
type bomb struct {
	site   string
	source string // where the site is a method of an error: the site that returns that error
	does   behaviour
	rig    *rig
	armed  atomic.Bool
	given  atomic.Bool   // source has returned its error
	fired  chan struct{} // closed when the site has been called
	freed  chan struct{} // closed when what hangs is to return
}

// at is called by all of the user's code and says where it is. It misbehaves, if it is to, or returns the behaviour
// that only the site itself can show; otherwise "".
func (b *bomb) at(site string) behaviour {
	if b.source == site && b.armed.Load() && b.given.CompareAndSwap(false, true) {
		return givesError
	}
	if b.site != site || !b.armed.CompareAndSwap(true, false) {
		return ""
	}
	close(b.fired)
	if b.does.byItself(b.freed) || b.rig.callBack(b.does) {
		return ""
	}
	return b.does
}

// byItself shows a behaviour that needs nothing but, to hang, what ends that. It reports whether it is one of these,
// where it returns.
func (does behaviour) byItself(freed <-chan struct{}) bool {
	switch does {
	case panics:
		panic("hostile")
	case panicsNil:
		var nothing any
		panic(nothing)
	case panicsBadly:
		panic(badValue{})
	case blocks:
		time.Sleep(50 * time.Millisecond)
	case hangs:
		<-freed
	case exits:
		runtime.Goexit()
	default:
		return false
	}
	return true
}

// orInert returns b while it is armed: what is made then is the victim's. What others have never goes off.
func (b *bomb) orInert() *bomb {
	if b.armed.Load() {
		return b
	}
	return new(bomb)
}

// badValue panics with itself when it is to be printed, which fmt passes on.
type badValue struct{}

func (v badValue) Error() string { panic(v) }

// callBack calls libnet from within user code; false if that is not what b does.
func (r *rig) callBack(b behaviour) bool {
	s := r.victim.Load()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if r.client != nil {
		r.callClient(ctx, b)
	}
	if m := r.mux.Load(); m != nil {
		callMux(ctx, m, s, b)
	}
	switch b {
	case asks:
		r.ask(s)
	case sends:
		if s != nil {
			if r.queue > 0 { // a synchronous Send waits while others send, without a bound
				_ = r.send(s, []byte("called back"))
			}
			switch s.SendContext(ctx, []byte("called back")) {
			case nil:
				r.sent.Add(1)
			case ctx.Err():
				r.unsure.Add(1)
			}
		}
	case closes:
		if s != nil {
			_ = s.Close()
		}
	case shuts:
		if s != nil {
			_ = s.Shutdown(ctx)
		}
	case broadcasts:
		r.broadcast()
	case stops:
		_ = r.srv.Shutdown(ctx)
	default:
		return false
	}
	return true
}

func (r *rig) callClient(ctx context.Context, b behaviour) {
	switch b {
	case asks:
		_, _, _ = r.client.Stats(), r.client.Session(), r.client.Done()
	case sends:
		_ = r.client.Send([]byte("called back"))
	case closes:
		r.client.Close()
	case shuts:
		_ = r.client.Shutdown(ctx)
	}
}

// ask calls what only looks.
func (r *rig) ask(s *libnet.Session) {
	_ = r.srv.Stats()
	_ = r.srv.LastClosed()
	_ = r.srv.Manager().Len()
	for s := range r.srv.Manager().All() {
		_ = s.ID()
	}
	_ = r.group.Len()
	for range r.group.All() {
		continue
	}
	if s == nil {
		return
	}
	_, _ = s.Stats(), s.Err()
	_, _ = s.IsClosed(), s.Done()
	_ = r.group.Get(s.ID())
	_ = r.srv.Manager().GetSession(s.ID())
	s.OnClose(func() {})()
}

// hostileError is an error whose every method panics, also on a nil pointer.
type hostileError struct{ text string }

func (e *hostileError) Error() string   { return "hostile: " + e.text }
func (e *hostileError) Is(error) bool   { return e.text == "" }
func (e *hostileError) As(any) bool     { return e.text == "" }
func (e *hostileError) Unwrap() error   { return errors.New(e.text) }
func (e *hostileError) Timeout() bool   { return e.text == "" }
func (e *hostileError) Temporary() bool { return e.text == "" }

// failure is the error that a site returns.
func (b *bomb) failure(d behaviour) error {
	switch d {
	case givesError:
		return &slyError{b: b}
	case givesHostile:
		return (*hostileError)(nil)
	case givesOther:
		return manyErrors{errors.New("of a type that cannot be compared")}
	}
	return nil
}

// manyErrors cannot be compared: == of two of them panics.
type manyErrors []error

func (e manyErrors) Error() string { return "many" }

// slyError is an error whose methods are sites of their own.
type slyError struct {
	b      *bomb
	circle atomic.Bool
}

func (e *slyError) Error() string {
	e.b.at("error.Error")
	return "sly"
}

func (e *slyError) Is(error) bool {
	e.b.at("error.Is")
	return false
}

func (e *slyError) As(any) bool {
	e.b.at("error.As")
	return false
}

func (e *slyError) Unwrap() error {
	switch e.b.at("error.Unwrap") {
	case givesTyped:
		return (*hostileError)(nil)
	case givesItself:
		e.circle.Store(true)
	}
	if e.circle.Load() {
		return e
	}
	return nil
}

func (e *slyError) Timeout() bool {
	e.b.at("net.Error.Timeout")
	return false
}

func (e *slyError) Temporary() bool {
	e.b.at("net.Error.Temporary")
	return false
}
