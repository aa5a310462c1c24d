package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// StartNATSCluster starts size servers that are one cluster, so that a stream can have as many replicas. Each is
// as one of StartNATS, with a folder of its own in dir. It returns when a client of each can make streams.
func StartNATSCluster(ctx context.Context, dir string, size int) (members []*NATS, err error) {
	for range portTries {
		members, err = startNATSCluster(ctx, dir, size)
		if err == nil {
			return members, nil
		}
		for _, member := range members {
			member.Stop()
			err = errors.Join(err, os.RemoveAll(member.dir))
		}
		if ctx.Err() != nil || !isAddressInUse(err) && !errors.Is(err, context.DeadlineExceeded) {
			break
		}
	}
	return nil, fmt.Errorf("embedded: NATS cluster: %w", err)
}

// clusterStart bounds one attempt: a port that somebody has taken since it was found free may look like a server that
// is slow.
const clusterStart = 20 * time.Second

func startNATSCluster(ctx context.Context, dir string, size int) (members []*NATS, err error) {
	ctx, cancel := context.WithTimeout(ctx, clusterStart)
	defer cancel()
	members, err = WriteNATSCluster(dir, size)
	if err != nil {
		return nil, err
	}
	for _, member := range members {
		if member.running, err = member.start(ctx); err != nil {
			return members, err
		}
	}
	for _, member := range members {
		if err := member.await(ctx, func(s *server.Server) bool { return s.NumRoutes() >= size-1 && s.JetStreamIsCurrent() }); err != nil {
			return members, err
		}
	}
	leaderKnowsAll := func(*server.Server) bool {
		return slices.ContainsFunc(members, func(m *NATS) bool { return len(m.running.JetStreamClusterPeers()) >= size })
	}
	return members, members[0].await(ctx, leaderKnowsAll)
}

// memberFile is in a member's folder and says who the member is.
const memberFile = "member.json"

// A member is what memberFile holds.
type member struct {
	Name      string
	Port      int
	RoutePort int
	Routes    []string // of all members
}

// WriteNATSCluster makes the folders of a cluster's members in dir, and starts none: with OpenNATSMember each can be
// started in a process of its own, and be killed.
func WriteNATSCluster(dir string, size int) ([]*NATS, error) {
	written := make([]member, size)
	var routes []string
	for i := range written {
		m := &written[i]
		m.Name = fmt.Sprintf("nats-%d", i+1)
		var err error
		if m.Port, err = freePort(); err == nil {
			m.RoutePort, err = freePort()
		}
		if err != nil {
			return nil, err
		}
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", m.RoutePort))
	}
	members := make([]*NATS, size)
	for i, m := range written {
		m.Routes = routes
		folder := filepath.Join(dir, m.Name)
		err := m.write(folder)
		if err == nil {
			members[i], err = OpenNATSMember(folder)
		}
		if err != nil {
			return nil, err
		}
	}
	return members, nil
}

func (m *member) write(dir string) error {
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, memberFile), data, 0o600)
}

// OpenNATSMember returns a server that does not run yet, of a folder that WriteNATSCluster has made.
func OpenNATSMember(dir string) (*NATS, error) {
	data, err := os.ReadFile(filepath.Join(dir, memberFile))
	if err != nil {
		return nil, err
	}
	var m member
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("embedded: %s: %w", dir, err)
	}
	n := &NATS{
		dir: dir, name: m.Name, port: m.Port,
		cluster: server.ClusterOpts{Name: "embedded", Host: "127.0.0.1", Port: m.RoutePort},
	}
	for _, route := range m.Routes {
		u, err := url.Parse(route)
		if err != nil {
			return nil, fmt.Errorf("embedded: %s: %w", dir, err)
		}
		n.routes = append(n.routes, u)
	}
	return n, nil
}

// Name is a member's in its cluster, and Dir is its folder.
func (n *NATS) Name() string { return n.name }
func (n *NATS) Dir() string  { return n.dir }

// await waits until the server, which runs, is so.
func (n *NATS) await(ctx context.Context, isSo func(*server.Server) bool) error {
	for !isSo(n.running) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(readyPoll / 10):
		}
	}
	return nil
}
