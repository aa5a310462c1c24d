package cluster

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libnet-go/libnet/cluster/internal/directory"
	"github.com/nats-io/nats.go"
)

// A Node is this process's part of a cluster. All methods may be called by any goroutine, also from close
// callbacks of sessions.
type Node struct {
	// Immutable after New.
	id         string
	instance   string // this run of the node, unique
	started    time.Time
	timeout    time.Duration
	farewell   time.Duration // Options.Farewell
	subjects   subjects
	log        *slog.Logger
	server     *Server // nil with Options.Servers
	conn       *nats.Conn
	dispatcher *dispatcher

	calls    calls
	barriers barriers
	hasty    barriers // with pingNow
	posts    posts
	peers    peers
	stats    counters
	health   health
	services services
	trace    tracer       // immutable
	phase    atomic.Int32 // nodeState

	directory *directory.Directory
	told      chan *nats.Msg // the NATS client sends, hearNodes receives, nobody closes
	looking   sync.Mutex     // taken before the locks of peers and directory: views are told in the order in which they were seen
	introduce atomic.Bool    // the next heartbeat is to say who this node is

	met chan struct{} // heardFrom sends, New receives; has room for one

	life    context.Context // ends with stop, and then done, the same channel, is closed
	stop    context.CancelFunc
	done    <-chan struct{}
	closing sync.Once
	running sync.WaitGroup // the goroutines

	spawnMu sync.Mutex
	// spawnMu guards the following.
	closed bool // running is waited for: nothing may start
}

type nodeState int32

const (
	stateServing  nodeState = iota
	stateDraining           // takes no more users
	stateDrained            // and has none, which all others know
	stateClosed
)

func (n *Node) state() nodeState { return nodeState(n.phase.Load()) }

// open returns why nothing can be sent.
func (n *Node) open() error {
	if n.state() == stateClosed {
		return ErrClosed
	}
	return nil
}

// accepting returns why no user can be bound.
func (n *Node) accepting() error {
	switch n.state() {
	case stateServing:
		return nil
	case stateClosed:
		return ErrClosed
	}
	return ErrDraining
}

// New starts a node: an embedded server, or a connection to Options.Servers. It returns when the node hears
// the others that are there, or after a second without all of them. ctx bounds New and has no effect
// afterwards; an attempt at one server takes 2 s at most. Errors are about the options, the server or ctx's.
func New(ctx context.Context, o Options) (*Node, error) {
	ctx = usersContext(ctx)
	if err := o.check(); err != nil {
		return nil, err
	}
	n := newNode(o)
	release := context.AfterFunc(ctx, n.stop)
	err := n.start(ctx, &o)
	if released := release(); err == nil && released {
		return n, nil
	}
	_ = n.Close()
	return nil, errors.Join(ctx.Err(), err)
}

func newNode(o Options) *Node {
	logger := o.logger()
	n := &Node{
		id:       o.nodeID(),
		instance: instanceName(randomNumber()),
		started:  time.Now(),
		timeout:  o.timeout(),
		farewell: o.farewell(),
		log:      logger,
		met:      make(chan struct{}, 1),
		told:     make(chan *nats.Msg, toldSize),
		health:   newHealth(o.OnHealth),
		trace:    tracer{o.Trace, logger},
	}
	n.health.current.Store(&healthChange{Whole, nil})
	n.subjects = newSubjects(o.cluster(), n.instance)
	n.hasty.ping = []byte{pingNow}
	n.calls.open = make(map[uint64]*call)
	n.peers = peers{
		self:        peer{id: n.id, instance: n.instance, started: n.started.UnixNano()},
		forgetAfter: o.forgetAfter(),
		known:       make(map[string]*peer),
		gone:        make(map[string]time.Time),
	}
	if len(o.Routes) > 0 {
		wait := o.forgetAfter()
		if wait < 0 {
			wait = 365 * 24 * time.Hour
		}
		n.peers.isolatedUntil = n.started.Add(wait)
	}
	n.dispatcher = newDispatcher(n)
	n.directory = directory.New(n.instance, directoryBus{n}, directoryHost{n})
	n.life, n.stop = context.WithCancel(context.Background())
	n.done = n.life.Done()
	return n
}

func (n *Node) start(ctx context.Context, o *Options) error {
	if err := n.connect(ctx, o); err != nil {
		return err
	}
	if err := n.dispatcher.start(); err != nil {
		return err
	}
	if err := n.startDirectory(); err != nil {
		return err
	}
	for subject, handle := range map[string]nats.MsgHandler{
		n.subjects.replies + ">": n.handleReply,
		n.subjects.heartbeats:    n.handleHeartbeat,
	} {
		if _, err := n.conn.Subscribe(subject, handle); err != nil {
			return natsError(err)
		}
	}
	if err := n.meet(o); err != nil {
		return err
	}
	if _, err := n.conn.Subscribe(n.subjects.hellos, n.handleHello); err != nil {
		return natsError(err)
	}
	n.running.Add(2)
	go n.watchHealth()
	go n.heartbeatLoop()
	if err := n.announce(); err != nil {
		return err
	}
	_, err := n.barrier(n.life)
	return err
}

// randomNumber names a run of a node.
func randomNumber() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint64(b[:])
}

// spawn runs f on a goroutine that Close waits for. After Close nothing starts.
func (n *Node) spawn(f func()) {
	n.spawnMu.Lock()
	defer n.spawnMu.Unlock()
	if !n.closed {
		n.running.Go(f)
	}
}

// Close leaves the cluster and stops the embedded server. The others are told, and so do not wait for this node, but
// messages that are under way to its users are lost: call [Node.Drain] before. Sessions stay open; they belong to their
// server. When Close returns, nothing of the node runs any more, but for close callbacks of sessions that it closed
// before, handlers of services, whose contexts have ended, and Options.OnHealth. A second call waits for the first.
// Close returns nil.
func (n *Node) Close() error {
	n.closing.Do(n.close)
	return nil
}

// leaveTimeout bounds how long Close waits until all others have heard that this node leaves.
const leaveTimeout = 500 * time.Millisecond

func (n *Node) close() {
	n.phase.Store(int32(stateClosed))
	if n.conn != nil && n.life.Err() == nil && n.announce() == nil {
		ctx, cancel := context.WithTimeout(n.life, leaveTimeout)
		_, _ = n.barrier(ctx)
		cancel()
	}
	n.stop()
	n.directory.Close()
	n.spawnMu.Lock()
	n.closed = true
	n.spawnMu.Unlock()
	if n.conn != nil {
		n.conn.Close()
	}
	if n.server != nil {
		_ = n.server.Close()
	}
	n.running.Wait()
	n.dispatcher.forgetAll(ErrClosed)
}

// ID returns the node's id.
func (n *Node) ID() string { return n.id }

// Conn returns the connection to NATS, for JetStream and other uses beside the node's. Do not close it. Its
// reconnect buffer is off: publishing fails while there is no connection. Subscriptions of the caller's should
// keep clear of subjects that begin with "libnet.".
func (n *Node) Conn() *nats.Conn { return n.conn }

// MaxPayload returns the largest payload in bytes that Send, Post and Broadcast take: the NATS server's
// bound, 1 MiB with an embedded one, less what this package adds.
func (n *Node) MaxPayload() int { return int(n.conn.MaxPayload()) - 64 }

// RouteAddr returns where the embedded server takes routes of other nodes; nil without Options.Listen.
func (n *Node) RouteAddr() net.Addr {
	if n.server == nil {
		return nil
	}
	return n.server.RouteAddr()
}

// ClientURL returns the embedded server's [Server.URL]; empty with Options.Servers.
func (n *Node) ClientURL() string {
	if n.server == nil {
		return ""
	}
	return n.server.URL()
}
