package mux_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/mux"
)

// A request by hand, and its answers, in the compact envelope.
func header(kind, id uint64, role mux.Role) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(nil, kind), id<<2|uint64(role))
}

// idOf is the id of a request in the compact envelope.
func idOf(msg []byte) uint64 {
	_, n := binary.Uvarint(msg)
	tag, _ := binary.Uvarint(msg[n:])
	return tag >> 2
}

func reply(id, n uint64) []byte { return binary.BigEndian.AppendUint64(header(1, id, mux.Reply), n) }

// call calls in the background.
func call(ctx context.Context, p mux.Peer, n uint64) <-chan error {
	result := make(chan error, 1)
	go func() {
		got, err := mux.Call[num, num](ctx, p, double, &num{n})
		if err == nil && got.N != 2*n {
			err = fmt.Errorf("a call with %d brought %d", n, got.N)
		}
		result <- err
	}()
	return result
}

func TestRepliesMayComeInAnyOrder(t *testing.T) {
	m := newMux()
	s, hand := raw(t, m)
	peer := m.Peer(s)
	var results []<-chan error
	var requests [][]byte
	for n := range uint64(50) {
		results = append(results, call(within(t, patience), peer, n))
		requests = append(requests, receive(t, hand))
	}
	slices.Reverse(requests)
	for _, msg := range requests {
		if err := hand.Send(reply(idOf(msg), 2*binary.BigEndian.Uint64(msg[len(msg)-8:]))); err != nil {
			t.Fatal(err)
		}
	}
	for _, result := range results {
		if err := <-result; err != nil {
			t.Error(err)
		}
	}
}

func TestTheEndOfACallsContextForgetsItAndItsReplyIsCountedAndDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMux()
		s, hand := raw(t, m)
		peer := m.Peer(s)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		began := time.Now()
		result := call(ctx, peer, 1)
		id := idOf(receive(t, hand))
		if err := <-result; err != context.DeadlineExceeded || time.Since(began) != time.Second {
			t.Fatal(err, time.Since(began))
		}
		_ = hand.Send(reply(id, 2))
		wantStats(t, m, mux.Stats{Late: 1})
		result = call(t.Context(), peer, 2)
		_ = hand.Send(reply(idOf(receive(t, hand)), 4))
		if err := <-result; err != nil {
			t.Error(err)
		}
	})
}

func TestACallWithoutADeadlineIsBoundedByTheMux(t *testing.T) {
	for timeout, want := range map[time.Duration]time.Duration{0: 30 * time.Second, time.Minute: time.Minute, -1: time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			m := newMux()
			m.CallTimeout = timeout
			s, hand := raw(t, m)
			peer := m.Peer(s)
			time.AfterFunc(time.Hour, func() { _ = s.CloseWithError(context.DeadlineExceeded) })
			began := time.Now()
			err := <-call(context.Background(), peer, 1)
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != want {
				t.Errorf("CallTimeout %v: %v after %v", timeout, err, time.Since(began))
			}
			_ = hand.Close()
			_ = s.Close()
		})
	}
}

func TestTheEndOfASessionFailsEveryPendingCallWithItsReason(t *testing.T) {
	reason := errors.New("test: that is all")
	for _, c := range []struct {
		name string
		end  func(s, hand *libnet.Session)
		want error
	}{
		{"ours", func(s, _ *libnet.Session) { _ = s.CloseWithError(reason) }, reason},
		{"the peer's", func(_, hand *libnet.Session) { _ = hand.Shutdown(context.Background()) }, io.EOF},
		{"a shutdown", func(s, _ *libnet.Session) { _ = s.ShutdownWithError(context.Background(), reason) }, reason},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMux()
				m.MaxCalls = 10_000
				s, hand := raw(t, m)
				peer := m.Peer(s)
				go func() { _, _ = hand.Receive(); c.end(s, hand) }()
				var calls sync.WaitGroup
				for n := range uint64(10_000) {
					calls.Go(func() {
						if err := <-call(context.Background(), peer, n); err != c.want {
							t.Error(err)
						}
					})
				}
				calls.Wait()
				_, err := mux.Call[num, num](context.Background(), peer, double, &num{1})
				if err != c.want && !errors.Is(err, libnet.ErrSessionClosed) {
					t.Error("after the end:", err)
				}
			})
		})
	}
}

func TestPendingCallsAreBounded(t *testing.T) {
	for set, limit := range map[int]int{0: 1024, 3: 3, -1: 5000} {
		synctest.Test(t, func(t *testing.T) {
			m := newMux()
			m.MaxCalls = set
			s, hand := raw(t, m)
			peer := m.Peer(s)
			ctx, cancel := context.WithCancel(t.Context())
			var results []<-chan error
			for n := range limit {
				results = append(results, call(ctx, peer, uint64(n)))
				receive(t, hand)
			}
			if set >= 0 {
				if err := <-call(ctx, peer, 1); err != mux.ErrTooManyCalls {
					t.Errorf("MaxCalls %d: %v", set, err)
				}
			}
			cancel()
			for _, result := range results {
				if err := <-result; err != context.Canceled {
					t.Error(err)
				}
			}
			ctx = t.Context()
			result := call(ctx, peer, 1)
			_ = hand.Send(reply(idOf(receive(t, hand)), 2))
			if err := <-result; err != nil {
				t.Error("after the others had ended:", err)
			}
		})
	}
}

func TestRepliesThatNobodyAskedForAreCountedAndDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMux()
		s, hand := raw(t, m)
		peer := m.Peer(s)
		_ = hand.Send(reply(1, 1)) // before there was any call
		wantStats(t, m, mux.Stats{Unasked: 1})
		result := call(t.Context(), peer, 1)
		id := idOf(receive(t, hand))
		_ = hand.Send(reply(id+1, 1))
		_ = hand.Send(append(header(1, 0, mux.Failure), 0))
		for range 1000 {
			if err := hand.Send(reply(id, 2)); err != nil {
				t.Fatal(err)
			}
		}
		if err := <-result; err != nil {
			t.Fatal(err)
		}
		if wantStats(t, m, mux.Stats{Late: 999, Unasked: 3}); s.IsClosed() {
			t.Error(s.Err())
		}
	})
}

func TestAnErrorOfAHandlerIsFoundByTheCallerWithItsCode(t *testing.T) {
	m, client := newMux(), newMux()
	var logged logs
	m.Logger = logged.logger()
	secret := errors.New("test: not for the peer")
	answers := map[uint64]error{
		1: &mux.Error{Code: 7, Text: "seven"},
		2: fmt.Errorf("wrapped: %w", &mux.Error{Code: 8, Text: "eight"}),
		3: secret,
		4: fmt.Errorf("test: %w", context.DeadlineExceeded),
	}
	mux.Handle(m, double, func(_ context.Context, _ *libnet.Session, n *num) (*num, error) { return nil, answers[n.N] })
	peer, _ := pair(t, client, m)
	for n, want := range map[uint64]mux.Error{
		1: {7, "seven"}, 2: {8, "eight"}, 3: {mux.CodeInternal, "internal error"}, 4: {mux.CodeTimeout, "deadline exceeded"},
	} {
		_, err := mux.Call[num, num](within(t, patience), peer, double, &num{n})
		var got *mux.Error
		if !errors.As(err, &got) || *got != want {
			t.Errorf("%d: %v, want %v", n, err, want)
		}
	}
	if text := logged.text(); !strings.Contains(text, secret.Error()) || strings.Count(text, "\n") != 1 {
		t.Errorf("logged: %s", text)
	}
}

func TestAReplyThatCannotBeDecodedIsTheCallersError(t *testing.T) {
	m := newMux()
	s, hand := raw(t, m)
	peer := m.Peer(s)
	result := call(within(t, patience), peer, 1)
	_ = hand.Send(append(header(1, idOf(receive(t, hand)), mux.Reply), "too short"[:3]...))
	if err := <-result; err == nil || err.Error() != "a number has 8 bytes" || s.IsClosed() {
		t.Error(err)
	}
	if _, err := mux.Call[struct{}, num](within(t, patience), peer, double, &struct{}{}); !errors.Is(err, libnet.ErrEncode) {
		t.Error(err)
	}
	if _, err := mux.Call[num, num](within(t, patience), peer, "say", &num{}); !errors.Is(err, libnet.ErrEncode) {
		t.Error(err)
	}
}
