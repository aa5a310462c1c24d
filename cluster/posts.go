package cluster

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Interest spreads by itself, and may be behind a Bind that has returned: then NATS says of a message that nobody is
// there, or only a node hears it that no longer holds the user. A Send learns that from its answer. A Post has gone on,
// so posts are kept for the moment in which they may be refused, and those that are take a detour by the user's homes.
// Later ones to the same user wait for that, and so does a Send; those that have gone out before the refusal came say
// which post they follow, and wait for it where they arrive (late.go).
type posts struct {
	mu sync.Mutex
	// mu guards the following.
	last    uint64            // number of the latest message to a user
	oldest  uint64            // that is kept
	bytes   int               // of all that are kept
	kept    []post            // by number, modulo its length; made when there is one
	latest  map[string]uint64 // by token: of what is kept
	detours map[string]*detour
	fates   map[fate]bool // that are being found out
	ticks   uint64
}

type post struct {
	number  uint64
	token   string
	payload []byte
	tick    uint64 // when it was sent
	after   uint64 // the post to the same user before it, 0 for none that was in doubt
	refused bool
	left    bool // by a node that the user had left: another one may have had it
	detours int  // on which it has been
	settled bool // it has arrived
}

// A detour is what waits for a user's homes.
type detour struct {
	waiting []post // in order
	done    chan struct{}
}

const (
	// postsKept and postsBytes bound what is kept: at 200,000 posts a second those of 80 ms. A refusal takes as long as
	// a message to the NATS server and back, or to the node that a user has left.
	postsKept  = 16 << 10
	postsBytes = 4 << 20
	keptPost   = 1 << 10 // the largest buffer that is used again

	// maxDetours and maxWaiting bound what waits. More is lost.
	maxDetours = 8192
	maxWaiting = 1024

	// mostDetours is how often a post goes where the homes say, at least pursuitPause apart.
	mostDetours = 32
)

// inDoubt is how many ticks after it was sent a post may be refused, as far as order is concerned: a second at least.
// Ticks come late where this process gets no processor for a while, and then it reads the refusal late, too; one that
// gets a little of it again and again sees them in time, and handles little between them.
const inDoubt = 10

// tick is called each watchInterval.
func (p *posts) tick() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ticks++
}

func (p *posts) inDoubtLocked(k *post) bool { return p.ticks-k.tick <= inDoubt }

// note gives a post its number, and says which one it follows, 0 for none that is in doubt. It is false for a post that
// waits behind others, and for one that is lost.
func (p *posts) note(token string, payload []byte) (number, after uint64, send bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last++
	if d := p.detours[token]; d != nil {
		if len(d.waiting) < maxWaiting {
			d.waiting = append(d.waiting, post{number: p.last, token: token, payload: slices.Clone(payload)})
		}
		return 0, 0, false
	}
	after = p.beforeLocked(token)
	p.keepLocked(p.last, token, payload).after = after
	return p.last, after, true
}

// beforeLocked returns the user's latest post if that is in doubt.
func (p *posts) beforeLocked(token string) uint64 {
	number, ok := p.latest[token]
	if !ok {
		return 0
	}
	if k := &p.kept[number%postsKept]; k.refused || k.settled || !p.inDoubtLocked(k) {
		return 0
	}
	return number
}

func (p *posts) keepLocked(number uint64, token string, payload []byte) *post {
	if p.kept == nil {
		p.kept = make([]post, postsKept)
		p.latest = make(map[string]uint64)
		p.oldest = p.last
	}
	for p.oldest+postsKept <= p.last {
		p.dropLocked()
	}
	k := &p.kept[number%postsKept]
	*k = post{number: number, token: token, payload: append(k.payload[:0], payload...), tick: p.ticks}
	p.latest[token] = max(p.latest[token], number)
	for p.bytes += len(payload); p.bytes > postsBytes && p.oldest < p.last; {
		p.dropLocked()
	}
	return k
}

// dropLocked forgets the oldest.
func (p *posts) dropLocked() {
	k := &p.kept[p.oldest%postsKept]
	if k.number == p.oldest {
		p.bytes -= len(k.payload)
		if p.latest[k.token] == k.number {
			delete(p.latest, k.token)
		}
		if k.number, k.token = 0, ""; cap(k.payload) > keptPost {
			k.payload = nil
		}
	}
	p.oldest++
}

// noteSend returns the post that a message to the user follows, 0 for none that is in doubt. While posts to the user
// are on a detour, it returns what is closed at its end.
func (p *posts) noteSend(token string) (after uint64, detour <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d := p.detours[token]; d != nil {
		return 0, d.done
	}
	if len(p.latest) > 0 {
		after = p.beforeLocked(token)
	}
	return after, nil
}

// behindDetours is noteSend that waits until no post to the user is on a detour.
func (n *Node) behindDetours(ctx context.Context, token string) (after uint64, err error) {
	for {
		after, detour := n.posts.noteSend(token)
		if detour == nil {
			return after, nil
		}
		select {
		case <-detour:
		case <-ctx.Done():
			return 0, n.unknown(ctx.Err())
		case <-n.done:
			return 0, ErrClosed
		}
	}
}

// confirm notes that a message that followed a post has arrived: so have the post and those before, unless they were
// refused.
func (p *posts) confirm(after uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for after != 0 {
		k := &p.kept[after%postsKept]
		if k.number != after || k.settled {
			return
		}
		k.settled = true
		after = k.after
	}
}

// arrived notes that a post has come to a session: who refuses it has heard it beside that session's node.
func (p *posts) arrived(number uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.kept == nil {
		return
	}
	if k := &p.kept[number%postsKept]; k.number == number {
		k.settled = true
	}
}

// refuse puts a post on its detour, and reports whether that begins with it.
func (p *posts) refuse(number uint64, left bool) (token string, begins bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.kept == nil {
		return "", false
	}
	k := &p.kept[number%postsKept]
	if k.number != number || k.refused || k.settled || k.detours >= mostDetours || left && !p.inDoubtLocked(k) {
		return "", false
	}
	k.refused = true
	d := p.detours[k.token]
	if d == nil {
		if len(p.detours) >= maxDetours {
			return "", false
		}
		d = &detour{done: make(chan struct{})}
		if p.detours == nil {
			p.detours = make(map[string]*detour)
		}
		p.detours[k.token] = d
		begins = true
	}
	at, _ := slices.BinarySearchFunc(d.waiting, number, func(w post, n uint64) int { return int(int64(w.number - n)) })
	d.waiting = slices.Insert(d.waiting, at, post{number: number, token: k.token, payload: slices.Clone(k.payload), left: left, detours: k.detours})
	return k.token, begins
}

// next takes what waits; when nothing does, the detour ends.
func (p *posts) next(token string) []post {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.detours[token]
	waiting := d.waiting
	d.waiting = nil
	if len(waiting) == 0 {
		delete(p.detours, token)
		close(d.done)
	}
	return waiting
}

// lost returns those that have not come to a session, as far as is known.
func (p *posts) lost(waiting []post) []post {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(waiting, func(w post) bool {
		k := &p.kept[w.number%postsKept]
		return w.left && (k.number != w.number || k.settled)
	})
}

// leaves notes that a post ends its detour, or its wait behind others. Homes may name a node that the user has just
// left, which refuses it.
func (p *posts) leaves(w post) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch k := &p.kept[w.number%postsKept]; {
	case k.number == w.number:
		k.refused, k.tick, k.detours = false, p.ticks, k.detours+1
	case w.number >= p.oldest:
		p.keepLocked(w.number, w.token, w.payload)
	}
}

// wait waits for the posts that are on a detour, and is false when there is none.
func (p *posts) wait(ctx context.Context) (bool, error) {
	p.mu.Lock()
	detours := slices.Collect(maps.Values(p.detours))
	p.mu.Unlock()
	for _, d := range detours {
		select {
		case <-d.done:
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	return len(detours) > 0, nil
}

// detour sends posts that were refused to the node that the user's homes name, and drops them if there is none.
func (n *Node) detour(token string) {
	ctx, cancel := n.bounded(n.life)
	defer cancel()
	for {
		l, err := n.locate(ctx, token) // its answer comes after the refusals of all that was posted before
		posts := n.posts.next(token)
		if len(posts) == 0 {
			return
		}
		if err != nil || l.Node == "" {
			continue
		}
		if slices.ContainsFunc(posts, func(p post) bool { return p.detours > 0 }) {
			pause(ctx, pursuitPause)
		}
		for _, p := range n.stillLost(ctx, posts) {
			n.posts.leaves(p)
			_ = n.publish(n.subjects.at(l.Node, token), n.postSubject(p.number), kindPost, 0, p.payload)
		}
	}
}

// stillLost returns those that no session has had. Beside the node that a user has left, others may have heard a post:
// behind a round they have said so. Messages that are held for it must not hold that up.
func (n *Node) stillLost(ctx context.Context, posts []post) []post {
	left := func(p post) bool { return p.left }
	posts = n.posts.lost(posts)
	if !slices.ContainsFunc(posts, left) {
		return posts
	}
	if _, err := n.pass(ctx, &n.hasty); err != nil {
		return slices.DeleteFunc(posts, left) // at most once
	}
	return n.posts.lost(posts)
}

const postReplies = "-."

// postSubject is where a post is refused.
func (n *Node) postSubject(number uint64) string {
	var room [96]byte
	b := append(room[:0], n.subjects.replies...)
	b = append(b, postReplies...)
	return string(strconv.AppendUint(b, number, 36))
}

// handlePostAnswer is called by the NATS client for what comes back of a post: where it went, or from NATS itself,
// without data, that it went nowhere.
func (n *Node) handlePostAnswer(suffix string, data []byte) bool {
	text, ok := strings.CutPrefix(suffix, postReplies)
	if !ok {
		return false
	}
	number, err := strconv.ParseUint(text, 36, 64)
	switch {
	case err != nil:
	case len(data) > 0 && data[0] == answerQueued:
		n.posts.arrived(number)
	default:
		if token, begins := n.posts.refuse(number, len(data) > 0); begins {
			n.spawn(func() { n.detour(token) })
		}
	}
	return true
}
