package ws

import (
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/inside"
	"github.com/libnet-go/libnet/internal/ratelimit"
)

// A frameRate bounds the frames that a conn's session does not see, as the session's own bounds its messages: those of
// the receive loop, which goes on while the session pauses.
type frameRate struct {
	end   bool // a frame beyond the limit ends the input
	begun time.Time

	meter ratelimit.Meter // the receive loop's
	waits atomic.Bool     // it does, so that a silent peer is none

	over     chan struct{} // closed when the session has ended its output: the loop reads on to the peer's close frame
	overOnce sync.Once
}

// newFrameRate returns nil where the session of that stream has no limit.
func newFrameRate(rw io.ReadWriter) *frameRate {
	stream, ok := rw.(interface {
		RateLimit(inside.Call) (ratelimit.Limit, bool)
	})
	if !ok {
		return nil
	}
	limit, end := stream.RateLimit(inside.Call{})
	if !limit.IsSet() {
		return nil
	}
	return &frameRate{end: end, begun: time.Now(), meter: ratelimit.NewMeter(limit), over: make(chan struct{})}
}

// lift has the receive loop read without a limit from now on. f may be nil.
func (f *frameRate) lift() {
	if f != nil {
		f.overOnce.Do(func() { close(f.over) })
	}
}

// keepsWaiting reports whether the receive loop keeps the peer waiting. f may be nil.
func (f *frameRate) keepsWaiting() bool { return f != nil && f.waits.Load() }

// isSmall reports whether a frame is one of those that cost their peer little and bring no message: there is no other
// bound on how many may come.
func (h header) isSmall() bool {
	return h.opcode() > opClose || h.opcode() < opClose && !h.fin() && h.length <= maxControlPayload
}

// admit waits until the frame may pass, if it is a small one, or says that it ends the input.
func (r *receiver) admit(h header) error {
	f := r.rate.Load()
	if f == nil || !h.isSmall() || isClosed(f.over) {
		return nil
	}
	now := int64(time.Since(f.begun)) + 1
	if wait := f.meter.Next() - now; wait > 0 {
		if f.end {
			return &fault{libnet.ErrRateLimit}
		}
		now += wait
		r.await(f, time.Duration(wait))
	}
	f.meter.Take(now, 1, keySize+2+int(h.length))
	return nil
}

// await has what is to be answered written first.
func (r *receiver) await(f *frameRate, wait time.Duration) {
	r.link.flushAnswers()
	f.waits.Store(true)
	defer func() {
		r.link.noteInput() // from now on the peer can be silent
		f.waits.Store(false)
	}()
	bound := time.NewTimer(wait)
	defer bound.Stop()
	select {
	case <-bound.C:
	case <-f.over:
	case <-r.in.closed:
	}
}
