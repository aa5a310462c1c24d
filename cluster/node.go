package cluster

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/nats-io/nats.go"
)

// MaxName is the largest length of a user, group, node or cluster name in bytes.
const MaxName = 256

// A Node is this process's part of a cluster. All methods may be called by any goroutine.
type Node struct{}

// A Server is an embedded NATS server that several nodes of a process, or of a machine, share.
type Server struct{}

// Presence is one session of a user.
type Presence struct {
	Node    string    // the id of the node that holds it
	Session uint64    // the session's ID there
	Since   time.Time // when it was bound, by the clock of that node
	Addr    string    // the peer's address; empty for a session without one
}

// NodeInfo is what a node knows of another one, or of itself.
type NodeInfo struct {
	ID       string
	Self     bool
	Alive    bool      // its last heartbeat is younger than 1.5 s
	Draining bool      // it takes no more users
	Users    int       // as of its last heartbeat
	LastSeen time.Time // when that arrived
}

// Stats is a snapshot of a node's counters.
type Stats struct {
	Users, Groups int    // that this node holds sessions of
	Delivered     uint64 // messages that sessions here have queued
	Blocked       uint64 // messages that a full queue here refused
	Dropped       uint64 // messages lost because this node did not keep up with NATS
	Replaced      uint64 // sessions here closed because their user logged in again
}

var errSkeleton = errors.New("cluster: not yet")

func New(ctx context.Context, o Options) (*Node, error)                        { return nil, errSkeleton }
func (n *Node) Bind(ctx context.Context, s *libnet.Session, user string) error { return errSkeleton }
func (n *Node) Join(s *libnet.Session, group string) error                     { return errSkeleton }
func (n *Node) Leave(s *libnet.Session, group string) error                    { return errSkeleton }
func (n *Node) Sync(ctx context.Context) error                                 { return errSkeleton }
func (n *Node) Send(ctx context.Context, user string, payload []byte) error    { return errSkeleton }
func (n *Node) Post(user string, payload []byte) error                         { return errSkeleton }
func (n *Node) Broadcast(group string, payload []byte) error                   { return errSkeleton }
func (n *Node) Online(ctx context.Context, user string) ([]Presence, error)    { return nil, errSkeleton }
func (n *Node) Kick(ctx context.Context, user, reason string) (int, error)     { return 0, errSkeleton }
func (n *Node) Nodes() []NodeInfo                                              { return nil }
func (n *Node) Stats() Stats                                                   { return Stats{} }
func (n *Node) ID() string                                                     { return "" }
func (n *Node) Conn() *nats.Conn                                               { return nil }
func (n *Node) MaxPayload() int                                                { return 0 }
func (n *Node) RouteAddr() net.Addr                                            { return nil }
func (n *Node) ClientURL() string                                              { return "" }
func (n *Node) Drain(ctx context.Context) error                                { return errSkeleton }
func (n *Node) Close() error                                                   { return nil }

func NewServer(ctx context.Context, o Options) (*Server, error) { return nil, errSkeleton }
func (s *Server) URL() string                                   { return "" }
func (s *Server) RouteAddr() net.Addr                           { return nil }
func (s *Server) Close() error                                  { return nil }
