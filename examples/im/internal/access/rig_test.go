package access_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/cluster"
	"github.com/libnet-go/libnet/examples/im/internal/access"
	"github.com/libnet-go/libnet/examples/im/internal/client"
	"github.com/libnet-go/libnet/examples/im/internal/embedded"
	"github.com/libnet-go/libnet/examples/im/internal/history"
	"github.com/libnet-go/libnet/examples/im/internal/imtest"
	"github.com/libnet-go/libnet/examples/im/internal/token"
	"github.com/libnet-go/libnet/examples/im/internal/wire"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/ws"
)

func TestMain(m *testing.M) { libnettest.VerifyMain(m) }

// A rig is a NATS server and the access servers on it.
type rig struct {
	t      testing.TB
	nats   *embedded.NATS
	files  string // of nats
	tokens *token.Tokens

	mu      sync.Mutex
	servers []*server
	ids     atomic.Int64
	turn    atomic.Int64
}

type server struct {
	*access.Server
	node    *cluster.Node
	history *history.History
	down    atomic.Bool // not to be picked
}

func newRig(t testing.TB) *rig {
	t.Helper()
	files := t.TempDir()
	nats := imtest.StartNATS(t, files)
	tokens, err := token.New(token.NewKey(), "")
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, nats: nats, files: files, tokens: tokens}
	r.ids.Store(1 << 40) // far from the ids that tests give messages
	return r
}

// start adds an access server; edit, if any, changes its options.
func (r *rig) start(edit func(*access.Options)) *server {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	node, err := cluster.New(r.t.Context(), cluster.Options{
		NodeID: fmt.Sprintf("access-%d", len(r.servers)+1), Servers: []string{r.nats.URL()}, Logger: imtest.Quiet,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { node.Close() })
	h, err := history.Open(r.t.Context(), node.Conn(), history.Options{})
	if err != nil {
		r.t.Fatal(err)
	}
	o := access.Options{
		Cluster: node, History: h, Tokens: r.tokens, Logger: imtest.Quiet,
		NextID: func() (int64, error) { return r.ids.Add(1), nil },
	}
	if edit != nil {
		edit(&o)
	}
	s, err := access.Start(o)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(s.Kill)
	added := &server{Server: s, node: node, history: h}
	r.servers = append(r.servers, added)
	return added
}

// pick is the gateway: the next server that is up.
func (r *rig) pick(context.Context) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for range r.servers {
		s := r.servers[int(r.turn.Add(1))%len(r.servers)]
		if !s.down.Load() {
			return s.Addr(), nil
		}
	}
	return "", errors.New("no access server")
}

// token is a user's, good for an hour.
func (r *rig) token(user int64) string { return r.tokens.Issue(user, time.Hour) }

// A mailbox keeps what a client was handed out.
type mailbox struct {
	mu       sync.Mutex
	messages []client.Message
	arrived  chan struct{} // takes one
}

func newMailbox() *mailbox { return &mailbox{arrived: make(chan struct{}, 1)} }

func (b *mailbox) put(m client.Message) {
	b.mu.Lock()
	b.messages = append(b.messages, m)
	b.mu.Unlock()
	select {
	case b.arrived <- struct{}{}:
	default:
	}
}

func (b *mailbox) texts() (texts []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.messages {
		texts = append(texts, m.Text)
	}
	return texts
}

// await waits until n messages have come.
func (b *mailbox) await(t testing.TB, n int) []string {
	t.Helper()
	late := time.After(imtest.Patience)
	for {
		if texts := b.texts(); len(texts) >= n {
			return texts
		}
		select {
		case <-b.arrived:
		case <-late:
			t.Fatalf("%d messages, want %d", len(b.texts()), n)
		}
	}
}

// client starts one that is logged in.
func (r *rig) client(user int64, edit func(*client.Options)) (*client.Client, *mailbox) {
	r.t.Helper()
	box := newMailbox()
	o := client.Options{
		Pick: r.pick, User: user, Token: func() string { return r.token(user) }, OnMessage: box.put,
		MinBackoff: 20 * time.Millisecond, MaxBackoff: 200 * time.Millisecond, Logger: imtest.Quiet,
	}
	if edit != nil {
		edit(&o)
	}
	c := client.Start(o)
	r.t.Cleanup(func() { c.Close(); <-c.Done() })
	if err := c.Ready(imtest.Bounded(r.t)); err != nil {
		r.t.Fatal(err)
	}
	return c, box
}

// A peer is a plain session: it sends and receives what the test says, and no more.
type peer struct {
	t testing.TB
	*libnet.Session
}

func config() libnet.Dialer {
	d := libnet.Dialer{Protocol: wire.Protocol()}
	d.SendQueue = 64
	d.IdleTimeout = imtest.Patience
	d.Logger = imtest.Quiet
	return d
}

func dialTCP(t testing.TB, s *server) *peer {
	t.Helper()
	d := config()
	session, err := d.Dial(imtest.Bounded(t), "tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { session.Close() })
	return &peer{t, session}
}

func dialWebSocket(t testing.TB, s *server) *peer {
	t.Helper()
	d := config()
	session, err := ws.Dial(imtest.Bounded(t), s.WebSocketURL(), &d, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { session.Close() })
	return &peer{t, session}
}

// each runs a test over both transports.
func each(t *testing.T, test func(t *testing.T, dial func(testing.TB, *server) *peer)) {
	t.Run("TCP", func(t *testing.T) { test(t, dialTCP) })
	t.Run("WebSocket", func(t *testing.T) { test(t, dialWebSocket) })
}

func (p *peer) send(msg any) {
	p.t.Helper()
	if err := p.Send(msg); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) receive() proto.Message {
	p.t.Helper()
	payload, err := p.Receive()
	if err != nil {
		p.t.Fatalf("instead of a message: %v", err)
	}
	_, msg, err := wire.Answer(payload)
	if err != nil {
		p.t.Fatal(err)
	}
	return msg
}

// ask returns the answer to a request. Notifications that come before it are dropped.
func (p *peer) ask(request proto.Message) proto.Message {
	p.t.Helper()
	p.send(request)
	for {
		msg := p.receive()
		if _, ok := msg.(*wire.ResNotify); !ok {
			return msg
		}
	}
}

func (p *peer) want(request, answer proto.Message) {
	p.t.Helper()
	if got := p.ask(request); !proto.Equal(got, answer) {
		p.t.Fatalf("to %v: %v, want %v", request, got, answer)
	}
}

func (p *peer) login(r *rig, user int64) *peer {
	p.t.Helper()
	p.want(&wire.ReqLogin{Cmd: wire.CmdLogin, UID: user, Token: r.token(user)}, wire.OK(wire.CmdLogin))
	return p
}

// wantEnd checks that the session ends without another message.
func (p *peer) wantEnd() {
	p.t.Helper()
	payload, err := p.Receive()
	if err == nil {
		_, msg, _ := wire.Answer(payload)
		p.t.Fatalf("instead of the end: %v", msg)
	}
	if errors.Is(err, libnet.ErrIdleTimeout) {
		p.t.Fatalf("the session has not ended")
	}
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		p.t.Logf("ended with %v", err)
	}
}

// online asks until there is an answer: on a machine that is too busy for heartbeats a node may not know for a while.
func (r *rig) online(s *server, user int64) (sessions []cluster.Presence) {
	r.t.Helper()
	imtest.Eventually(r.t, "an answer", func() bool {
		var err error
		sessions, err = s.node.Online(imtest.Bounded(r.t), fmt.Sprint(user))
		if err != nil && !errors.Is(err, cluster.ErrDegraded) {
			r.t.Fatal(err)
		}
		return err == nil
	})
	return sessions
}
