package registry

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// defaultReportEvery is how often the load is looked at, and reported when it has changed.
	defaultReportEvery = time.Second
	// reportAtLeast is how often the load is reported when it has not: the gateway counts its own picks
	// since the last report, and some of those never connect.
	reportAtLeast = 5 * time.Second
)

// ErrTaken is wrapped by what [Registration.Err] and [Free] return when another server is registered under the id.
var ErrTaken = errors.New("registry: another server has this id")

// Options say what to register.
type Options struct {
	// Server describes the server. Sessions, Draining and Cut are filled in. Two servers must not have the same ID; of
	// those that do, one is registered, and the other gets its turn when the first has gone.
	Server Server

	// Load returns how many sessions the server holds now. It is called by one goroutine; nil means
	// always 0.
	Load func() int

	// ReportEvery is how often Load is asked and a change reported; default 1 s.
	ReportEvery time.Duration

	// Prefix is where the keys are; default DefaultPrefix.
	Prefix string

	// Logger receives failures and what ended them, once each; default slog.Default().
	Logger *slog.Logger
}

// Registration keeps one server in the registry. Its methods may be called by any goroutine.
type Registration struct {
	// Immutable after Register.
	client *clientv3.Client
	o      Options
	key    string
	log    *slog.Logger
	cancel context.CancelFunc

	draining   atomic.Bool
	cut        atomic.Bool
	changed    chan struct{} // Drain and SetCut send, without waiting; run receives: report now
	registered chan struct{} // run closes it after the first put
	drained    chan struct{} // run closes it when etcd has the draining flag
	done       chan struct{} // run closes it at its end

	lease atomic.Int64          // a clientv3.LeaseID; 0: none
	err   atomic.Pointer[error] // what failed since the last put; nil: nothing

	// Owned by run.
	leases      map[int64]bool // those under which this registration may have put the key
	failedSince time.Time      // zero: nothing has failed since the last put
	once        struct{ registered, drained sync.Once }
}

// Register begins to keep a server in the registry, and returns at once: etcd need not be there. It goes
// on until Close or Abandon, whatever happens to etcd. It panics for a server without ID, Addr or
// Capacity.
func Register(client *clientv3.Client, o Options) *Registration {
	if o.Server.ID == "" || o.Server.Addr == "" || o.Server.Capacity < 1 {
		panic("registry: a server needs an ID, an Addr and a Capacity")
	}
	if o.Prefix == "" {
		o.Prefix = DefaultPrefix
	}
	if o.ReportEvery <= 0 {
		o.ReportEvery = defaultReportEvery
	}
	if o.Load == nil {
		o.Load = func() int { return 0 }
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &Registration{
		client:     client,
		o:          o,
		key:        o.Prefix + o.Server.ID,
		log:        o.Logger.With("server", o.Server.ID),
		cancel:     cancel,
		changed:    make(chan struct{}, 1),
		registered: make(chan struct{}),
		drained:    make(chan struct{}),
		done:       make(chan struct{}),
		leases:     make(map[int64]bool),
	}
	r.draining.Store(o.Server.Draining)
	go r.run(ctx)
	return r
}

// Registered is closed when the server is in the registry for the first time.
func (r *Registration) Registered() <-chan struct{} { return r.registered }

// Err is why the server is not in the registry, or might not be in it much longer: what failed last; nil when nothing
// has since it was put there.
func (r *Registration) Err() error {
	if err := r.err.Load(); err != nil {
		return *err
	}
	return nil
}

// Drain says in the registry that this server takes no more clients, and returns when etcd has it, or
// with the context's error; the registration keeps trying then, too.
func (r *Registration) Drain(ctx context.Context) error {
	r.draining.Store(true)
	r.reportSoon()
	select {
	case <-r.drained:
		return nil
	case <-r.done:
		return errors.New("registry: the registration has ended")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// SetCut says in the registry that this server cannot serve clients now, or that it can again.
func (r *Registration) SetCut(cut bool) {
	r.cut.Store(cut)
	r.reportSoon()
}

func (r *Registration) reportSoon() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// Close takes the server out of the registry. With an error of etcd, or when ctx ends first, the server
// stays in it for TTL at most. A second call does nothing.
func (r *Registration) Close(ctx context.Context) error {
	r.Abandon()
	lease := clientv3.LeaseID(r.lease.Swap(0))
	if lease == clientv3.NoLease {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, err := r.client.Revoke(ctx, lease)
	return err
}

// Abandon ends the registration without telling etcd, as a crash does: the server stays in the
// registry for TTL.
func (r *Registration) Abandon() {
	r.cancel()
	<-r.done
}

func (r *Registration) run(ctx context.Context) {
	defer close(r.done)
	pauses := newBackOff()
	for {
		began := time.Now()
		err := r.hold(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > stableAfter {
			pauses.Reset()
		}
		if r.failedSince.IsZero() || errors.Is(err, ErrTaken) != errors.Is(r.Err(), ErrTaken) {
			r.log.Warn("registry: not registered, trying again", "error", err)
		}
		if r.failedSince.IsZero() {
			r.failedSince = time.Now()
		}
		r.err.Store(&err)
		pause(ctx, pauses.NextBackOff())
	}
}

// hold takes a lease, puts the key and keeps both until something fails. A new lease takes the key over
// from this registration's ones before, so that whatever became of those does not matter.
func (r *Registration) hold(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	granting, cancelGrant := context.WithTimeout(ctx, requestTimeout)
	defer cancelGrant()
	lease, err := r.client.Grant(granting, int64(TTL/time.Second))
	if err != nil {
		return err
	}
	r.lease.Store(int64(lease.ID))
	r.leases[int64(lease.ID)] = true
	alive, err := r.client.KeepAlive(ctx, lease.ID)
	if err != nil {
		return err
	}
	reported, err := r.report(ctx)
	if err != nil {
		return err
	}
	r.logRegistered()
	return r.keep(ctx, alive, reported)
}

// keep reports what changes, and something from time to time, until the lease has ended or a report fails. reported is
// what etcd has of this server.
func (r *Registration) keep(ctx context.Context, alive <-chan *clientv3.LeaseKeepAliveResponse, reported Server) (err error) {
	ticker := time.NewTicker(r.o.ReportEvery)
	defer ticker.Stop()
	for reportedAt := time.Now(); ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case _, ok := <-alive:
			if !ok {
				return errors.New("the lease has ended")
			}
			continue
		case <-r.changed:
		case <-ticker.C:
			if r.value() == reported && time.Since(reportedAt) < reportAtLeast {
				continue
			}
		}
		if reported, err = r.report(ctx); err != nil {
			return err
		}
		reportedAt = time.Now()
	}
}

func (r *Registration) logRegistered() {
	if r.failedSince.IsZero() {
		r.log.Debug("registry: registered")
		return
	}
	r.log.Info("registry: registered again", "after", time.Since(r.failedSince).Round(time.Millisecond))
	r.failedSince = time.Time{}
}

// value is the server as it is now.
func (r *Registration) value() Server {
	s := r.o.Server
	s.Sessions = max(r.o.Load(), 0)
	s.Draining, s.Cut = r.draining.Load(), r.cut.Load()
	return s
}
