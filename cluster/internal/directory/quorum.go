package directory

import (
	"context"
	"errors"
	"slices"
	"time"
)

const (
	// hedgeAfter is how long the best homes have before the others are asked, too. When all answer late, because there
	// is much to do, they have as much longer, up to hedgeAtMost: more questions would make that worse.
	hedgeAfter  = 15 * time.Millisecond
	hedgeAtMost = 250 * time.Millisecond

	// askAgain is when a question is repeated, in case it was lost: then after twice as long each time, up to
	// askAgainAtMost, since an answer may also be late because there is more to do than all can, and questions are more
	// of that. They may be asked any number of times.
	askAgain       = 100 * time.Millisecond
	askAgainAtMost = 4 * askAgain

	// slowFor is how long a home that was late is asked after others.
	slowFor = time.Second
)

// A repetition says after how long a question is asked again. The zero value is that of one that was asked once.
type repetition time.Duration

func (r *repetition) next() time.Duration {
	*r = min(max(2**r, repetition(askAgain)), repetition(askAgainAtMost))
	return time.Duration(*r)
}

// errViewChanged says that other homes have to be asked.
var errViewChanged = errors.New("directory: the view has changed")

// A call waits for answers.
type call struct {
	number  uint64
	answers chan message // handleAnswer sends, without ever waiting; has room for all that is of use
}

const callAnswers = 4 * maxHomes

func (d *Directory) beginLocked() *call {
	d.lastCall++
	c := &call{number: d.lastCall, answers: make(chan message, callAnswers)}
	d.calls[c.number] = c
	return c
}

func (d *Directory) endCall(c *call) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.calls, c.number)
}

func (d *Directory) handleAnswer(m message) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c := d.calls[m.call]; c != nil {
		select {
		case c.answers <- m:
		default:
		}
	}
}

// A quorum asks a user's homes, the quickest first and the others when those are late.
type quorum struct {
	d        *Directory
	call     *call
	view     *view
	changed  chan struct{}
	homes    []string // in the order in which they are asked
	need     int      // how many are a majority
	asked    int
	answered []bool
	any      bool // has answered
	begun    time.Time
	late     time.Time // when the rest was asked
	first    int       // how many were asked before that
	hedge    time.Duration
}

func (d *Directory) beginQuorumLocked(token string) *quorum {
	h := d.view.homes(token)
	q := &quorum{
		d: d, call: d.beginLocked(), view: d.view, changed: d.changed,
		homes: slices.Clone(h.list()), need: min(h.count, h.count/2+1), answered: make([]bool, h.count), begun: time.Now(),
		hedge: min(max(hedgeAfter, 4*d.typical), hedgeAtMost),
	}
	slices.SortStableFunc(q.homes, func(a, b string) int { return int(d.slownessLocked(a, q.begun) - d.slownessLocked(b, q.begun)) })
	return q
}

func (d *Directory) slownessLocked(node string, now time.Time) int8 {
	if d.members[node].slowUntil.After(now) {
		return 1
	}
	return 0
}

func (q *quorum) end() { q.d.endCall(q.call) }

// run asks until enough have answered as good finds it: it is true for an answer that counts. Other answers end it
// through err.
func (q *quorum) run(ctx context.Context, ask func(home string, first, late bool) error, good func(message) (bool, error)) error {
	for q.asked < q.need {
		q.asked++
		if err := ask(q.homes[q.asked-1], q.asked == 1, false); err != nil {
			return err
		}
	}
	timer := time.NewTimer(q.hedge)
	defer timer.Stop()
	var again repetition
	for count := 0; count < q.need; {
		select {
		case m := <-q.call.answers:
			if !q.note(m) {
				continue
			}
			ok, err := good(m)
			if err != nil {
				return err
			}
			if ok {
				count++
			}
		case <-timer.C:
			if err := q.askRest(ask); err != nil {
				return err
			}
			timer.Reset(again.next())
		case <-q.changed:
			if err := q.moved(); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		case <-q.d.closed:
			return ErrClosed
		}
	}
	return nil
}

// note reports whether an answer is the first of a home.
func (q *quorum) note(m message) bool {
	home := m.from
	if m.about != "" {
		home = m.about
	}
	i := slices.Index(q.homes, home)
	if i < 0 || q.answered[i] {
		return false
	}
	q.answered[i] = true
	if m.about == "" && home != q.d.self {
		asked := q.begun
		if i >= q.first && !q.late.IsZero() {
			asked = q.late
		}
		q.d.noteTime(home, time.Since(asked), q.hedge, !q.any)
		q.any = true
	}
	return true
}

// askRest asks all that have not answered.
func (q *quorum) askRest(ask func(string, bool, bool) error) error {
	if q.late.IsZero() {
		q.late, q.first = time.Now(), q.asked
	}
	for i, home := range q.homes {
		if q.answered[i] {
			continue
		}
		if i < q.asked {
			q.d.noteTime(home, q.hedge, 0, false)
		}
		if err := ask(home, false, true); err != nil {
			return err
		}
	}
	q.asked = len(q.homes)
	return nil
}

// noteTime notes how long a home took, and asks it after others if that was too long. The first answer of some homes is
// the typical one.
func (d *Directory) noteTime(node string, took, bound time.Duration, first bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if first {
		d.typical += (took - d.typical) / 8
	}
	m, ok := d.members[node]
	switch slow := took > bound; {
	case !ok:
		return
	case slow:
		m.slowUntil = time.Now().Add(slowFor)
	case m.slowUntil.IsZero():
		return
	default:
		m.slowUntil = time.Time{}
	}
	d.members[node] = m
}

// moved returns errViewChanged if the view has.
func (q *quorum) moved() error {
	q.d.mu.Lock()
	defer q.d.mu.Unlock()
	q.changed = q.d.changed
	if q.d.view != q.view {
		return errViewChanged
	}
	return nil
}
