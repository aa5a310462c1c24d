package bubbles

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
)

func TestMessagesAreExchangedForAnHourOfABubblesTime(t *testing.T) {
	inBubbles(t, func(t *testing.T, w way) {
		r := w.start(t, func(srv *libnet.Server) { srv.IdleTimeout = time.Minute }, testkit.EchoMessage)
		client, s := r.dial(t)
		if w.secure && !w.web {
			_, _ = client.receive() // the hello
		}
		for i := range 120 {
			msg := fmt.Sprint(i)
			client.send(t, msg)
			if got, err := client.receive(); got != msg || err != nil {
				t.Fatalf("received %q, %v; want %q", got, err, msg)
			}
			time.Sleep(30 * time.Second)
		}
		if s.IsClosed() {
			t.Errorf("closed: %v", s.Err())
		}
	})
}

func TestTimeoutsInABubblePassToTheNanosecond(t *testing.T) {
	inBubbles(t, func(t *testing.T, w way) {
		r := w.start(t, func(srv *libnet.Server) { srv.IdleTimeout = time.Minute }, testkit.EchoMessage)
		_, s := r.dial(t)
		begun := time.Now()
		<-s.Done()
		if took := time.Since(begun); took != time.Minute || !errors.Is(s.Err(), libnet.ErrIdleTimeout) {
			t.Errorf("ended after %v with %v, want %v and ErrIdleTimeout", took, s.Err(), time.Minute)
		}
	})
}

func TestHeartbeatsInABubbleKeepTheirInterval(t *testing.T) {
	inBubbles(t, func(t *testing.T, w way) {
		r := w.start(t, func(srv *libnet.Server) {
			srv.Heartbeat = libnet.Heartbeat{Interval: time.Second, Message: func(*libnet.Session) any { return []byte("beat") }}
		}, func(*libnet.Session, []byte) {})
		client, _ := r.dial(t)
		begun := time.Now()
		for range 100 {
			if got, err := client.receive(); got != "beat" || err != nil {
				t.Fatalf("received %q, %v", got, err)
			}
		}
		if took := time.Since(begun).Round(time.Second); took != 100*time.Second {
			t.Errorf("100 heartbeats took %v", took)
		}
	})
}

// sendMuch queues more than the pipe and the kernel that it stands for hold.
func sendMuch(t *testing.T, s *libnet.Session) (sent int) {
	t.Helper()
	for range 40 {
		if err := s.Send(make([]byte, 20<<10)); err != nil {
			t.Fatal(err)
		}
		sent++
	}
	return sent
}

func TestAPeerThatTakesNothingEndsInABubbleAtTheWriteTimeout(t *testing.T) {
	inBubbles(t, func(t *testing.T, w way) {
		r := w.start(t, func(srv *libnet.Server) { srv.WriteTimeout = 10 * time.Second }, func(*libnet.Session, []byte) {})
		_, s := r.dial(t)
		begun := time.Now()
		sendMuch(t, s)
		<-s.Done()
		if took := time.Since(begun); took < 10*time.Second || took > 21*time.Second || !errors.Is(s.Err(), libnet.ErrWriteTimeout) {
			t.Errorf("ended after %v with %v, want ErrWriteTimeout", took, s.Err())
		}
	})
}

func TestAShutdownInABubbleDeliversToASlowReader(t *testing.T) {
	inBubbles(t, func(t *testing.T, w way) {
		r := w.start(t, nil, func(*libnet.Session, []byte) {})
		client, s := r.dial(t)
		want := sendMuch(t, s)
		received := make(chan int)
		go func() {
			n := 0
			for ; ; n++ {
				time.Sleep(time.Second)
				if _, err := client.receive(); err != nil {
					break
				}
			}
			client.close()
			received <- n
		}()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := r.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if got := <-received; got != want {
			t.Errorf("the client received %d messages of %d", got, want)
		}
	})
}

func TestAShutdownInABubbleEndsWithItsContext(t *testing.T) {
	inBubbles(t, func(t *testing.T, w way) {
		r := w.start(t, func(srv *libnet.Server) { srv.WriteTimeout = -1 }, func(*libnet.Session, []byte) {})
		_, s := r.dial(t)
		sendMuch(t, s)
		synctest.Wait()
		begun := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var left *libnet.ShutdownError
		if err := r.Shutdown(ctx); !errors.As(err, &left) || left.Undelivered == 0 {
			t.Errorf("Shutdown: %v, want messages that were not delivered", err)
		}
		if took := time.Since(begun); took > time.Minute+200*time.Millisecond {
			t.Errorf("Shutdown took %v, with a minute's context", took)
		}
	})
}

func TestAHandlerThatSleepsInABubbleHoldsUpNobodyElse(t *testing.T) {
	inBubbles(t, func(t *testing.T, w way) {
		r := w.start(t, nil, func(s *libnet.Session, msg []byte) {
			if string(msg) == "sleep" {
				time.Sleep(time.Hour)
			}
			_ = s.Send(msg)
		})
		sleeper, _ := r.dial(t)
		sleeper.send(t, "sleep")
		client, _ := r.dial(t)
		begun := time.Now()
		for i := range 3 {
			client.send(t, fmt.Sprint(i))
		}
		for want := ""; want != "2"; {
			var err error
			if want, err = client.receive(); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(begun); took > 10*time.Millisecond {
			t.Errorf("the others waited for %v", took)
		}
		time.Sleep(time.Hour) // until the sleeper wakes
	})
}

func TestAPeerThatBeginsNoTLSHandshakeEndsInABubbleAtTheHandshakeTimeout(t *testing.T) {
	for _, w := range ways {
		if !w.secure {
			continue
		}
		t.Run(w.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := w.start(t, func(srv *libnet.Server) { srv.HandshakeTimeout, srv.WriteTimeout = time.Minute, -1 }, testkit.EchoMessage)
				conn, err := r.pipes.Dial()
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				synctest.Wait()
				for s := range r.Manager().All() {
					go s.Send([]byte("behind the handshake"))
				}
				begun := time.Now()
				if _, err := io.Copy(io.Discard, conn); err != nil {
					t.Errorf("the client reads %v, want the end", err)
				}
				if took := time.Since(begun); took != time.Minute {
					t.Errorf("closed after %v, want a minute", took)
				}
			})
		})
	}
}
