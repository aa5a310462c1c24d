package registry

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// A watch has no sign of life of its own: when etcd dies, or its history is replaced by a shorter one,
// nothing comes, exactly as when nothing happens. So etcd is asked in short intervals how many keys there
// are and when the last was put. Events arrive in order, so a watch that missed one gets at least one of
// the two wrong.
type probe struct {
	err      error
	after    int64 // a revision that was known before it was asked
	revision int64 // of the answer
	count    int64
	newest   int64 // revision of the last put; 0 without keys
}

// probeLoop sends a probe every interval until ctx is done.
func (w *Watcher) probeLoop(ctx context.Context, probes chan<- probe) {
	ticker := time.NewTicker(w.probeEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		select {
		case probes <- w.probe(ctx):
		case <-ctx.Done():
			return
		}
	}
}

func (w *Watcher) probe(ctx context.Context) probe {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	after := w.Snapshot().Revision()
	response, err := w.client.Get(ctx, w.prefix, append(clientv3.WithLastRev(), clientv3.WithPrefix(), clientv3.WithKeysOnly())...)
	if err != nil {
		return probe{err: err}
	}
	p := probe{after: after, revision: response.Header.Revision, count: response.Count}
	if len(response.Kvs) > 0 {
		p.newest = response.Kvs[0].ModRevision
	}
	return p
}

// agrees reports whether a probe finds what the watch has told.
func (w *Watcher) agrees(p probe) bool {
	var count, newest int64
	for _, e := range w.known {
		if e.missing.IsZero() {
			count++
			newest = max(newest, e.revision)
		}
	}
	return count == p.count && newest == p.newest
}
