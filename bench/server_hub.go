package main

import (
	"bufio"
	"net"
	"sync"
)

// A member is one connection of a hub. It keeps the frame it is given, and nobody changes it.
type member interface {
	send(frame []byte)
	leave()
}

// hub is the broadcast that one writes by hand: a map under a lock, and a loop over it.
type hub struct {
	mu      sync.RWMutex
	members map[member]struct{}
}

func (h *hub) add(m member) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.members[m] = struct{}{}
}

func (h *hub) remove(m member) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.members, m)
	m.leave()
}

func (h *hub) broadcast(frame []byte) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for m := range h.members {
		m.send(frame)
	}
}

func serveHub(join func(net.Conn) member) (net.Addr, error) {
	h := hub{members: map[member]struct{}{}}
	return accept(func(conn net.Conn) {
		m := join(conn)
		h.add(m)
		defer h.remove(m)
		in := bufio.NewReader(conn)
		for {
			frame, err := readFrame(in, nil)
			switch {
			case err != nil:
				return
			case wantsReply(frame[2:]):
				m.send(frame)
			default:
				h.broadcast(frame)
			}
		}
	})
}

// netBroadcast writes to one connection after the other.
func netBroadcast() (net.Addr, error) {
	return serveHub(func(conn net.Conn) member { return &writeMember{conn: conn} })
}

type writeMember struct {
	mu   sync.Mutex
	conn net.Conn
}

func (m *writeMember) send(frame []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.conn.Write(frame) // a failed connection is noticed by its reader
}

func (m *writeMember) leave() {}

// netChanBroadcast hands each frame to the connection's own goroutine.
func netChanBroadcast() (net.Addr, error) {
	return serveHub(func(conn net.Conn) member {
		m := make(chanMember, 1024)
		go m.writeLoop(conn)
		return m
	})
}

// netChanBatchedBroadcast lets that goroutine gather what is queued.
func netChanBatchedBroadcast() (net.Addr, error) {
	return serveHub(func(conn net.Conn) member {
		m := make(chanMember, 1024)
		go m.batchLoop(conn)
		return m
	})
}

// chanMember is the queue of frames to write. A hub's lock orders send before the close in leave,
// but for replies, which the member's own reader sends, as it does leave.
type chanMember chan []byte

func (m chanMember) send(frame []byte) {
	select {
	case m <- frame:
	default: // full: the slow member loses it, the others do not wait
	}
}

func (m chanMember) leave() { close(m) }

func (m chanMember) writeLoop(conn net.Conn) {
	for frame := range m {
		conn.Write(frame)
	}
}

func (m chanMember) batchLoop(conn net.Conn) {
	out := bufio.NewWriter(conn)
	for frame := range m {
		out.Write(frame)
		if len(m) == 0 {
			out.Flush()
		}
	}
}
