package libnet

import (
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/libnet-go/libnet/internal/lock"
)

// A poller waits for many sessions at a time on an epoll descriptor of its own, edge-triggered, and
// serves them one behind the other. Waiting on that descriptor is left to the runtime's poller, so no
// thread sleeps in the kernel for it.
//
// Package syscall has all that this takes; golang.org/x/sys would be the root package's only
// dependency.
type poller struct {
	// Immutable after newPoller.
	loop *eventLoop
	file *os.File // the epoll descriptor
	raw  syscall.RawConn
	poll func(epfd uintptr) bool // pollOnce, bound once

	// progress is odd while the poller works and counts up with every session it begins to serve.
	progress atomic.Uint64

	mu lock.Mutex[pollerLock]
	// mu guards the following.
	turn uint64 // the goroutine that runs with this number owns what follows

	// Owned by whoever has the turn. While progress is even, nobody takes the turn away.
	events [256]syscall.EpollEvent
	n      int        // events[:n] came of the last wait
	ready  []*Session // ready[at:] are to be served, next first
	at     int
	again  []*Session // to be served once more, after all that is ready by then
	eager  bool
}

func newPoller(loop *eventLoop) (*poller, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := syscall.SetNonblock(fd, true); err != nil { // without it os.NewFile takes it for a disk file
		_ = syscall.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	p := &poller{loop: loop, file: os.NewFile(uintptr(fd), "epoll")}
	p.poll = p.pollOnce
	p.progress.Store(1)
	if p.raw, err = p.file.SyscallConn(); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// close ends run.
func (p *poller) close() { _ = p.file.Close() }

// register has the poller told when s can be read. The event carries the session's id, which, unlike
// its descriptor's number, nobody gets after it. Closing the descriptor takes it out again.
func (p *poller) register(s *Session) error {
	event := syscall.EpollEvent{
		Events: syscall.EPOLLIN | syscall.EPOLLPRI | syscall.EPOLLRDHUP | edgeTriggered,
		Fd:     int32(s.id),
		Pad:    int32(s.id >> 32),
	}
	var ctlErr, err error
	ctlErr = p.raw.Control(func(epfd uintptr) {
		err = s.sock.Raw().Control(func(fd uintptr) {
			ctlErr = syscall.EpollCtl(int(epfd), syscall.EPOLL_CTL_ADD, int(fd), &event)
		})
	})
	if err != nil {
		return err
	}
	return ctlErr
}

// notOnlyInput are the events after which a read that brings less than it asked for may not be the last: no other will
// tell of an end that has been announced, and urgent data (EPOLLPRI) stops a read where it lies.
const notOnlyInput = syscall.EPOLLPRI | syscall.EPOLLRDHUP | syscall.EPOLLHUP | syscall.EPOLLERR

// edgeTriggered is EPOLLET, which package syscall has as a negative number on some architectures only.
const edgeTriggered = 1 << 31

func sessionID(e *syscall.EpollEvent) uint64 {
	return uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32
}

// run serves sessions for as long as the goroutine has the turn.
func (p *poller) run(turn uint64) {
	for {
		s, eager, ok := p.next(turn)
		switch {
		case !ok:
			return
		case !s.beginServing():
		case eager:
			go p.serveAlone(s)
		default:
			p.serve(turn, s)
		}
	}
}

// next returns the session to serve next, waiting if there is none, and whether it is to have a goroutine
// of its own. It is not ok when somebody else has the turn or the poller was closed.
func (p *poller) next(turn uint64) (s *Session, eager, ok bool) {
	for {
		p.mu.Lock()
		if p.turn != turn {
			p.mu.Unlock()
			return nil, false, false
		}
		if p.at < len(p.ready) {
			s, p.ready[p.at] = p.ready[p.at], nil // a closed session must not be kept
			p.at++
			eager = p.eager
			p.progress.Add(2)
			p.mu.Unlock()
			return s, eager, true
		}
		p.progress.Add(1)
		p.mu.Unlock()
		if p.wait() != nil {
			return nil, false, false
		}
		p.progress.Add(1)
		p.loop.startWatch()
	}
}

// wait fills ready with the sessions that can be read. It waits for one unless some are to be served
// again.
func (p *poller) wait() error {
	if err := p.raw.Read(p.poll); err != nil {
		return err
	}
	p.ready, p.at = p.ready[:0], 0
	for i := range p.n {
		s := p.loop.server.manager.GetSession(sessionID(&p.events[i]))
		if s == nil {
			continue
		}
		if p.events[i].Events&notOnlyInput != 0 {
			s.serving.Or(servingAll)
		}
		p.ready = append(p.ready, s)
	}
	p.ready = append(p.ready, p.again...)
	clear(p.again)
	p.again = p.again[:0]
	p.eager = p.loop.eager()
	return nil
}

// pollOnce is the body of wait: false says that the runtime's poller should wait.
func (p *poller) pollOnce(epfd uintptr) bool {
	n, err := pollNow(int(epfd), p.events[:])
	p.n = max(n, 0)
	return n > 0 || len(p.again) > 0 || err != nil && err != syscall.EINTR
}

// serve serves s. What remains to be read waits until the others had their turn.
func (p *poller) serve(turn uint64, s *Session) {
	more := s.serve(p.loop.handler)
	if again := s.leaveServing(); !again && !more {
		return
	}
	p.mu.Lock()
	mine := p.turn == turn
	if mine {
		p.again = append(p.again, s)
	}
	p.mu.Unlock()
	if !mine && s.beginServing() {
		p.serveAlone(s)
	}
}

// serveAlone serves s on a goroutine that holds nobody up.
func (p *poller) serveAlone(s *Session) {
	for {
		begun := time.Now()
		more := s.serve(p.loop.handler)
		if time.Since(begun) > blocked {
			p.loop.beEager()
		}
		if !more && !s.endServing() {
			return
		}
	}
}

// handOver gives the turn to a new goroutine; false if the one that had it went on meanwhile.
func (p *poller) handOver(seen uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.progress.Load() != seen {
		return false
	}
	p.turn++
	p.eager = p.loop.eager() // what waits behind a handler that blocked may block, too
	p.progress.Add(2)
	go p.run(p.turn)
	return true
}
