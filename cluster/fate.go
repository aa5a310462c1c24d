package cluster

import (
	"encoding/binary"
	"strings"
)

// What became of a post, only its sender can find out: the node that took it may not have said so, and the one that
// refuses it, or the detour that it is on, may be slow. So a node that holds a message for a post asks the sender, and
// the sender answers when the post, and those before it to the same user, have gone where they go: on the connection
// that they have gone on, so that they come first.
type fate struct {
	number   uint64
	instance string // who asks, or who sent the post
	token    string // the user's
}

// maxFates bounds what is being found out at a time. Of more the node is asked again.
const maxFates = 4096

func (f fate) append(kind byte) []byte {
	dst := binary.BigEndian.AppendUint64([]byte{kind}, f.number)
	return append(dst, f.instance+" "+f.token...)
}

// parseFate takes apart what follows the kind.
func parseFate(src []byte) (f fate, err error) {
	if len(src) < 8 {
		return fate{}, errMalformed
	}
	f.number = binary.BigEndian.Uint64(src)
	instance, token, ok := strings.Cut(string(src[8:]), " ")
	if f.instance, f.token = instance, token; !ok || !validInstance(instance) {
		return fate{}, errMalformed
	}
	return f, nil
}

// hears reports whether a node is there to be asked.
func (n *Node) hears(instance string) bool { return instance == n.instance || n.peers.fresh(instance) }

func (n *Node) askFate(at lane, number uint64) {
	f := fate{number, n.instance, at.token}
	_ = n.conn.Publish(n.subjects.nodeOf(at.instance), f.append(kindFate)) // or it is asked again
}

// tellFate answers a question, at once if it can. The dispatcher calls it.
func (n *Node) tellFate(f fate) {
	switch detour, doubt := n.posts.fate(f); {
	case detour == nil && !doubt:
		n.answerFate(f)
	case n.posts.beginFate(f):
		n.spawn(func() {
			defer n.posts.endFate(f)
			n.findFate(f)
		})
	}
}

func (n *Node) answerFate(f fate) {
	_ = n.conn.Publish(n.subjects.nodeOf(f.instance), fate{f.number, n.instance, f.token}.append(kindSettled))
}

// findFate waits until a post has gone where it goes. Behind a round, whoever may refuse it has done so.
func (n *Node) findFate(f fate) {
	ctx, cancel := n.bounded(n.life)
	defer cancel()
	for asked := false; ; {
		detour, doubt := n.posts.fate(f)
		switch {
		case detour != nil:
			asked = false // the detour's end may be refused, too
			select {
			case <-detour:
			case <-ctx.Done():
				return
			}
		case doubt && !asked:
			asked = true
			if _, err := n.pass(ctx, &n.hasty); err != nil {
				return
			}
		default:
			n.answerFate(f)
			return
		}
	}
}

// fate returns what is closed when the posts to a user have ended their detour, nil if they are on none, and whether
// the post may still be refused.
func (p *posts) fate(f fate) (detour <-chan struct{}, doubt bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d := p.detours[f.token]; d != nil {
		detour = d.done
	}
	if p.kept != nil {
		k := &p.kept[f.number%postsKept]
		doubt = k.number == f.number && !k.settled && !k.refused
	}
	return detour, doubt
}

// beginFate is false when the same is being found out for the same node, and when there is too much.
func (p *posts) beginFate(f fate) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fates[f] || len(p.fates) >= maxFates {
		return false
	}
	if p.fates == nil {
		p.fates = make(map[fate]bool)
	}
	p.fates[f] = true
	return true
}

func (p *posts) endFate(f fate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.fates, f)
}
