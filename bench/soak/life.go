package main

import (
	"context"
	"encoding/binary"
	"sync/atomic"
	"time"

	"github.com/libnet-go/libnet"
)

// A life is one of a station's, from its start to its Shutdown.
type life struct {
	*station
	server  *libnet.Server
	served  chan struct{} // closed when serve has returned
	members libnet.Group[uint64]
	sent    atomic.Uint64 // messages that Send took, or members by Broadcast
	beats   atomic.Uint64 // heartbeats that were asked for, each sent unless the queue was full
	working atomic.Int64  // handlers and broadcasts
}

func (l *life) run() {
	if l.server.Heartbeat.Interval > 0 {
		l.server.Heartbeat.Message = func(*libnet.Session) any {
			l.beats.Add(1)
			return numbered(0, 8)
		}
	}
	go func() {
		defer close(l.served)
		_ = l.serve(l)
	}()
	if l.hub {
		l.working.Add(1)
		go l.broadcast()
	}
}

// numbered is a message of at least 8 bytes. Heartbeats have number 0.
func numbered(n uint64, size int) []byte {
	return append(binary.BigEndian.AppendUint64(make([]byte, 0, max(size, 8)), n), make([]byte, max(size-8, 0))...)
}

func numberOf(msg []byte) uint64 {
	if len(msg) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(msg)
}

// session is the handler of a goroutine a session.
func (l *life) session(s *libnet.Session) {
	l.working.Add(1)
	defer l.working.Add(-1)
	var buf []byte
	for {
		var err error
		if buf, err = s.ReceiveInto(buf); err != nil || !l.handle(s, buf) {
			return
		}
	}
}

// message is the handler of event mode.
func (l *life) message(s *libnet.Session, msg []byte) {
	l.working.Add(1)
	defer l.working.Add(-1)
	if !l.handle(s, msg) {
		_ = s.Close()
	}
}

// handle echoes a message, or makes the sender a member; false when s has ended.
func (l *life) handle(s *libnet.Session, msg []byte) bool {
	if l.hub {
		l.members.Put(s.ID(), s)
		return true
	}
	if s.SendContext(context.Background(), &msg) != nil {
		return false
	}
	l.sent.Add(1)
	return true
}

// broadcast numbers messages from 1 for as long as the server lives. Every 50th is a large one, every 10th a burst.
func (l *life) broadcast() {
	defer l.working.Add(-1)
	const pause = 20 * time.Millisecond
	for n := uint64(1); ; {
		select {
		case <-l.server.Stopping():
			return
		case <-time.After(pause):
		}
		burst := uint64(1)
		if n%10 == 0 {
			burst = 8
		}
		for last := n + burst; n < last; n++ {
			size := 200
			if n%50 == 0 {
				size = 20_000
			}
			l.sent.Add(uint64(l.members.Broadcast(numbered(n, size)).Sent))
		}
	}
}
