package resume_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/resume"
)

// Messages both ways over connections that are cut, reset, stalled and half-delivered at random bytes. In CI some
// hundred cuts; the long run, with 5,000 and more over 1,000,000 messages each way, is
//
//	LIBNET_RESUME_CUTS=5000 go test ./resume -run TestNoMessageIsLost -v -timeout 60m
func TestNoMessageIsLostTwiceOrOutOfOrderThoughConnectionsAreCut(t *testing.T) {
	testkit.Slow(t)
	cuts, clients, messages := 40, 4, 4000
	if testkit.Race {
		clients, messages = 2, 1000
	}
	if set := os.Getenv("LIBNET_RESUME_CUTS"); set != "" {
		n, err := strconv.Atoi(set)
		if err != nil {
			t.Fatal(err)
		}
		cuts, clients, messages = n/len(sites), 8, 32000
	}
	for name, serve := range sites {
		t.Run(name, func(t *testing.T) {
			total := uint64(0)
			for round := uint64(0); total < uint64(cuts); round++ {
				total += chaos(t, serve, round, clients, messages)
				if t.Failed() {
					return
				}
			}
		})
	}
}

// The same over TLS, where a cut also falls into handshakes and records.
func TestNoMessageIsLostOverTLSThoughConnectionsAreCut(t *testing.T) {
	testkit.Slow(t)
	clients, messages := 3, 600
	if testkit.Race {
		clients, messages = 2, 500
	}
	for name, serve := range secureSites {
		t.Run(name, func(t *testing.T) {
			total := uint64(0)
			for round := uint64(0); total < 20 && !t.Failed(); round++ {
				total += chaos(t, serve, round, clients, messages)
			}
		})
	}
}

// chaos has each of the clients exchange messages with a server, and returns how many connections were cut.
func chaos(t *testing.T, serve func(testing.TB, *resume.Server) site, seed uint64, clients, messages int) uint64 {
	var failed atomic.Int64
	server := &resume.Server{}
	server.AckDelay = 5 * time.Millisecond
	var served sync.WaitGroup
	exchange := func(s *resume.Session) {
		if err := exchange(s, messages); err != nil {
			failed.Add(1)
			t.Errorf("session %d: %v; %+v", s.ID(), err, s.Stats())
		}
	}
	served.Add(clients)
	server.Handler = func(s *resume.Session) {
		if _, err := s.Receive(); err != nil {
			return // its client never got the welcome, and began anew
		}
		defer served.Done()
		exchange(s)
	}
	place := serve(t, server)
	proxy := libnettest.NewProxy(t, "tcp", place.addr, libnettest.Chaos{Seed: seed, Every: 20 << 10, Stall: 5 * time.Millisecond})
	client := &resume.Client{}
	client.AckDelay = 5 * time.Millisecond
	var all []*resume.Session
	var clientSide sync.WaitGroup
	for range clients {
		s := client.Start(place.over(proxy.Addr().String()))
		all = append(all, s)
		clientSide.Go(func() { testkit.CheckErr(t, "the first Send", s.Send([]byte("here")), nil); exchange(s) })
	}
	clientSide.Wait()
	served.Wait()
	var resumes uint64
	for _, s := range all {
		if err := s.Shutdown(testkit.TimeoutContext(t, time.Minute)); err != nil {
			t.Error(err)
		}
		resumes += s.Stats().Resumes
	}
	t.Logf("%d messages each way by %d clients: %d cuts, %d stalls, %d resumes, %d sessions failed",
		clients*messages, clients, proxy.Cuts(), proxy.Stalls(), resumes, failed.Load())
	proxy.Close()
	server.Close()
	return proxy.Cuts()
}

// exchange sends messages and receives as many, whose numbers and contents it checks.
func exchange(s *resume.Session, messages int) error {
	sent := make(chan error, 1)
	go func() {
		msg := make([]byte, 8, 600)
		for i := range messages {
			binary.BigEndian.PutUint64(msg[:8], uint64(i))
			msg = msg[:8+i%97*6]
			if err := s.SendContext(patient, msg); err != nil {
				sent <- fmt.Errorf("sending %d: %w", i, err)
				return
			}
		}
		sent <- nil
	}()
	for i := range messages {
		msg, err := s.Receive()
		if err != nil {
			return fmt.Errorf("receiving %d: %w", i, err)
		}
		if n := binary.BigEndian.Uint64(msg); n != uint64(i) || len(msg) != 8+i%97*6 {
			return fmt.Errorf("received %d of %d bytes in the place of %d", n, len(msg), i)
		}
	}
	return <-sent
}
