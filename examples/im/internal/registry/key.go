package registry

import (
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// keyOfTokens is where the fingerprint is of the key that all access servers share. It stays when they end.
const keyOfTokens = "/im/key"

// ErrOtherKey is wrapped by what [AgreeOnKey] returns when the other servers of the installation have another key.
var ErrOtherKey = errors.New("registry: the other access servers have another key")

// AgreeOnKey compares the fingerprint of a server's key with that of the installation's other servers: the first one's
// is theirs. A server with another key would refuse the tokens of all users who are sent to it. It waits for etcd, and
// returns ctx's error when that ends.
func AgreeOnKey(ctx context.Context, client *clientv3.Client, fingerprint string) error {
	return persist(ctx, func(ctx context.Context) error {
		response, err := client.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(keyOfTokens), "=", 0)).
			Then(clientv3.OpPut(keyOfTokens, fingerprint)).Else(clientv3.OpGet(keyOfTokens)).Commit()
		if err != nil || response.Succeeded {
			return err
		}
		found := response.Responses[0].GetResponseRange().Kvs
		if len(found) > 0 && string(found[0].Value) != fingerprint {
			return fmt.Errorf("%w: theirs has the fingerprint %q, this one's is %s", ErrOtherKey, found[0].Value, fingerprint)
		}
		return nil
	})
}

// ReplaceKey makes a fingerprint that of the installation's key, for servers that start from now on.
func ReplaceKey(ctx context.Context, client *clientv3.Client, fingerprint string) error {
	return persist(ctx, func(ctx context.Context) error {
		_, err := client.Put(ctx, keyOfTokens, fingerprint)
		return err
	})
}

// persist tries until there is an answer of etcd, or ctx ends.
func persist(ctx context.Context, try func(context.Context) error) error {
	pauses := newBackOff()
	for {
		trying, cancel := context.WithTimeout(ctx, requestTimeout)
		err := try(trying)
		cancel()
		if err == nil || errors.Is(err, ErrOtherKey) || refuses(err) {
			return err
		}
		if pause(ctx, pauses.NextBackOff()); ctx.Err() != nil {
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}
