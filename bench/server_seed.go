package main

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// The design of the article that this project started from, written down as it stands there: the
// codec reads and writes the connection itself, a session with a send channel has a send loop, and
// a manager keeps the sessions in 32 locked maps. Only what the rows need is here.

var (
	errSeedClosed  = errors.New("session closed")
	errSeedBlocked = errors.New("session blocked")
)

func seedEcho(sendChanSize int) func(func([]byte)) (net.Addr, error) {
	return func(before func([]byte)) (net.Addr, error) {
		return serveSeed(sendChanSize, func(_ *seedManager, s *seedSession, msg []byte) error {
			if before != nil {
				before(msg)
			}
			return s.send(msg)
		})
	}
}

func seedBroadcast(sendChanSize int) func() (net.Addr, error) {
	return func() (net.Addr, error) {
		return serveSeed(sendChanSize, func(m *seedManager, s *seedSession, msg []byte) error {
			if !wantsReply(msg) {
				m.broadcast(msg)
			} else if err := s.send(msg); err != errSeedBlocked {
				return err
			}
			return nil
		})
	}
}

func serveSeed(sendChanSize int, handle func(*seedManager, *seedSession, []byte) error) (net.Addr, error) {
	m := newSeedManager()
	return accept(func(conn net.Conn) {
		s := m.newSession(&seedCodec{rw: conn}, sendChanSize)
		defer s.close()
		for {
			msg, err := s.codec.receive()
			if err != nil {
				return
			}
			if err := handle(m, s, msg); err != nil {
				return
			}
		}
	})
}

type seedCodec struct {
	rw   io.ReadWriteCloser
	head [2]byte // Owned by the receiver.
}

func (c *seedCodec) receive() ([]byte, error) {
	if _, err := io.ReadFull(c.rw, c.head[:]); err != nil {
		return nil, err
	}
	msg := make([]byte, binary.BigEndian.Uint16(c.head[:]))
	_, err := io.ReadFull(c.rw, msg)
	return msg, err
}

func (c *seedCodec) send(msg any) error {
	body := msg.([]byte)
	var head [2]byte
	binary.BigEndian.PutUint16(head[:], uint16(len(body)))
	if _, err := c.rw.Write(head[:]); err != nil {
		return err
	}
	_, err := c.rw.Write(body)
	return err
}

type seedSession struct {
	id        uint64
	codec     *seedCodec
	manager   *seedManager
	sendChan  chan any // nil in a synchronous session
	closeFlag atomic.Bool
	closeChan chan struct{}
}

func (s *seedSession) send(msg any) error {
	if s.closeFlag.Load() {
		return errSeedClosed
	}
	if s.sendChan == nil {
		return s.codec.send(msg)
	}
	select {
	case s.sendChan <- msg:
		return nil
	default:
		return errSeedBlocked
	}
}

func (s *seedSession) sendLoop() {
	defer s.close()
	for {
		select {
		case msg := <-s.sendChan:
			if s.codec.send(msg) != nil {
				return
			}
		case <-s.closeChan:
			return
		}
	}
}

func (s *seedSession) close() error {
	if !s.closeFlag.CompareAndSwap(false, true) {
		return errSeedClosed
	}
	err := s.codec.rw.Close()
	close(s.closeChan)
	s.manager.remove(s)
	return err
}

const seedMaps = 32

type seedManager struct {
	lastID atomic.Uint64
	maps   [seedMaps]struct {
		sync.RWMutex
		sessions map[uint64]*seedSession
	}
}

func newSeedManager() *seedManager {
	m := new(seedManager)
	for i := range m.maps {
		m.maps[i].sessions = map[uint64]*seedSession{}
	}
	return m
}

func (m *seedManager) newSession(codec *seedCodec, sendChanSize int) *seedSession {
	s := &seedSession{id: m.lastID.Add(1), codec: codec, manager: m, closeChan: make(chan struct{})}
	if sendChanSize > 0 {
		s.sendChan = make(chan any, sendChanSize)
		go s.sendLoop()
	}
	shard := &m.maps[s.id%seedMaps]
	shard.Lock()
	defer shard.Unlock()
	shard.sessions[s.id] = s
	return s
}

func (m *seedManager) remove(s *seedSession) {
	shard := &m.maps[s.id%seedMaps]
	shard.Lock()
	defer shard.Unlock()
	delete(shard.sessions, s.id)
}

func (m *seedManager) broadcast(msg any) {
	for i := range m.maps {
		shard := &m.maps[i]
		shard.RLock()
		for _, s := range shard.sessions {
			s.send(msg)
		}
		shard.RUnlock()
	}
}
