package cluster

import (
	"errors"
	"fmt"
	"net"

	"github.com/libnet-go/libnet"
)

// Errors of a [Node]'s methods, and reasons that it closes sessions for.
var (
	// ErrOffline is returned by Send when no node holds a session of the user. It is only said after
	// all known nodes have said whom they hold.
	ErrOffline = errors.New("cluster: user offline")

	// ErrDegraded is returned by Send, Online and Kick when the user was not found but some known node
	// could not be asked, and by Send when the answer was lost: the user may be online, and may have the
	// message. Nothing is known, try later or store.
	ErrDegraded = errors.New("cluster: nothing is known of the user, a node or its answer is missing")

	// ErrBlocked is returned by Send when the user's session has a full queue, and that session's
	// Config.OnFull is RejectNewest. It wraps libnet.ErrSessionBlocked.
	ErrBlocked = fmt.Errorf("cluster: %w", libnet.ErrSessionBlocked)

	// ErrRejected is returned by Send when the user's session cannot encode the payload: it is over the
	// bound of that session's framing or Config.MaxMessage, or its codec takes no []byte.
	ErrRejected = errors.New("cluster: the user's session cannot encode the payload")

	// ErrTooLarge is returned by Send, Post and Broadcast for a payload over [Node.MaxPayload].
	ErrTooLarge = errors.New("cluster: payload too large")

	// ErrTooManyMembers is returned by Members for a group with more than [MaxMembers].
	ErrTooManyMembers = errors.New("cluster: the group has too many members to be listed")

	// ErrNoService is returned by a call when no node serves the service, or none that can be reached.
	ErrNoService = errors.New("cluster: no node serves the service")

	// ErrBusy is returned by a call when the nodes that were asked serve as many as ServeOptions.Concurrency lets them.
	// The call was not served.
	ErrBusy = errors.New("cluster: the service is busy")

	// ErrUnanswered is returned by a call when its handler panicked, or ended without a reply.
	ErrUnanswered = errors.New("cluster: the service gave no answer")

	// ErrInvalidHeader is returned by a call whose [Header] cannot travel.
	ErrInvalidHeader = errors.New("cluster: invalid header")

	// ErrReplaced is the reason of a session whose user has logged in again, here or on another node,
	// and is returned by a Bind that lost to a later one.
	ErrReplaced = errors.New("cluster: replaced by a later login")

	// ErrKicked is what errors.Is finds in the reason of a session that Kick closed, a [*KickedError].
	ErrKicked = errors.New("cluster: kicked")

	// ErrDisconnected is returned while the node has no connection to its NATS server. What was under way
	// when the connection broke may or may not have arrived.
	ErrDisconnected = errors.New("cluster: not connected to NATS")

	// ErrDraining is returned by Bind and Join after Drain was called.
	ErrDraining = errors.New("cluster: node is draining")

	// ErrClosed is returned after Close. errors.Is(ErrClosed, net.ErrClosed) holds.
	ErrClosed = fmt.Errorf("cluster: node closed: %w", net.ErrClosed)

	// ErrInvalidName is returned for a user or group name that is empty or longer than [MaxName] bytes.
	ErrInvalidName = errors.New("cluster: invalid name")
)
