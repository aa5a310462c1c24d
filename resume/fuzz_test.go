package resume_test

import (
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/resume"
)

// A peer's frames, whatever they are, end their connection and session at the worst, and leave the server as it was.
func FuzzFrames(f *testing.F) {
	f.Add(newHello, oneAck, []byte{0, 'x'})
	f.Add(newHello, []byte{0x03, 0, 'x'}, []byte{0x11, 0})
	f.Add(newHello, []byte{0x15, 0}, []byte{0x00, 'x'})
	f.Add(newHello, []byte{0x10, 1}, []byte{0x10, 2})
	f.Add([]byte{0x12, 1, 0, 0, 0, 1, 1}, []byte{0, 'x'}, []byte{0, 'y'})
	f.Add(helloWith(make([]byte, 16), 0, 0), []byte{}, []byte{0x14, 1})
	f.Fuzz(func(t *testing.T, first, second, third []byte) {
		inBubble(t, func(t *testing.T) {
			r := newRig(t, nil)
			pipe, err := r.pipes.Dial()
			if err != nil {
				t.Fatal(err)
			}
			conn := rawSession(t, pipe)
			for _, frame := range [][]byte{first, second, third} {
				_ = conn.Send(frame)
				synctest.Wait()
				select {
				case s := <-r.sessions:
					_, _ = s.Send("1"), s.Send("2")
				default:
				}
			}
			_ = conn.Close()
			time.Sleep(time.Hour)
			if stats := r.server.Stats(); stats.Open != 0 || stats.Kept != 0 || stats.KeptBytes != 0 {
				t.Errorf("%+v", stats)
			}
		})
	})
}

// What a side of a session has sent and received, beside what the model says.
type side struct {
	*resume.Session
	sent, received uint64
}

func (s *side) send(t *testing.T, size int) {
	msg := append(binary.BigEndian.AppendUint64(nil, s.sent+1), make([]byte, size)...)
	switch err := s.Send(msg); {
	case err == nil:
		s.sent++
	case err != libnet.ErrSessionBlocked:
		t.Fatal(err)
	}
}

// receive takes one of the other side's messages if one is there.
func (s *side) receive(t *testing.T, other *side) {
	if stats := s.Stats(); stats.Taken == stats.Received {
		return
	}
	msg, err := s.Receive()
	if err != nil {
		t.Fatal(err)
	}
	if n := binary.BigEndian.Uint64(msg); n != s.received+1 || n > other.sent {
		t.Fatalf("received message %d behind %d, of %d that were sent", n, s.received, other.sent)
	}
	s.received++
}

// check wants the counters to agree with what was done, on both sides.
func (s *side) check(t *testing.T, other *side) {
	stats := s.Stats()
	if stats.Accepted != s.sent || stats.Taken != s.received || stats.Acknowledged > other.received || stats.Received > other.sent {
		t.Fatalf("%+v; sent %d, received %d; the other %d and %d", stats, s.sent, s.received, other.sent, other.received)
	}
}

// Sends, receives, cuts and pauses in any order: what one side sends the other receives, once and in order, and
// counters agree with what was done at every moment.
func FuzzSessionAgainstItsModel(f *testing.F) {
	f.Add([]byte("asdf"), byte(0))
	f.Add([]byte{0, 1, 4, 2, 3, 0, 1, 5, 6, 2, 3, 0, 0, 0, 4, 7, 5, 2, 2, 2}, byte(2))
	f.Add([]byte{0, 0, 0, 0, 4, 5, 6, 2, 4, 0, 5, 6, 2, 2, 1, 1, 4, 3, 5, 6, 3, 2}, byte(200))
	f.Add([]byte{0x30, 0x41, 0x50, 4, 2, 5, 0x71, 4, 5, 7, 0x92, 0xa3, 0xf0, 0xf0, 0xf1, 4}, byte(17))
	f.Fuzz(func(t *testing.T, script []byte, bounds byte) {
		if len(script) > 400 {
			return
		}
		inBubble(t, func(t *testing.T) {
			config := resume.Config{MaxMessages: 1 + int(bounds), MaxBytes: 4 << 10, AckDelay: time.Duration(bounds%7) * time.Millisecond}
			r := newRig(t, func(s *resume.Server) { s.Config = config })
			a, b := r.start(&resume.Client{Config: config})
			near, far := &side{Session: a}, &side{Session: b}
			for _, op := range script {
				switch op % 8 {
				case 0:
					near.send(t, int(op)*4)
				case 1:
					far.send(t, int(op)*4)
				case 2:
					near.receive(t, far)
				case 3:
					far.receive(t, near)
				case 4:
					r.down.Store(true)
					if conn := a.Conn(); conn != nil {
						_ = conn.Close()
					}
				case 5:
					r.up()
				case 6:
					time.Sleep(time.Duration(op) * time.Millisecond)
				case 7:
					synctest.Wait()
				}
				if op&0x80 == 0 {
					synctest.Wait()
				}
				near.check(t, far)
				far.check(t, near)
			}
			r.up()
			for begin := time.Now(); near.received < far.sent || far.received < near.sent; time.Sleep(10 * time.Millisecond) {
				if time.Since(begin) > time.Minute {
					t.Fatalf("%v %+v, %v %+v", a.State(), a.Stats(), b.State(), b.Stats())
				}
				near.receive(t, far)
				far.receive(t, near)
			}
			time.Sleep(time.Minute)
			if near.Stats().Acknowledged != near.sent || far.Stats().Acknowledged != far.sent {
				t.Fatalf("%+v, %+v", near.Stats(), far.Stats())
			}
			begin := time.Now()
			if err := near.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			<-far.Done()
			if time.Since(begin) > time.Second {
				t.Fatalf("the shutdown took %v", time.Since(begin))
			}
			if !errors.Is(far.Err(), io.EOF) {
				t.Fatal(far.Err())
			}
		})
	})
}
