package faults

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// streamName is that of the messages' stream, and groupsName and sendersName are those of the buckets.
	streamName  = "im"
	groupsName  = "KV_im-groups"
	sendersName = "KV_im-senders"
	// adminUser is this programme at NATS, whose password stays when that of the access servers is changed.
	adminUser = "admin"
	// askTimeout bounds one question to NATS.
	askTimeout = 2 * time.Second
)

func (in *installation) installNATS(add func(string, byte) *host) error {
	for i, name := range natsNames {
		h := add(name, byte(11+i))
		s, err := in.server(h, 4222, "faults", "nats", in.natsConfig(name))
		if err != nil {
			return err
		}
		in.nats = append(in.nats, s)
	}
	return in.configureNATS(in.password)
}

func (in *installation) natsConfig(name string) string { return filepath.Join(in.dir, name+".conf") }

// configureNATS writes the configurations of all NATS servers, with this password for the access servers.
func (in *installation) configureNATS(password string) error {
	var routes []string
	for _, s := range in.nats {
		routes = append(routes, fmt.Sprintf("%q", "nats://"+s.host.at(6222)))
	}
	for _, s := range in.nats {
		config := fmt.Sprintf(`
server_name: %s
listen: "%s"
jetstream { store_dir: "%s", max_file_store: 8GB, max_memory_store: 64MB }
cluster { name: im, listen: "%s", no_advertise: true, ping_interval: "1s", ping_max: 2, routes: [ %s ] }
authorization { users: [ { user: %s, password: "%s" }, { user: %s, password: "%s" } ] }
`, s.Name, s.addr, filepath.Join(in.dir, s.Name), s.host.at(6222), strings.Join(routes, ", "),
			natsUser, password, adminUser, in.password)
		if err := os.WriteFile(in.natsConfig(s.Name), []byte(config), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// An observer asks NATS about the stream of messages, as an operator does.
type observer struct {
	nc *nats.Conn
	js jetstream.JetStream
}

func (in *installation) observe() (*observer, error) {
	nc, err := nats.Connect(in.natsURLs(), nats.UserInfo(adminUser, in.password), nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true),
		nats.ReconnectWait(100*time.Millisecond), nats.IgnoreAuthErrorAbort(), nats.Timeout(askTimeout),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // the default one prints
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return nil, err
	}
	return &observer{nc, js}, nil
}

// behind names a stream that has no leader, or of which not all replicas are there and have all of it; "" when none
// does.
func (o *observer) behind(ctx context.Context) string {
	for _, name := range []string{streamName, groupsName, sendersName} {
		if _, _, whole := o.stream(ctx, name); !whole {
			return name
		}
	}
	return ""
}

// stream says who leads a stream, who follows, and whether all of them are there and have all of it.
func (o *observer) stream(ctx context.Context, name string) (leader string, followers []string, whole bool) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	stream, err := o.js.Stream(ctx, name)
	if err != nil {
		return "", nil, false
	}
	cluster := stream.CachedInfo().Cluster
	if cluster == nil || cluster.Leader == "" {
		return "", nil, false
	}
	whole = true
	for _, r := range cluster.Replicas {
		followers = append(followers, r.Name)
		whole = whole && r.Current && !r.Offline
	}
	return cluster.Leader, followers, whole
}
