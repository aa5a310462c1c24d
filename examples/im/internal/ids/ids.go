// Package ids makes message ids: snowflakes, 64 bits that begin with the time in ms, and so ascend, and
// end with the number of the node that made them and a count. No two nodes may have the same number at
// the same time, so numbers are leased through etcd.
//
//	source := ids.New(client, ids.Options{})
//	defer source.Close(ctx)
//	id, err := source.Next() // ErrNoNumber when the node has no number now
//
// What makes ids unique, with no assumption about clocks: a node stores in etcd, beside its number, up to
// which time it will make ids, and makes none beyond. It extends that time in a transaction that fails
// once the number is not its own. Who takes a number must find that time in its own past. So the ids that
// two nodes make with one number never have a time in common.
//
// An outage of etcd shorter than three quarters of the lease is not noticed. After that Next answers with
// an error, and never with an id. Messages do not wait for it: one without a number has its version for an id, its
// place in the store. That is far below all snowflakes, which begin with the time, so no two are the same.
package ids

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/bwmarrin/snowflake"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// DefaultTTL outlasts a restart of etcd. A number whose node crashed is out of use as long, and
	// there are 1,024.
	DefaultTTL = 2 * time.Minute

	// MaxNumbers is how many node numbers the 10 bits of a snowflake have.
	MaxNumbers = 1024

	// DefaultPrefix is where the keys are unless the options say otherwise.
	DefaultPrefix = "/im/ids/"
)

// ErrNoNumber is returned by [Source.Next] while the node has no number, or cannot know any more that it
// has. It passes when etcd is back.
var ErrNoNumber = errors.New("ids: no node number now")

// Options say how to lease a number.
type Options struct {
	// TTL is how long a number stays leased after its node was killed; default 2 minutes, whole seconds.
	// etcd makes it 2 s at least.
	TTL time.Duration

	// Numbers is how many node numbers there are; default and maximum 1,024.
	Numbers int

	// Owner is stored with the number, for people who look; it means nothing.
	Owner string

	// Prefix is where the keys are; default DefaultPrefix.
	Prefix string

	// Logger receives the loss of a number and its end, once each; default slog.Default().
	Logger *slog.Logger
}

// Source hands out ids. Its methods may be called by any goroutine.
type Source struct {
	// Immutable after New.
	client *clientv3.Client
	o      Options
	cancel context.CancelFunc

	held  atomic.Pointer[number] // nil: none; run writes it
	lease atomic.Int64           // a clientv3.LeaseID; 0: none
	ready chan struct{}          // run closes it when the first number is held
	done  chan struct{}          // run closes it at its end
}

// number is a node number that this node has leased.
type number struct {
	// Immutable.
	node    *snowflake.Node
	n       int64
	created int64 // revision at which the key was created: what tells this lease of n from all others

	until atomic.Int64 // ms since 1970: no id is made with a later time; etcd has at least this
	alive atomic.Int64 // ns since start, a bound on how long the lease is known to be alive
}

var start = time.Now()

// New begins to lease a number, and returns at once: etcd need not be there. It goes on until Close or
// Abandon, whatever happens to etcd. It panics for more than MaxNumbers numbers.
func New(client *clientv3.Client, o Options) *Source {
	if o.TTL <= 0 {
		o.TTL = DefaultTTL
	}
	if o.Numbers <= 0 {
		o.Numbers = MaxNumbers
	}
	if o.Numbers > MaxNumbers {
		panic("ids: a snowflake has 1,024 node numbers")
	}
	if o.Prefix == "" {
		o.Prefix = DefaultPrefix
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Source{client: client, o: o, cancel: cancel, ready: make(chan struct{}), done: make(chan struct{})}
	go s.run(ctx)
	return s
}

// Ready is closed when the node has a number for the first time.
func (s *Source) Ready() <-chan struct{} { return s.ready }

// Next returns an id that nobody else has or will have, later than all that this source made with the same
// number, or [ErrNoNumber]. It makes up to 4,096 ids a ms, and waits for the next ms after those.
func (s *Source) Next() (int64, error) {
	held := s.held.Load()
	if held == nil {
		return 0, ErrNoNumber
	}
	id := held.node.Generate()
	// The id's time comes from a clock that does not jump and stands still while a machine sleeps; the
	// machine's own does the opposite. Both must be within what etcd was told.
	if max(timeOf(id), time.Now().UnixMilli()) > held.until.Load() || int64(time.Since(start)) > held.alive.Load() {
		return 0, ErrNoNumber
	}
	return int64(id), nil
}

// Number returns the node number, or false when there is none now.
func (s *Source) Number() (int64, bool) {
	held := s.held.Load()
	if held == nil {
		return 0, false
	}
	return held.n, true
}

// Close gives the number back; Next answers with ErrNoNumber from then on. With an error of etcd the
// number stays leased for TTL at most. A second call does nothing.
func (s *Source) Close(ctx context.Context) error {
	s.Abandon()
	lease := clientv3.LeaseID(s.lease.Swap(0))
	if lease == clientv3.NoLease {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, err := s.client.Revoke(ctx, lease)
	return err
}

// Abandon ends the source without telling etcd, as a crash does.
func (s *Source) Abandon() {
	s.cancel()
	<-s.done
}

// timeOf is what id.Time() is meant to be, which reads variables that NewNode writes: a data race between
// two sources of one process.
func timeOf(id snowflake.ID) int64 {
	return int64(id)>>(snowflake.NodeBits+snowflake.StepBits) + snowflake.Epoch
}
