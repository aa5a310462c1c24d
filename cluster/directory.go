package cluster

import (
	"context"
	"errors"
	"time"

	"github.com/libnet-go/libnet/cluster/internal/directory"
	"github.com/nats-io/nats.go"
)

// toldSize is how many messages of other nodes to this one's directory may wait.
const toldSize = 64 << 10

// startDirectory begins to take what other nodes tell this one.
func (n *Node) startDirectory() error {
	if _, err := n.conn.ChanSubscribe(n.subjects.told(n.instance), n.told); err != nil {
		return natsError(err)
	}
	n.running.Add(2)
	go n.hearNodes()
	go func() {
		defer n.running.Done()
		n.directory.Run(n.life)
	}()
	return nil
}

func (n *Node) hearNodes() {
	defer n.running.Done()
	for {
		select {
		case m := <-n.told:
			if !n.handleNode(m) {
				n.directory.Handle(m.Data)
			}
		case <-n.done:
			return
		}
	}
}

// directoryBus carries what directories tell each other.
type directoryBus struct{ *Node }

func (b directoryBus) Publish(node string, data []byte) error {
	return natsError(b.conn.Publish(b.subjects.told(node), data))
}

// directoryHost is what a directory needs of its node.
type directoryHost struct{ *Node }

// Replaced closes a session that has lost its user to a login on another node.
func (h directoryHost) Replaced(token string, session uint64) {
	d := h.dispatcher
	if b := d.bound(token); b != nil && b.session.ID() == session && d.remove(b, ErrReplaced) {
		h.replaced(b)
	}
}

func (h directoryHost) Announce() { _ = h.beat() }

// lookAround tells the directory who is alive.
func (n *Node) lookAround() {
	n.looking.Lock()
	defer n.looking.Unlock()
	members, missing := n.peers.view(n.state())
	n.directory.SetView(members, missing)
}

// register returns when the user's homes know of the login, and has undone it when they cannot.
func (n *Node) register(ctx context.Context, d *dispatcher, b *binding) error {
	err := n.directory.Register(ctx, b.token, b.session.ID())
	lost := d.holds(b)
	switch {
	case err == nil && lost == nil:
		b.decided.Store(true)
		return nil
	case lost != nil:
		return lost
	case errors.Is(err, directory.ErrReplaced):
		err = ErrReplaced
		if d.remove(b, err) {
			n.replaced(b)
		}
	case errors.Is(err, directory.ErrClosed):
		err = ErrClosed
	}
	d.remove(b, err)
	return err
}

// locate returns where the user is: nowhere, if there is no error and the login is empty. Errors: [ErrDegraded] when
// that is not certain; [ErrDisconnected]; [ErrClosed]; ctx's.
func (n *Node) locate(ctx context.Context, token string) (directory.Login, error) {
	if !n.conn.IsConnected() {
		return directory.Login{}, ErrDisconnected
	}
	l, err := n.directory.Locate(ctx, token)
	switch {
	case errors.Is(err, directory.ErrUnknown):
		err = ErrDegraded
	case errors.Is(err, directory.ErrClosed):
		err = ErrClosed
	case err == nil && l.Node == "" && n.peers.isolated():
		err = ErrDegraded
	}
	return l, err
}

// replaced ends a session that lost its user.
func (n *Node) replaced(b *binding) {
	n.stats.replaced.Add(1)
	n.end(b.session, ErrReplaced)
}

// handleNode takes what a node says to this one that is not for the directory.
func (n *Node) handleNode(m *nats.Msg) bool {
	if len(m.Data) == 0 {
		return true
	}
	switch m.Data[0] {
	case announcementBegins:
		n.handleAnnouncement(m.Data)
	case askWho:
		n.introduce.Store(true) // with the next heartbeat, or many who ask would be answered each
	case askPeers:
		n.tellPeers(string(m.Data[1:]))
	default:
		return false
	}
	return true
}

// watchInterval is how often a node looks whether others have fallen silent.
const watchInterval = 100 * time.Millisecond
