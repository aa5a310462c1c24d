package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"
)

// idle returns the bytes a second that the servers give to nodes with nothing to do: the messages, and all that is on
// the wire.
func (f *fleet) idle(span time.Duration) (payload, wire float64) {
	count := func() (payload, wire int64) {
		for _, m := range f.members {
			payload += int64(m.node.Conn().Stats().InBytes)
			wire += m.wire.out.Load()
		}
		return payload, wire
	}
	p0, w0 := count()
	begin := time.Now()
	time.Sleep(span)
	p1, w1 := count()
	seconds := time.Since(begin).Seconds()
	return float64(p1-p0) / seconds, float64(w1-w0) / seconds
}

func (f *fleet) published() (count uint64) {
	for _, m := range f.members {
		count += m.node.Conn().Stats().OutMsgs
	}
	return count
}

// loggedIn is what came of logins.
type loggedIn struct {
	users    []string
	took     []time.Duration
	messages float64 // that nodes published for one, heartbeats left out
}

// logins binds new users at some nodes, one after the other.
func (f *fleet) logins(ctx context.Context, at []*member, span time.Duration) (result loggedIn, err error) {
	before, begin := f.published(), time.Now()
	for i := 0; time.Since(begin) < span && i < 20000; i++ {
		f.named++
		user := fmt.Sprint("user-", f.named)
		session, err := f.sessions.NewSession(newSink())
		if err != nil {
			return loggedIn{}, err
		}
		if err := session.Send([]byte("welcome")); err != nil { // makes its codec, for which a message of a node hardly waits
			return loggedIn{}, err
		}
		start := time.Now()
		if err := at[i%len(at)].node.Bind(ctx, session, user); err != nil {
			return loggedIn{}, fmt.Errorf("login of %s: %w", user, err)
		}
		result.took = append(result.took, time.Since(start))
		result.users = append(result.users, user)
	}
	heartbeats := 2 * float64(len(f.members)) * time.Since(begin).Seconds()
	result.messages = (float64(f.published()-before) - heartbeats) / float64(len(result.users))
	return result, nil
}

// presence asks nodes for users that are elsewhere, mostly.
func (f *fleet) presence(ctx context.Context, at []*member, users []string, span time.Duration) (took []time.Duration, err error) {
	for begin := time.Now(); time.Since(begin) < span; {
		user, from := users[rand.IntN(len(users))], at[rand.IntN(len(at))].node
		start := time.Now()
		list, err := from.Online(ctx, user)
		if err != nil || len(list) != 1 {
			return nil, fmt.Errorf("presence of %s: %v, %w", user, list, err)
		}
		took = append(took, time.Since(start))
	}
	return took, nil
}

// sends sends 128 bytes, 64 messages at a time, and waits for each to be acknowledged.
func (f *fleet) sends(ctx context.Context, users []string, span time.Duration) (took []time.Duration, err error) {
	payload := make([]byte, 128)
	var mu sync.Mutex
	var senders sync.WaitGroup
	begin := time.Now()
	for range 64 {
		senders.Go(func() {
			var mine []time.Duration
			var failed error
			for time.Since(begin) < span && failed == nil {
				start := time.Now()
				failed = f.members[rand.IntN(len(f.members))].node.Send(ctx, users[rand.IntN(len(users))], payload)
				mine = append(mine, time.Since(start))
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, mine...)
			err = errors.Join(err, failed)
		})
	}
	senders.Wait()
	return took, err
}

func at(took []time.Duration, p float64) time.Duration {
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[min(len(took)-1, int(float64(len(took))*p))].Round(10 * time.Microsecond)
}

func both(took []time.Duration) string { return fmt.Sprintf("%v / %v", at(took, 0.5), at(took, 0.99)) }

// A sink is a peer that takes everything at once and never says anything.
type sink struct {
	net.Conn // nil
	once     sync.Once
	closed   chan struct{}
}

var _ net.Conn = (*sink)(nil)

func newSink() *sink { return &sink{closed: make(chan struct{})} }

func (s *sink) Read([]byte) (int, error) {
	<-s.closed
	return 0, net.ErrClosed
}

func (s *sink) Write(p []byte) (int, error) { return len(p), nil }

func (s *sink) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

func (s *sink) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
func (s *sink) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
func (s *sink) SetDeadline(time.Time) error      { return nil }
func (s *sink) SetReadDeadline(time.Time) error  { return nil }
func (s *sink) SetWriteDeadline(time.Time) error { return nil }
