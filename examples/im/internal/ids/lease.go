package ids

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/bwmarrin/snowflake"
	"github.com/cenkalti/backoff/v5"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// requestTimeout bounds every request to etcd.
	requestTimeout = 2 * time.Second
	// claimTries bounds the attempts of one round to take a number that others try to take as well.
	claimTries = 20
	// renewals is how often the time up to which ids may be made is extended before it is over.
	renewals = 6
	// lastPause bounds the pauses after failures.
	lastPause = 800 * time.Millisecond
)

func (s *Source) run(ctx context.Context) {
	defer close(s.done)
	pauses := backoff.NewExponentialBackOff()
	pauses.InitialInterval = lastPause / 16
	pauses.MaxInterval = lastPause
	var failedSince time.Time
	for {
		err := s.hold(ctx, func() {
			pauses.Reset()
			if !failedSince.IsZero() {
				s.o.Logger.Info("ids: a node number again", "after", time.Since(failedSince).Round(time.Millisecond))
				failedSince = time.Time{}
			}
		})
		if ctx.Err() != nil {
			return
		}
		if failedSince.IsZero() {
			failedSince = time.Now()
			s.o.Logger.Warn("ids: no node number, trying again", "error", err)
		}
		select {
		case <-time.After(pauses.NextBackOff()):
		case <-ctx.Done():
			return
		}
	}
}

// hold leases a number and keeps it until it is lost. Only then, and at the end of ctx, it returns.
func (s *Source) hold(ctx context.Context, succeeded func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lease, err := s.grant(ctx)
	if err != nil {
		return err
	}
	defer s.held.Store(nil)
	alive, err := s.client.KeepAlive(ctx, lease.ID)
	if err != nil {
		return err
	}
	// The lease may be taken for alive for three quarters of its time after its keep-alive was heard of,
	// and ids be made no longer than that ahead: the rest is for answers that are late.
	trusted := time.Duration(lease.TTL) * time.Second * 3 / 4
	held, err := s.claim(ctx, lease.ID, trusted)
	if err != nil {
		return err
	}
	s.held.Store(held)
	select {
	case <-s.ready:
	default:
		close(s.ready)
	}
	succeeded()
	return s.keep(ctx, alive, held, trusted)
}

// keep extends what is held until that is lost.
func (s *Source) keep(ctx context.Context, alive <-chan *clientv3.LeaseKeepAliveResponse, held *number, trusted time.Duration) error {
	ticker := time.NewTicker(trusted / renewals)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case _, ok := <-alive:
			if !ok {
				return errors.New("the lease has ended")
			}
			held.alive.Store(int64(time.Since(start) + trusted))
		case <-ticker.C:
			if err := s.extend(ctx, held, trusted); err != nil {
				return err
			}
		}
	}
}

func (s *Source) grant(ctx context.Context) (*clientv3.LeaseGrantResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	// An attempt before this one may have left its lease without a number.
	if left := clientv3.LeaseID(s.lease.Load()); left != clientv3.NoLease {
		if _, err := s.client.Revoke(ctx, left); err == nil {
			s.lease.Store(0)
		}
	}
	lease, err := s.client.Grant(ctx, int64(s.o.TTL/time.Second))
	if err != nil {
		return nil, err
	}
	s.lease.Store(int64(lease.ID))
	return lease, nil
}

// The keys of number n: who has it, which ends with the lease, and up to which time ids were made with it,
// in ms since 1970, which stays.
func (s *Source) ownerKey(n int64) string { return s.o.Prefix + "owner/" + strconv.FormatInt(n, 10) }
func (s *Source) untilKey(n int64) string { return s.o.Prefix + "until/" + strconv.FormatInt(n, 10) }

// mark is what etcd knows of a number's past.
type mark struct {
	until    int64 // 0: never used
	revision int64 // of the key; 0: there is none
}

// claim takes one of the numbers that nobody has and whose ids are all of the past.
func (s *Source) claim(ctx context.Context, lease clientv3.LeaseID, trusted time.Duration) (*number, error) {
	for range claimTries {
		owned, marks, err := s.read(ctx)
		if err != nil {
			return nil, err
		}
		n, node, err := s.choose(owned, marks)
		if err != nil {
			return nil, err
		}
		now := time.Now()
		held := &number{node: node, n: n}
		held.until.Store(now.Add(trusted).UnixMilli())
		held.alive.Store(int64(time.Since(start) + trusted))
		held.created, err = s.take(ctx, held, lease, marks[n].revision)
		if err != nil || held.created != 0 {
			return held, err
		}
	}
	return nil, fmt.Errorf("%d numbers in turn went to others", claimTries)
}

func (s *Source) read(ctx context.Context) (owned map[int64]bool, marks map[int64]mark, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	response, err := s.client.Txn(ctx).Then(
		clientv3.OpGet(s.o.Prefix+"owner/", clientv3.WithPrefix(), clientv3.WithKeysOnly()),
		clientv3.OpGet(s.o.Prefix+"until/", clientv3.WithPrefix()),
	).Commit()
	if err != nil {
		return nil, nil, err
	}
	owned, marks = make(map[int64]bool), make(map[int64]mark)
	for _, kv := range response.Responses[0].GetResponseRange().Kvs {
		if n, err := strconv.ParseInt(strings.TrimPrefix(string(kv.Key), s.o.Prefix+"owner/"), 10, 64); err == nil {
			owned[n] = true
		}
	}
	for _, kv := range response.Responses[1].GetResponseRange().Kvs {
		n, err := strconv.ParseInt(strings.TrimPrefix(string(kv.Key), s.o.Prefix+"until/"), 10, 64)
		if err != nil {
			continue
		}
		until, err := strconv.ParseInt(string(kv.Value), 10, 64)
		if err != nil {
			return nil, nil, fmt.Errorf("number %d was used until %q", n, kv.Value)
		}
		marks[n] = mark{until, kv.ModRevision}
	}
	return owned, marks, nil
}

// choose picks at random, so that nodes that start together seldom want the same number. The node is made
// before its clock is compared: from then on that clock only goes forward.
func (s *Source) choose(owned map[int64]bool, marks map[int64]mark) (int64, *snowflake.Node, error) {
	for _, i := range rand.Perm(s.o.Numbers) {
		n := int64(i)
		if owned[n] {
			continue
		}
		node, err := snowflake.NewNode(n)
		if err != nil {
			return 0, nil, err
		}
		if timeOf(node.Generate()) > marks[n].until {
			return n, node, nil
		}
	}
	return 0, nil, fmt.Errorf("all %d numbers are leased, or were until just now", s.o.Numbers)
}

// take returns the revision at which the number became this node's, 0 when somebody was faster.
func (s *Source) take(ctx context.Context, held *number, lease clientv3.LeaseID, seen int64) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	response, err := s.client.Txn(ctx).If(
		clientv3.Compare(clientv3.CreateRevision(s.ownerKey(held.n)), "=", 0),
		clientv3.Compare(clientv3.ModRevision(s.untilKey(held.n)), "=", seen),
	).Then(
		clientv3.OpPut(s.ownerKey(held.n), s.o.Owner, clientv3.WithLease(lease)),
		clientv3.OpPut(s.untilKey(held.n), strconv.FormatInt(held.until.Load(), 10)),
	).Commit()
	if err != nil || !response.Succeeded {
		return 0, err
	}
	return response.Header.Revision, nil
}

// extend moves the time up to which ids may be made: first in etcd, then here. Its error says that the
// number is somebody else's; that etcd does not answer is none, there is time left to try again.
func (s *Source) extend(ctx context.Context, held *number, trusted time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, min(requestTimeout, trusted/renewals))
	defer cancel()
	now := max(timeOf(held.node.Generate()), time.Now().UnixMilli())
	until := now + trusted.Milliseconds()
	if until <= held.until.Load() {
		return nil // the clock was set back
	}
	response, err := s.client.Txn(ctx).If(
		clientv3.Compare(clientv3.CreateRevision(s.ownerKey(held.n)), "=", held.created),
	).Then(
		clientv3.OpPut(s.untilKey(held.n), strconv.FormatInt(until, 10)),
	).Commit()
	if err != nil {
		return nil
	}
	if !response.Succeeded {
		return fmt.Errorf("number %d is not this node's any more", held.n)
	}
	held.until.Store(until)
	return nil
}
