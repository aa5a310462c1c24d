package resume_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/reconnect"
	"github.com/libnet-go/libnet/resume"
)

func TestAWriteThatEndedAtItsDeadlineGoesOnWhereItEnded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(s *resume.Server) { s.MaxMessages = 1 })
		near, far := r.start(new(resume.Client))
		conn := near.NetConn()
		frames := []byte{0, 0, 0, 1, 'a', 0, 0, 0, 3, 'b', 'c', 'd', 0, 0, 0, 1, 'e'}
		if n, err := conn.Write(frames[:10]); n != 10 || err != nil {
			t.Fatal(n, err)
		}
		_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
		n, err := conn.Write(frames[10:])
		if n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(n, err)
		}
		_ = conn.SetWriteDeadline(time.Time{})
		go func() { _, err = conn.Write(frames[10+n:]) }()
		receive(t, far, "a", "bcd", "e")
		synctest.Wait()
		if err != nil {
			t.Error(err)
		}
	})
}

// What is no frame of a protocol with codec.Uint32BE must not be collected as if the rest of it came.
func TestTheBeginningOfAFrameThatIsTooLongIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(s *resume.Server) { s.MaxBytes = 100 })
		near, far := r.start(new(resume.Client))
		conn := near.NetConn()
		for _, begin := range []string{"\xff\xff\xff\xffabc", "\x00\x00\x00\x65abc"} {
			if _, err := conn.Write([]byte(begin)); !errors.Is(err, libnet.ErrFrameTooLarge) {
				t.Errorf("%q: %v", begin, err)
			}
		}
		if _, err := conn.Write([]byte("\x00\x00\x00\x01a")); err != nil {
			t.Error(err)
		}
		receive(t, far, "a")
	})
}

func TestAPartOfAFrameIsNotWrittenToWhatTakesNoFrame(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(*resume.Server) {})
		near, _ := r.start(new(resume.Client))
		conn := near.NetConn()
		_ = conn.SetWriteDeadline(time.Now().Add(-time.Second))
		for _, part := range []string{"\x00\x00", "\x00\x00\x00\x01a"} {
			if n, err := conn.Write([]byte(part)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%q behind the deadline: %v, %v", part, n, err)
			}
		}
		_ = conn.SetWriteDeadline(time.Time{})
		_ = conn.Close()
		if n, err := conn.Write([]byte{0, 0}); n != 0 || !errors.Is(err, libnet.ErrSessionClosed) {
			t.Error("behind the end:", n, err)
		}
	})
}

func TestADeadlineThatIsSetOftenTakesNoMoreMemory(t *testing.T) {
	near := new(resume.Client).Start(&reconnect.Client{Logger: testkit.Quiet, Dial: func(context.Context) (*libnet.Session, error) {
		return nil, net.ErrClosed
	}})
	defer near.Close()
	conn := near.NetConn()
	set := func(n int) {
		for range n {
			_ = conn.SetReadDeadline(time.Now().Add(time.Hour))
		}
	}
	set(10)
	before, _ := testkit.InUse()
	set(100_000)
	if after, _ := testkit.InUse(); after > before+2<<20 {
		t.Errorf("it took %d bytes", after-before)
	}
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	_ = conn.SetReadDeadline(time.Time{})
	time.AfterFunc(20*time.Millisecond, func() { _ = near.Close() })
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
}

// Each waits for the other to take its message, which nobody will.
func TestBothEndsOfANetConnMayShutDownAtOnceWithAMessageUnread(t *testing.T) {
	for name, whileAway := range map[string]bool{"connected": false, "without a connection": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t, func(s *resume.Server) { s.AckDelay = -1 })
				near, far := r.start(new(resume.Client))
				above := []*libnet.Session{overNetConn(t, near, codec.Bytes), overNetConn(t, far, codec.Bytes)}
				for _, s := range above {
					if err := s.Send([]byte("nobody reads it")); err != nil {
						t.Fatal(err)
					}
				}
				synctest.Wait()
				if whileAway {
					r.cut(near)
				}
				begin := time.Now()
				ended := make(chan error, len(above)) // nil, since all was handed to the connection
				for _, s := range above {
					go func() { ended <- s.Shutdown(t.Context()) }()
				}
				synctest.Wait()
				if whileAway {
					r.up()
				}
				for range above {
					<-ended
				}
				if took := time.Since(begin); took > time.Second {
					t.Errorf("it took %v", took)
				}
				wantEnd(t, near, nil, 1)
				wantEnd(t, far, nil, 1)
			})
		})
	}
}
