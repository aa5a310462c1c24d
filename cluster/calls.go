package cluster

import (
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
)

// An answer is what came back to a question.
type answer struct {
	target int    // whom the question went to, where that was said
	code   byte   // one of the answer codes
	data   []byte // what follows it
}

// A call is a question whose answers are waited for.
type call struct {
	number  uint64
	after   uint64      // the post that the question follows; set by who asks
	answers chan answer // calls sends, without ever waiting; whoever asked receives; never closed
}

// callAnswers is room for those of a user's sessions: one, and a few while logins are told apart.
const callAnswers = 8

// calls gives answers to those who asked. One subscription, with one goroutine of the NATS client, serves all.
type calls struct {
	mu sync.Mutex
	// mu guards the following.
	last uint64
	open map[uint64]*call
	free []*call // with room for callAnswers
}

// maxFreeCalls bounds what a burst leaves behind.
const maxFreeCalls = 1024

func (c *calls) begin(room int) *call {
	c.mu.Lock()
	defer c.mu.Unlock()
	var k *call
	if last := len(c.free) - 1; room <= callAnswers && last >= 0 {
		k, c.free = c.free[last], c.free[:last]
	} else {
		k = &call{answers: make(chan answer, max(room, callAnswers))}
	}
	c.last++
	k.number, k.after = c.last, 0
	c.open[k.number] = k
	return k
}

// end forgets a call. Nothing is sent to it any more, so it may serve again.
func (c *calls) end(k *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, k.number)
	if cap(k.answers) > callAnswers || len(c.free) >= maxFreeCalls {
		return
	}
	for len(k.answers) > 0 {
		<-k.answers
	}
	c.free = append(c.free, k)
}

func (c *calls) answer(number uint64, a answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answerLocked(c.open[number], a)
}

func (c *calls) answerLocked(k *call, a answer) {
	if k == nil {
		return // it has ended
	}
	select {
	case k.answers <- a:
	default: // more than anybody waits for
	}
}

// fail tells all who wait that the connection broke.
func (c *calls) fail() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.open {
		c.answerLocked(k, answer{code: answerLost})
	}
}

// replySubject is where answers to k go; target tells apart whom it was sent to.
func (n *Node) replySubject(k *call, target int) string {
	var room [96]byte
	b := append(room[:0], n.subjects.replies...)
	b = strconv.AppendUint(b, k.number, 36)
	if target > 0 {
		b = append(b, '.')
		b = strconv.AppendUint(b, uint64(target), 36)
	}
	return string(b)
}

// handleReply is called by the NATS client for each answer, one at a time.
func (n *Node) handleReply(m *nats.Msg) {
	suffix := strings.TrimPrefix(m.Subject, n.subjects.replies)
	if n.handlePostAnswer(suffix, m.Data) {
		return
	}
	number, target, ok := parseReply(suffix)
	switch {
	case !ok:
	case len(m.Data) > 0:
		n.calls.answer(number, answer{target: target, code: m.Data[0], data: m.Data[1:]})
	case m.Header.Get("Status") == "503":
		n.calls.answer(number, answer{target: target, code: answerNoResponders})
	}
}

func parseReply(suffix string) (number uint64, target int, ok bool) {
	first, second, more := strings.Cut(suffix, ".")
	number, err := strconv.ParseUint(first, 36, 64)
	if err != nil {
		return 0, 0, false
	}
	if more {
		t, err := strconv.ParseUint(second, 36, 31)
		if err != nil {
			return 0, 0, false
		}
		target = int(t)
	}
	return number, target, true
}
