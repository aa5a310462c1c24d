package embedded

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	// readyPoll bounds one wait for the server to be ready, and so how late a context is noticed.
	readyPoll = 100 * time.Millisecond
	// maxPayload is what a history's answer may have; NATS's own default is 1 MiB.
	maxPayload = 1 << 20
)

// NATS is a NATS server with JetStream in this process. Its methods may be called by any goroutine.
type NATS struct {
	// Immutable after StartNATS.
	dir     string
	port    int
	cluster server.ClusterOpts // of one that is a member of a cluster
	name    string             // in the cluster
	routes  []*url.URL

	// mu guards the following, and is held while the server starts and stops.
	mu      sync.Mutex
	running *server.Server
}

// StartNATS starts a server that keeps its streams in dir, which it makes, and returns when the
// server takes connections; ctx bounds the wait. It listens on the loopback interface and asks for
// no password: whoever can run programs on this machine can read what passes.
func StartNATS(ctx context.Context, dir string) (*NATS, error) {
	var err error
	for range portTries {
		n := &NATS{dir: dir}
		if n.port, err = freePort(); err != nil {
			return nil, err
		}
		n.running, err = n.start(ctx)
		if err == nil {
			return n, nil
		}
		if !isAddressInUse(err) || ctx.Err() != nil {
			break
		}
	}
	return nil, fmt.Errorf("embedded: NATS: %w", err)
}

// URL is the address that clients take. It stays the same through Stop and Start.
func (n *NATS) URL() string { return fmt.Sprintf("nats://127.0.0.1:%d", n.port) }

// Stop ends the server and returns when nothing of it is left running.
func (n *NATS) Stop() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.running != nil {
		stopNATS(n.running)
		n.running = nil
	}
}

// Start runs a stopped server again, on the same data and port, and returns when it takes
// connections. A running one is left alone. It retries for as long as ctx allows.
func (n *NATS) Start(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for n.running == nil {
		running, err := n.start(ctx)
		if err == nil {
			n.running = running
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("embedded: NATS: %w", errors.Join(ctx.Err(), err))
		case <-time.After(retryStart):
		}
	}
	return nil
}

func (n *NATS) start(ctx context.Context) (*server.Server, error) {
	failed := make(fatalLog, 1)
	running, err := server.NewServer(&server.Options{
		ServerName: n.name,
		Host:       "127.0.0.1",
		Port:       n.port,
		Cluster:    n.cluster,
		Routes:     n.routes,
		MaxPayload: maxPayload,
		JetStream:  true,
		StoreDir:   n.dir,
		NoSigs:     true, // the process's signals are main's
	})
	if err != nil {
		return nil, err
	}
	// The server reports a port that is taken to its log alone, and then waits.
	running.SetLoggerV2(failed, false, false, false)
	running.Start()
	for !running.ReadyForConnections(readyPoll) {
		select {
		case err = <-failed:
		case <-ctx.Done():
			err = ctx.Err()
		default:
			continue
		}
		stopNATS(running)
		return nil, err
	}
	return running, nil
}

func stopNATS(running *server.Server) {
	running.Shutdown()
	running.WaitForShutdown()
}

// isAddressInUse goes by the text where the server hands out nothing else.
func isAddressInUse(err error) bool {
	return errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, errInUse)
}

var errInUse = errors.New("address already in use")

// fatalLog keeps the first fatal line of a server's log and drops the rest.
type fatalLog chan error

func (l fatalLog) Fatalf(format string, args ...any) {
	err := fmt.Errorf(format, args...)
	for _, arg := range args {
		if cause, ok := arg.(error); ok && errors.Is(cause, syscall.EADDRINUSE) {
			err = fmt.Errorf("%w: %w", errInUse, err)
		}
	}
	select {
	case l <- err:
	default:
	}
}

func (fatalLog) Noticef(string, ...any) {}
func (fatalLog) Warnf(string, ...any)   {}
func (fatalLog) Errorf(string, ...any)  {}
func (fatalLog) Debugf(string, ...any)  {}
func (fatalLog) Tracef(string, ...any)  {}
