package page_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/cluster"
	"github.com/libnet-go/libnet/examples/im/internal/access"
	"github.com/libnet-go/libnet/examples/im/internal/embedded"
	"github.com/libnet-go/libnet/examples/im/internal/history"
	"github.com/libnet-go/libnet/examples/im/internal/imtest"
	"github.com/libnet-go/libnet/examples/im/internal/page"
	"github.com/libnet-go/libnet/examples/im/internal/token"
	"github.com/libnet-go/libnet/examples/im/internal/wire"
)

const tokenLife = time.Hour

// A messenger is a page's server, and the access servers behind it on a NATS of their own.
type messenger struct {
	t      testing.TB
	URL    string // of the page
	nats   *embedded.NATS
	files  string // of nats
	tokens *token.Tokens
	hosts  []string          // whom the page may ask
	stores []*failingHistory // one a server

	// mu guards the following.
	mu      sync.Mutex
	servers map[string]*access.Server // those that are up, by id
	order   []string                  // their ids; the first is picked next
}

// startMessenger starts access servers with these ids and a page that lets people in by name.
func startMessenger(t testing.TB, ids ...string) *messenger {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	files := t.TempDir()
	nats := imtest.StartNATS(t, files)
	tokens, err := token.New(token.NewKey(), "")
	if err != nil {
		t.Fatal(err)
	}
	m := &messenger{t: t, nats: nats, files: files, tokens: tokens, servers: make(map[string]*access.Server)}
	var lastID atomic.Int64
	for _, id := range ids {
		m.startServer(ctx, id, nats.URL(), func() (int64, error) { return lastID.Add(1), nil })
	}

	site := httptest.NewServer(page.Handler(page.Options{
		Pick:       m.pick,
		DemoTokens: func(user int64) (string, error) { return tokens.Issue(user, tokenLife), nil },
		Logger:     quiet,
	}))
	t.Cleanup(site.Close)
	m.URL = site.URL + "/"
	m.hosts = append(m.hosts, site.Listener.Addr().String())
	return m
}

func (m *messenger) startServer(ctx context.Context, id, nats string, next func() (int64, error)) {
	m.t.Helper()
	node, err := cluster.New(ctx, cluster.Options{NodeID: id, Servers: []string{nats}, Logger: quiet})
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { _ = node.Close() })
	store, err := history.Open(ctx, node.Conn(), history.Options{})
	if err != nil {
		m.t.Fatal(err)
	}
	failing := &failingHistory{History: store}
	m.stores = append(m.stores, failing)
	server, err := access.Start(access.Options{
		Cluster: node, History: failing, Tokens: m.tokens, NextID: next,
		Origins: []string{"127.0.0.1:*"}, Logger: quiet,
	})
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(server.Kill)
	m.servers[id] = server
	m.order = append(m.order, id)
	u, err := url.Parse(server.WebSocketURL())
	if err != nil {
		m.t.Fatal(err)
	}
	m.hosts = append(m.hosts, u.Host)
}

// pick takes the servers in turn.
func (m *messenger) pick(context.Context) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.order) == 0 {
		return "", errors.New("no access server is up")
	}
	id := m.order[0]
	m.order = append(m.order[1:], id)
	return m.servers[id].WebSocketURL(), nil
}

// kill has an access server crash.
func (m *messenger) kill(id string) {
	m.mu.Lock()
	server := m.servers[id]
	delete(m.servers, id)
	var left []string
	for _, other := range m.order {
		if other != id {
			left = append(left, other)
		}
	}
	m.order = left
	m.mu.Unlock()
	server.Kill()
}

// open opens a tab that may ask the page's server and the access servers, and nobody else.
func (m *messenger) open(browser context.Context, name string) *tab {
	m.t.Helper()
	return openTab(m.t, browser, name, func(host string) bool {
		for _, known := range m.hosts {
			if host == known {
				return true
			}
		}
		return false
	})
}

// A tcpClient is a user without a browser.
type tcpClient struct {
	t       testing.TB
	user    int64
	session *libnet.Session
	version int64
}

// dial logs a user in over TCP.
func (m *messenger) dial(server string, user int64) *tcpClient {
	m.t.Helper()
	session, err := libnet.ConnectTimeout("tcp", m.servers[server].Addr(), patience, wire.Protocol(), 0)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { _ = session.Close() })
	c := &tcpClient{t: m.t, user: user, session: session}
	c.ask(&wire.ReqLogin{Cmd: wire.CmdLogin, UID: user, Token: m.tokens.Issue(user, tokenLife)})
	return c
}

// ask sends a request and returns its answer. Notifications that come before it are passed over.
func (c *tcpClient) ask(request proto.Message) proto.Message {
	c.t.Helper()
	if err := c.session.Send(request); err != nil {
		c.t.Fatal(err)
	}
	want, err := wire.Peek(wire.Encode(request))
	if err != nil {
		c.t.Fatal(err)
	}
	for {
		payload, err := c.session.Receive()
		if err != nil {
			c.t.Fatal(err)
		}
		cmd, answer, err := wire.Answer(payload)
		if err != nil {
			c.t.Fatal(err)
		}
		if coded, ok := answer.(interface{ GetErrCode() uint32 }); ok && coded.GetErrCode() != wire.CodeOK && coded.GetErrCode() != wire.CodeNoData {
			c.t.Fatalf("%v", answer)
		}
		if cmd == want {
			return answer
		}
	}
}

// sync returns what is new, in its order.
func (c *tcpClient) sync() []string {
	c.t.Helper()
	answer := c.ask(&wire.ReqSyncMsg{Cmd: wire.CmdSync, UID: c.user, CurrentID: c.version}).(*wire.ResSyncMsg)
	c.version = answer.CurrentID
	var texts []string
	for _, m := range answer.Msgs {
		texts = append(texts, m.Msg)
	}
	return texts
}

func (c *tcpClient) say(group int64, id, text string) {
	c.t.Helper()
	c.ask(&wire.ReqSendGroupMsg{Cmd: wire.CmdSendGroup, GroupID: group, MsgID: id, Msg: text})
}

// serverOf is the access server that a tab says it is connected to.
func (b *tab) serverOf() string {
	b.t.Helper()
	return strings.TrimPrefix(eval[string](b, `document.querySelector("#link-text").textContent`), "Connected to ")
}
