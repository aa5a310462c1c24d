package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// report puts the server under its key and returns what it put. The key of another server is left alone: whoever ends
// first would take the other out of the list.
func (r *Registration) report(ctx context.Context) (Server, error) {
	s := r.value()
	value, err := json.Marshal(s)
	if err != nil {
		return s, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := r.put(ctx, string(value)); err != nil {
		return s, err
	}
	r.err.Store(nil)
	r.once.registered.Do(func() { close(r.registered) })
	if s.Draining {
		r.once.drained.Do(func() { close(r.drained) })
	}
	return s, nil
}

// put puts the key where there is none, or one of this registration's.
func (r *Registration) put(ctx context.Context, value string) error {
	lease := clientv3.LeaseID(r.lease.Load())
	put := clientv3.OpPut(r.key, value, clientv3.WithLease(lease))
	response, err := r.client.Txn(ctx).If(clientv3.Compare(clientv3.LeaseValue(r.key), "=", lease)).
		Then(put).Else(clientv3.OpGet(r.key)).Commit()
	if err != nil || response.Succeeded {
		return err
	}
	var seen int64 // the key's revision; 0: there is none
	if found := response.Responses[0].GetResponseRange().Kvs; len(found) > 0 {
		if !r.leases[found[0].Lease] {
			return taken(r.key, found[0].Value)
		}
		seen = found[0].ModRevision
	}
	response, err = r.client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(r.key), "=", seen)).Then(put).Commit()
	if err == nil && !response.Succeeded {
		err = fmt.Errorf("%s has changed meanwhile", r.key)
	}
	if err == nil { // from here on the key is under no other
		clear(r.leases)
		r.leases[int64(lease)] = true
	}
	return err
}

// Free waits until no server is registered under an id, as after a crash of the one before, whose lease goes on for
// TTL. Somebody who is there after that is another, and the error is then ErrTaken. It also waits for etcd, and returns
// ctx's error when that ends.
func Free(ctx context.Context, client *clientv3.Client, id string) error {
	pauses := newBackOff()
	var since time.Time // when somebody was seen first; zero: nobody was
	for {
		asking, cancel := context.WithTimeout(ctx, requestTimeout)
		response, err := client.Get(asking, DefaultPrefix+id)
		cancel()
		switch {
		case err != nil:
		case len(response.Kvs) == 0:
			return nil
		case since.IsZero():
			since = time.Now()
		case time.Since(since) > TTL+time.Second: // etcd takes a moment, too
			return taken(DefaultPrefix+id, response.Kvs[0].Value)
		}
		if pause(ctx, pauses.NextBackOff()); ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

func taken(key string, value []byte) error {
	if s, err := decodeServer(value, 0); err == nil {
		return fmt.Errorf("%w: %s at %s", ErrTaken, s.ID, s.Addr)
	}
	return fmt.Errorf("%w: %s", ErrTaken, key)
}
