package mux_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/mux"
)

// The model of calls: what each ends with, and what is counted, whatever the peer answers, and whenever contexts and
// the session end. The test is the session's receiver, so each step is over before the next begins.

// A modelCall is a call that was made, in the order of which ids count.
type modelCall struct {
	kind    mux.Kind
	cancel  context.CancelFunc
	results chan string
	want    string // "" while it pends
	gone    bool   // an ordered one that nobody waits for
}

type model struct {
	t       *testing.T
	random  *rand.Rand
	mux     *mux.Mux
	session *libnet.Session
	ordered bool
	calls   []*modelCall
	queue   []*modelCall // of an ordered envelope: in order, until answered
	late    uint64
	unasked uint64
	reason  error // why the session has ended
	trace   []string
}

const modelMaxCalls = 5

func (m *model) step() {
	switch m.random.IntN(10) {
	case 0, 1, 2:
		m.call()
	case 3:
		m.cancel()
	case 4, 5, 6:
		m.reply()
	case 7:
		m.failure()
	case 8:
		m.timeout()
	case 9:
		if m.random.IntN(8) == 0 {
			m.end()
		}
	}
	synctest.Wait()
	m.check()
}

func (m *model) note(format string, args ...any) {
	m.trace = append(m.trace, fmt.Sprintf(format, args...))
}

func (m *model) pending() (n int) {
	for _, c := range m.calls {
		if c.want == "" || c.gone {
			n++
		}
	}
	return n
}

func (m *model) call() {
	c := &modelCall{kind: mux.Number(uint64(1 + m.random.IntN(2))), results: make(chan string, 2)}
	m.note("call %d of kind %s", len(m.calls)+1, c.kind)
	var ctx context.Context
	ctx, c.cancel = context.WithCancel(context.Background())
	switch {
	case m.reason != nil:
		c.want = m.reason.Error()
	case m.pending() >= modelMaxCalls:
		c.want = mux.ErrTooManyCalls.Error()
	}
	go func() {
		got, err := mux.Call[fish, fish](ctx, m.mux.Peer(m.session), c.kind, &fish{})
		if err != nil {
			c.results <- err.Error()
		} else {
			c.results <- got.Text
		}
	}()
	if c.want != "" {
		synctest.Wait()
		m.wantResult(len(m.calls)+1, c)
		return // it has no id
	}
	m.calls = append(m.calls, c)
	m.queue = append(m.queue, c)
}

func (m *model) pick() (id int, c *modelCall) {
	if len(m.calls) == 0 {
		return 1, nil
	}
	id = 1 + m.random.IntN(len(m.calls))
	return id, m.calls[id-1]
}

func (m *model) cancel() {
	if id, c := m.pick(); c != nil {
		m.note("cancel %d", id)
		c.cancel()
		m.abandon(c, context.Canceled)
	}
}

// timeout lets the time pass that a call without a deadline has.
func (m *model) timeout() {
	m.note("timeout")
	time.Sleep(time.Minute)
	for _, c := range m.calls {
		m.abandon(c, context.DeadlineExceeded)
	}
}

func (m *model) abandon(c *modelCall, err error) {
	if c.want == "" {
		c.want, c.gone = err.Error(), m.ordered
	}
}

func (m *model) reply() {
	id, c := m.pick()
	if m.random.IntN(10) == 0 {
		id, c = len(m.calls)+1+m.random.IntN(3), nil
	}
	text := fmt.Sprintf("reply %d", m.random.IntN(1000))
	body, _ := (&fish{Text: text}).Marshal()
	msg := append(header(1, uint64(id), mux.Reply), body...)
	if m.ordered {
		kind := uint32(1 + m.random.IntN(2))
		msg, _ = (&fish{Cmd: kind, Text: text}).Marshal()
		c = m.oldest(func(c *modelCall) bool { return c.kind == mux.Number(uint64(kind)) })
		if c == nil {
			return // it would be a request
		}
	}
	m.note("%s to %d", text, id)
	m.answered(c, id, text)
	m.mux.ServeMessage(m.session, msg)
}

func (m *model) failure() {
	id, c := m.pick()
	msg := append(header(1, uint64(id), mux.Failure), "\x05text"...)
	if m.ordered {
		msg, _ = (&fish{Cmd: 90001, Code: 5, Text: "text"}).Marshal()
		c = m.oldest(func(*modelCall) bool { return true })
	}
	m.note("failure of %d", id)
	m.answered(c, id, "libnet: mux: error 5: text")
	m.mux.ServeMessage(m.session, msg)
}

// oldest takes the first in the queue that is the one.
func (m *model) oldest(is func(*modelCall) bool) *modelCall {
	i := slices.IndexFunc(m.queue, is)
	if i < 0 || m.reason != nil {
		return nil
	}
	c := m.queue[i]
	m.queue = slices.Delete(m.queue, i, i+1)
	return c
}

func (m *model) answered(c *modelCall, id int, what string) {
	known := m.reason == nil && id <= len(m.calls) // a session that has ended knows nothing any more
	switch {
	case c != nil && c.want == "":
		c.want = what
	case c != nil && c.gone, !m.ordered && known:
		m.late++
	default:
		m.unasked++
	}
	if c != nil {
		c.gone = false
	}
}

func (m *model) end() {
	if m.reason != nil {
		return
	}
	m.note("end")
	m.reason = errors.New("test: it has ended")
	_ = m.session.CloseWithError(m.reason)
	for _, c := range m.calls {
		if c.want == "" {
			c.want = m.reason.Error()
		}
		c.gone = false
	}
	m.queue = nil
}

func (m *model) check() {
	for i, c := range m.calls {
		m.wantResult(i+1, c)
	}
	if got, want := m.mux.Stats(), (mux.Stats{Late: m.late, Unasked: m.unasked}); got != want {
		m.fail("%+v, want %+v", got, want)
	}
}

// wantResult compares what a call has ended with, if it has, and puts that back: a second would be one too many.
func (m *model) wantResult(id int, c *modelCall) {
	got := ""
	if n := len(c.results); n > 1 {
		m.fail("call %d has ended %d times", id, n)
	} else if n == 1 {
		got = <-c.results
		c.results <- got
	}
	if got != c.want {
		m.fail("call %d has ended with %q, want %q", id, got, c.want)
	}
}

func (m *model) fail(format string, args ...any) {
	m.t.Helper()
	m.t.Fatalf("%s\n%s", strings.Join(m.trace, "\n"), fmt.Sprintf(format, args...))
}

func TestEachCallEndsOnceAsTheModelSays(t *testing.T) {
	runs := 150
	if testing.Short() {
		runs = 20
	}
	for seed := range uint64(runs) {
		for _, envelope := range []mux.Envelope{mux.Binary(mux.ProtoBody), mux.Proto(90001)} {
			synctest.Test(t, func(t *testing.T) {
				m := &model{t: t, random: rand.New(rand.NewPCG(seed, 1)), mux: mux.New(envelope)}
				m.mux.MaxCalls = modelMaxCalls
				_, m.ordered = envelope.(mux.OrderedEnvelope)
				near, far := libnettest.Pipe()
				m.session = session(t, protocolOf(m.mux), near)
				defer far.Close()
				for range 60 {
					m.step()
				}
				m.end()
				synctest.Wait()
				m.check()
			})
		}
	}
}

func TestCallsThatAreAnsweredTimeOutAndEndAtOnceEachEndOnce(t *testing.T) {
	m := newMux()
	m.MaxCalls = -1
	s, hand := raw(t, m)
	go func() { // answers what comes in random order, some of it twice and some never
		for {
			msg, err := hand.Receive()
			if err != nil {
				return
			}
			id, n := idOf(msg), binary.BigEndian.Uint64(msg[len(msg)-8:])
			for range rand.IntN(3) {
				go func() { _ = hand.Send(reply(id, 2*n)) }()
			}
		}
	}()
	var calls sync.WaitGroup
	for n := range uint64(2000) {
		calls.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+rand.IntN(100))*time.Millisecond)
			defer cancel()
			err := <-call(ctx, m.Peer(s), n)
			if err != nil && err != context.DeadlineExceeded && err != libnet.ErrSessionClosed {
				t.Error(err)
			}
		})
	}
	time.AfterFunc(50*time.Millisecond, func() { _ = s.Close() })
	testkit.Within(t, patience, "all calls", calls.Wait)
}
