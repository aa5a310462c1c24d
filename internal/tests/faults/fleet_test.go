package faults

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
)

// A fleet is many sessions with full queues, whose clients never stop sending and read only once
// they are told to.
type fleet struct {
	tb      testing.TB
	members []*member
	read    chan struct{} // closed when the clients may read
	pace    time.Duration // of the reading, from message to message
	wg      sync.WaitGroup
}

type member struct {
	rig      *testkit.Rig
	conn     net.Conn
	session  *libnet.Session
	accepted uint64 // sends that returned nil
	stalled  bool   // never reads

	// Owned by the reader until the fleet has ended.
	received uint64
	end      error
}

// fleetServer is what these sessions need to be full early: little room in the kernel. Half of the
// handlers do not receive, so that there is unread input, which makes a plain close a reset.
func fleetServer(tb testing.TB, network string, configure func(*libnet.Server)) *testkit.Rig {
	tb.Helper()
	return testkit.Serve(tb, network, func(srv *libnet.Server) {
		srv.SendQueue, srv.SendBuffer = 32, 64<<10
		srv.WriteTimeout, srv.Linger = time.Minute, time.Minute
		if configure != nil {
			configure(srv)
		}
	}, func(s *libnet.Session) {
		if s.ID()%2 == 0 {
			testkit.NeverReceive(s)
		}
		testkit.ReceiveToEnd(s)
	})
}

func newFleet(tb testing.TB) *fleet {
	return &fleet{tb: tb, read: make(chan struct{})}
}

// join adds n sessions of r, those with stalled never read nor write.
func (f *fleet) join(r *testkit.Rig, n int, stalled bool) {
	f.tb.Helper()
	for range n {
		conn, session := r.Open()
		m := &member{rig: r, conn: conn, session: session, stalled: stalled}
		f.members = append(f.members, m)
		if stalled {
			if secure, ok := conn.(*tls.Conn); ok {
				f.wg.Go(func() { _ = secure.Handshake() })
			}
			continue
		}
		f.wg.Go(m.writeOn)
		f.wg.Go(func() {
			<-f.read
			m.readOn(f.pace)
		})
	}
	f.tb.Cleanup(func() { // also when the test has failed before it let them read
		f.letRead()
		for _, m := range f.members {
			m.conn.Close()
		}
		f.wg.Wait()
	})
}

func (f *fleet) letRead() {
	select {
	case <-f.read:
	default:
		close(f.read)
	}
}

// fill sends numbered messages of 1 KiB until every queue is full and stays so.
func (f *fleet) fill() {
	f.tb.Helper()
	for looks := 0; looks < 5; looks++ { // a flusher that gets no processor comes late
		for _, m := range f.members {
			if !m.fill(f.tb) {
				looks = 0
			}
		}
		time.Sleep(20 * time.Millisecond) // what the kernel takes until then was not all it would take
	}
}

func (m *member) fill(tb testing.TB) (full bool) {
	tb.Helper()
	msg := make([]byte, 1<<10)
	for full = true; ; full = false {
		binary.BigEndian.PutUint64(msg, m.accepted)
		switch err := m.session.Send(msg); {
		case err == libnet.ErrSessionBlocked:
			return full && m.session.Stats().MessagesOut > 0 // else the flusher has not come yet
		case err != nil:
			tb.Fatalf("Send: %v", err)
		}
		m.accepted++
	}
}

func (m *member) writeOn() {
	frame := testkit.Frame("never stops sending")
	for {
		if _, err := m.conn.Write(frame); err != nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// readOn reads until the end and then closes, as a client should.
func (m *member) readOn(pace time.Duration) {
	defer m.conn.Close()
	for r := bufio.NewReader(m.conn); ; {
		msg, err := testkit.ReadFrame(r)
		if err != nil {
			m.end = err
			return
		}
		if binary.BigEndian.Uint64(msg) != m.received {
			m.end = errors.New("a message is missing before the end")
			return
		}
		m.received++
		if pace > 0 {
			time.Sleep(pace)
		}
	}
}

// wantAll waits for the clients that read, and wants each to have got everything and then EOF.
func (f *fleet) wantAll() {
	f.tb.Helper()
	f.wg.Wait()
	bad := 0
	for i, m := range f.members {
		if m.stalled || m.end == io.EOF && m.received == m.accepted {
			continue
		}
		if bad++; bad < 5 {
			f.tb.Errorf("client %d (%s) got %d of %d messages, then %v", i, m.rig.Network, m.received, m.accepted, m.end)
		}
	}
	if bad > 0 {
		f.tb.Errorf("%d of %d clients lost something", bad, len(f.members))
	}
}

func (f *fleet) accepted() (sum uint64) {
	for _, m := range f.members {
		sum += m.accepted
	}
	return sum
}

// written is what the sessions handed to the kernel.
func (f *fleet) written() (sum uint64) {
	for _, m := range f.members {
		sum += m.session.Stats().MessagesOut
	}
	return sum
}
