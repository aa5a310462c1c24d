package ws_test

import (
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/libnettest"
)

// limited starts a server with a limit, on which clients measure when their messages are echoed.
func limited(t *testing.T, pipes *libnettest.Listener, limit libnet.RateLimit) *rig {
	return start(t, setup{listener: pipes, queue: 8, config: func(srv *libnet.Server) {
		srv.RateLimit = limit
		srv.IdleTimeout = 10 * time.Second
		srv.FrameTimeout, srv.HandshakeTimeout = 10*time.Second, 10*time.Second
		if currentMode == handlerMode { // whose receive loop pauses, and not the session
			srv.FrameTimeout, srv.HandshakeTimeout = -1, -1
		}
	}})
}

// answers returns how long after begun frames of two bytes and a payload of n came.
func answers(t *testing.T, r interface{ Read([]byte) (int, error) }, sizes ...int) (after []time.Duration) {
	begun := time.Now()
	for _, n := range sizes {
		p := make([]byte, 2+n)
		for got := 0; got < len(p); {
			k, err := r.Read(p[got:])
			if got += k; err != nil {
				t.Fatal(err)
			}
		}
		after = append(after, time.Since(begun))
	}
	return after
}

func TestMessagesKeepToTheRateLimit(t *testing.T) {
	inBubble(t, func(t *testing.T, pipes *libnettest.Listener) {
		r := limited(t, pipes, libnet.RateLimit{Messages: 2})
		conn, in := r.raw(t)
		write(t, conn, strings.Repeat(frame(fin|binaryFrame, "x"), 2)+frame(binaryFrame, strings.Repeat("x", 126))+frame(fin, "x")+
			frame(fin|binaryFrame, "y"))
		got := answers(t, in, 1, 1, 2+127, 1)
		want := []time.Duration{0, 0, time.Second / 2, time.Second}
		if !slices.Equal(got, want) {
			t.Errorf("echoed after %v, want %v", got, want)
		}
	})
}

// A flood of frames that are no messages is as slow, and what follows it comes whole. No timeout passes meanwhile.
func TestFramesThatAreNoMessagesKeepToTheRateLimit(t *testing.T) {
	const floods, pong = 40, 0x8a
	for name, small := range map[string]string{
		"pings":           strings.Repeat(frame(ping, ""), floods),
		"pongs":           strings.Repeat(frame(pong, "x"), floods),
		"empty fragments": frame(binaryFrame, "") + strings.Repeat(frame(0, ""), floods-1) + frame(fin, ""),
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, pipes *libnettest.Listener) {
				r := limited(t, pipes, libnet.RateLimit{Messages: 4, Per: 4 * time.Second})
				conn, in := r.raw(t)
				begun := time.Now()
				write(t, conn, small[:6])
				synctest.Wait() // a frame that has begun
				rest := small[6:] + frame(fin|binaryFrame, "the end")
				write(t, conn, rest[:len(rest)-20])
				go func() {
					time.Sleep(floods * time.Second) // no pause by now, and a frame that has been begun for so long
					write(t, conn, rest[len(rest)-20:])
				}()
				for last := ""; !strings.HasSuffix(last, "the end"); {
					p := make([]byte, 1000)
					n, err := in.Read(p)
					if err != nil {
						t.Fatal(err)
					}
					last += string(p[:n])
				}
				if took := time.Since(begun); took < (floods-4)*time.Second || took > (floods+3)*time.Second {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

func TestWhoFloodsIsToldWhereTheRateLimitSaysEnd(t *testing.T) {
	for name, small := range map[string]string{
		"messages": strings.Repeat(frame(fin|binaryFrame, "x"), 5),
		"pings":    strings.Repeat(frame(ping, ""), 5),
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, pipes *libnettest.Listener) {
				r := start(t, setup{listener: pipes, handler: sink, config: func(srv *libnet.Server) {
					srv.RateLimit = libnet.RateLimit{Messages: 4, End: true}
				}})
				browser := r.browser(t)
				s := r.session(t)
				conn, _ := r.raw(t)
				flooded := r.session(t)
				write(t, conn, small)
				wantEnd(t, flooded, libnet.ErrRateLimit)
				for range 5 {
					_ = browser.Write(t.Context(), websocket.MessageBinary, []byte("x"))
				}
				wantCode(t, browser, websocket.StatusPolicyViolation)
				wantEnd(t, s, libnet.ErrRateLimit)
			})
		})
	}
}

func TestNoShutdownWaitsForThePauseOfAFlood(t *testing.T) {
	inBubble(t, func(t *testing.T, pipes *libnettest.Listener) {
		r := start(t, setup{listener: pipes, handler: sink, config: func(srv *libnet.Server) {
			srv.RateLimit = libnet.RateLimit{Messages: 1, Per: time.Hour}
		}})
		conn, in := r.raw(t)
		s := r.session(t)
		write(t, conn, strings.Repeat(frame(ping, ""), 3)+frame(0x88, "\x03\xe8"))
		synctest.Wait()
		go func() {
			io.Copy(io.Discard, in)
			conn.Close()
		}()
		begun := time.Now()
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took >= time.Second {
			t.Errorf("it took %v", took)
		}
	})
}
