package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/cluster"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/libnettest"
)

// servers is how many NATS servers the nodes share: a mesh of a hundred would need 20,000 descriptors.
const servers = 4

var quiet = slog.New(slog.DiscardHandler)

// A member is a node and its wire to a server.
type member struct {
	node *cluster.Node
	wire *wire
}

// A fleet is some nodes on some servers.
type fleet struct {
	nats     []*cluster.Server
	members  []*member
	sessions *libnet.Server
	named    int // users so far
}

func newFleet(ctx context.Context, count int) (_ *fleet, err error) {
	f := &fleet{sessions: libnet.NewServer(libnettest.NewListener(), codec.New(codec.Lines, codec.Bytes), 1<<16)}
	f.sessions.Logger = quiet
	defer func() {
		if err != nil {
			f.close()
		}
	}()
	for range min(count, servers) {
		if err := f.addServer(ctx); err != nil {
			return nil, err
		}
	}
	for i := range count {
		if err := f.addNode(ctx, f.nats[i%len(f.nats)]); err != nil {
			return nil, err
		}
	}
	return f, f.formed(ctx)
}

func (f *fleet) addServer(ctx context.Context) error {
	o := cluster.Options{Listen: "127.0.0.1:0", Logger: quiet}
	for _, s := range f.nats {
		o.Routes = append(o.Routes, s.RouteAddr().String())
	}
	s, err := cluster.NewServer(ctx, o)
	if err == nil {
		f.nats = append(f.nats, s)
	}
	return err
}

func (f *fleet) addNode(ctx context.Context, server *cluster.Server) error {
	u, err := url.Parse(server.URL())
	if err != nil {
		return err
	}
	w, err := newWire(u.Host)
	if err != nil {
		return err
	}
	u.Host = w.addr()
	m := &member{wire: w}
	f.members = append(f.members, m)
	m.node, err = cluster.New(ctx, cluster.Options{NodeID: fmt.Sprint("n", len(f.members)), Servers: []string{u.String()}, Logger: quiet})
	return err
}

// formedWithin is long for nodes that have a processor: each of a hundred hears 200 heartbeats a second, which all
// together takes a third of one.
const formedWithin = 3 * time.Minute

// formed waits until each node hears all others.
func (f *fleet) formed(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, formedWithin)
	defer cancel()
	for i, m := range f.members {
		for alive(m.node) < len(f.members) {
			select {
			case <-ctx.Done():
				return fmt.Errorf("after %v node %d hears %d of %d, as does each before it all: is the machine busy? %w",
					formedWithin, i+1, alive(m.node), len(f.members), ctx.Err())
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	time.Sleep(time.Second) // all have said that they are done with those who came last
	return nil
}

func alive(n *cluster.Node) (count int) {
	for _, info := range n.Nodes() {
		if info.Alive {
			count++
		}
	}
	return count
}

func (f *fleet) close() {
	for _, m := range f.members {
		m.wire.heal()
		if m.node != nil {
			_ = m.node.Close()
		}
		m.wire.close()
	}
	for _, s := range f.nats {
		_ = s.Close()
	}
	f.sessions.Stop()
}
