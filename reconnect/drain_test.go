package reconnect_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/reconnect"
)

// A returning is what a test measures of clients whose server is drained, and followed by another at the same address.
type returning struct {
	clients int
	over    time.Duration                // of Drain
	listen  func() (net.Listener, error) // which waits for the one before to have gone
	dial    func(context.Context) (*libnet.Session, error)
}

// times returns after how long each client was back, since the drain began.
func (r *returning) times(t *testing.T) []time.Duration {
	t.Helper()
	first := r.serve(t)
	var began time.Time // written while no client connects
	var mu sync.Mutex
	var times []time.Duration
	var connected, back sync.WaitGroup
	connected.Add(r.clients)
	back.Add(r.clients)
	for range r.clients {
		known := false
		client := &reconnect.Client{Dial: r.dial, Logger: quiet, OnConnect: func(_ context.Context, s *libnet.Session) error {
			if err := s.Send("hello"); err != nil {
				return err
			}
			if _, err := s.Receive(); err != nil { // it is a session of the server's, and does not wait in the listener
				return err
			}
			if !known {
				known = true
				connected.Done()
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			times = append(times, time.Since(began))
			back.Done()
			return nil
		}}
		client.Start()
		defer client.Close()
	}
	connected.Wait()
	began = time.Now()
	drained := make(chan error, 1)
	go func() { drained <- first.Drain(context.Background(), r.over) }()
	<-first.Stopping()
	defer r.serve(t).Stop()
	back.Wait()
	if err := <-drained; err != nil {
		t.Error(err)
	}
	return times
}

func (r *returning) serve(t *testing.T) *libnet.Server {
	t.Helper()
	l, err := r.listen()
	if err != nil {
		t.Fatal(err)
	}
	srv := libnet.NewServer(l, frames, 16)
	srv.Logger = quiet
	go srv.ServeMessages(libnet.MessageHandlerFunc(func(s *libnet.Session, msg []byte) { _ = s.Send(msg) }))
	return srv
}

// histogram counts times by the step in which they fall.
func histogram(times []time.Duration, step time.Duration) (counts []int) {
	for _, d := range times {
		for len(counts) <= int(d/step) {
			counts = append(counts, 0)
		}
		counts[d/step]++
	}
	return counts
}

func TestClientsOfADrainedServerComeBackOverTheTimeThatItIsGiven(t *testing.T) {
	testkit.Slow(t)
	for over, most := range map[time.Duration]int{ // of 2,000, in a tenth of a second
		0:                250, // within the second that clients spread themselves over
		10 * time.Second: 40,
	} {
		synctest.Test(t, func(t *testing.T) {
			var listener atomic.Pointer[libnettest.Listener]
			r := &returning{clients: 2000, over: over}
			r.listen = func() (net.Listener, error) {
				l := libnettest.NewListener()
				listener.Store(l)
				return l, nil
			}
			r.dial = func(ctx context.Context) (*libnet.Session, error) {
				conn, err := listener.Load().Dial()
				if err != nil {
					return nil, err
				}
				d := libnet.Dialer{Protocol: frames}
				d.SendQueue, d.Logger = 16, quiet
				return d.NewSession(conn)
			}
			counts := histogram(r.times(t), 100*time.Millisecond)
			for i, n := range counts {
				if n > most {
					t.Errorf("drained over %v, %d clients came back within the %dth tenth of a second", over, n, i)
				}
			}
			if shortest := int(over / (100 * time.Millisecond)); len(counts) < shortest {
				t.Errorf("drained over %v, all had come back after %d tenths", over, len(counts))
			}
		})
	}
}

// LIBNET_DRAIN=3s has 2,000 clients measured over TCP, with a server that is shut down and one that is drained over
// that time.
func TestHowClientsComeBackOverTCP(t *testing.T) {
	over, err := time.ParseDuration(os.Getenv("LIBNET_DRAIN"))
	if err != nil {
		t.Skip("LIBNET_DRAIN is no time to drain over")
	}
	for _, over := range []time.Duration{0, over} {
		address := "127.0.0.1:0"
		r := &returning{clients: 2000, over: over}
		r.listen = func() (l net.Listener, err error) {
			for range 1000 {
				if l, err = net.Listen("tcp", address); err == nil {
					address = l.Addr().String()
					return l, nil
				}
				time.Sleep(time.Millisecond)
			}
			return nil, err
		}
		d := libnet.Dialer{Protocol: frames}
		d.SendQueue, d.Logger = 16, quiet
		r.dial = func(ctx context.Context) (*libnet.Session, error) { return d.Dial(ctx, "tcp", address) }
		counts := histogram(r.times(t), 100*time.Millisecond)
		t.Logf("drained over %v, in each tenth of a second: %s", over, strings.Trim(fmt.Sprint(counts), "[]"))
	}
}
