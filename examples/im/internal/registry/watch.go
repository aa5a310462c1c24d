package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// defaultProbeEvery is how often the watcher asks whether its watch misses something.
const defaultProbeEvery = time.Second

// WatchOptions say what to watch.
type WatchOptions struct {
	// Prefix is where the keys are; default DefaultPrefix.
	Prefix string

	// ProbeEvery is how often the watcher asks etcd whether its watch misses something; default 1 s.
	ProbeEvery time.Duration

	// Logger receives outages and their ends, once each; default slog.Default().
	Logger *slog.Logger
}

// Watcher knows the servers of the registry. Its methods may be called by any goroutine.
type Watcher struct {
	// Immutable after Watch.
	client     *clientv3.Client
	prefix     string
	probeEvery time.Duration
	log        *slog.Logger
	cancel     context.CancelFunc

	current atomic.Pointer[Snapshot]
	away    atomic.Bool   // etcd does not answer; run writes it
	ready   chan struct{} // run closes it after the first list
	done    chan struct{} // run closes it at its end

	// Owned by run.
	known    map[string]entry // by key
	revision int64            // up to which known is true
	suspect  int64            // the revision at which a probe saw what the watch had not told; 0: none
}

// entry is one key.
type entry struct {
	server   Server
	revision int64     // of the put
	invalid  bool      // the value describes no server
	missing  time.Time // since when etcd does not have it; zero: it has
}

// Watch begins to watch, and returns at once: etcd need not be there. Until the first list has come the
// snapshot is empty.
func Watch(client *clientv3.Client, o WatchOptions) *Watcher {
	if o.Prefix == "" {
		o.Prefix = DefaultPrefix
	}
	if o.ProbeEvery <= 0 {
		o.ProbeEvery = defaultProbeEvery
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &Watcher{
		client:     client,
		prefix:     o.Prefix,
		probeEvery: o.ProbeEvery,
		log:        o.Logger,
		cancel:     cancel,
		ready:      make(chan struct{}),
		done:       make(chan struct{}),
		known:      make(map[string]entry),
	}
	w.current.Store(newSnapshot(nil, 0))
	go w.run(ctx)
	return w
}

// Snapshot is the list as it is known now: through an outage of etcd, the last one before it.
func (w *Watcher) Snapshot() *Snapshot { return w.current.Load() }

// Ready is closed when the first list has come.
func (w *Watcher) Ready() <-chan struct{} { return w.ready }

// Away reports whether etcd does not answer at the moment, so that the snapshot may be old.
func (w *Watcher) Away() bool { return w.away.Load() }

// Close ends the watcher. Snapshot goes on to answer with the last list.
func (w *Watcher) Close() {
	w.cancel()
	<-w.done
}

func (w *Watcher) run(ctx context.Context) {
	defer close(w.done)
	pauses := newBackOff()
	for {
		began := time.Now()
		err := w.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > stableAfter {
			pauses.Reset()
		}
		if err != nil {
			w.log.Debug("registry: listing again", "reason", err)
			pause(ctx, pauses.NextBackOff())
		}
	}
}

// follow lists the servers, then watches from the next revision on, and returns when the watch cannot be
// relied upon any more. A nil error says that etcd was away and is back: to list again at once.
func (w *Watcher) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := w.list(ctx); err != nil {
		w.setAway(ctx, err)
		return err
	}

	events := make(chan clientv3.WatchResponse)
	go w.watchLoop(ctx, w.revision+1, events)
	probes := make(chan probe)
	go w.probeLoop(ctx, probes)
	w.suspect = 0
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case response, ok := <-events:
			if !ok {
				return errors.New("the watch was closed")
			}
			if err := response.Err(); err != nil { // compacted or cancelled
				return err
			}
			w.apply(response)
		case p := <-probes:
			reliable, err := w.compare(ctx, p)
			if !reliable {
				return err
			}
			w.dropMissing()
		}
	}
}

// compare reports whether the watch can be relied upon after p. Where it cannot, the error is follow's.
func (w *Watcher) compare(ctx context.Context, p probe) (reliable bool, err error) {
	switch {
	case p.err != nil:
		w.setAway(ctx, p.err)
	case w.Away():
		// The client's watch resumes by itself, but what it resumes on may be another history.
		return false, nil
	case p.revision < p.after:
		return false, fmt.Errorf("etcd is at revision %d, and was at %d before", p.revision, p.after)
	case w.agrees(p):
		w.suspect = 0
	case w.suspect != 0 && w.revision < w.suspect:
		return false, fmt.Errorf("the watch is silent since revision %d, etcd is at %d", w.revision, p.revision)
	default:
		w.suspect = p.revision // what it saw may be on its way; the next probe tells
	}
	return true, nil
}

// watchLoop passes on what the client's watch tells, and closes events at its end. It has a goroutine of its
// own because Watch itself waits, without a bound, when etcd goes away just before it.
func (w *Watcher) watchLoop(ctx context.Context, from int64, events chan<- clientv3.WatchResponse) {
	defer close(events)
	// Without a leader a member would keep the watch open and silent.
	for response := range w.client.Watch(clientv3.WithRequireLeader(ctx), w.prefix, clientv3.WithPrefix(), clientv3.WithRev(from)) {
		select {
		case events <- response:
		case <-ctx.Done():
			return
		}
	}
}

func (w *Watcher) list(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	response, err := w.client.Get(ctx, w.prefix, clientv3.WithPrefix())
	if err != nil {
		return err
	}
	listed := make(map[string]entry, len(response.Kvs))
	for _, kv := range response.Kvs {
		w.put(listed, string(kv.Key), kv.Value, kv.ModRevision)
	}
	wasAway := w.away.Swap(false)
	if wasAway {
		w.log.Info("registry: etcd is back", "servers", len(listed))
	}
	w.keepMissing(listed, wasAway)
	w.known, w.revision = listed, response.Header.Revision
	w.publish()
	select {
	case <-w.ready:
	default:
		close(w.ready)
	}
	return nil
}

// keepMissing takes servers over that were known before an outage and that etcd does not have after it:
// their leases may have ended only because etcd was away, and they need a moment to register again.
func (w *Watcher) keepMissing(listed map[string]entry, wasAway bool) {
	now := time.Now()
	for key, e := range w.known {
		if _, ok := listed[key]; ok || e.invalid {
			continue
		}
		if e.missing.IsZero() && wasAway {
			e.missing = now
		}
		if !e.missing.IsZero() {
			listed[key] = e
		}
	}
}

// dropMissing ends the patience of keepMissing.
func (w *Watcher) dropMissing() {
	dropped := false
	for key, e := range w.known {
		if !e.missing.IsZero() && time.Since(e.missing) >= TTL && !w.Away() {
			delete(w.known, key)
			dropped = true
		}
	}
	if dropped {
		w.publish()
	}
}

// apply takes over what a watch tells.
func (w *Watcher) apply(response clientv3.WatchResponse) {
	for _, event := range response.Events {
		key := string(event.Kv.Key)
		if event.Type == clientv3.EventTypeDelete { // it has a key and no value
			delete(w.known, key)
		} else {
			w.put(w.known, key, event.Kv.Value, event.Kv.ModRevision)
		}
	}
	w.revision = max(w.revision, response.Header.Revision)
	if len(response.Events) > 0 {
		w.publish()
	}
}

// put takes one key's value over whole, so that a server that has moved has its new address. A value that
// describes no server is as good as none.
func (w *Watcher) put(known map[string]entry, key string, value []byte, revision int64) {
	server, err := decodeServer(value, revision)
	if err == nil && key != w.prefix+server.ID {
		err = fmt.Errorf("it calls itself %q", server.ID)
	}
	if err != nil {
		w.log.Warn("registry: a key that describes no server", "key", strings.ToValidUTF8(key, "?"), "error", err)
	}
	known[key] = entry{server: server, revision: revision, invalid: err != nil}
}

func (w *Watcher) publish() { w.current.Store(newSnapshot(w.known, w.revision)) }

func (w *Watcher) setAway(ctx context.Context, err error) {
	if ctx.Err() == nil && !w.away.Swap(true) {
		w.log.Warn("registry: etcd does not answer, keeping the last list", "servers", len(w.known), "error", err)
	}
}
