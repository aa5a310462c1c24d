package cluster_test

import (
	"context"
	"log/slog"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libnet-go/libnet/cluster"
)

// A shyConn's address panics once it is told to.
type shyConn struct {
	*sink
	shy *atomic.Bool
}

type shyAddr struct {
	net.Addr
	shy *atomic.Bool
}

func (c shyConn) RemoteAddr() net.Addr { return shyAddr{c.sink.RemoteAddr(), c.shy} }

func (a shyAddr) String() string {
	if a.shy.Load() {
		panic("no address")
	}
	return "somewhere"
}

// The dispatcher, on which all users depend, asks no conn anything.
func TestAnAddressThatPanicsHarmsNoNode(t *testing.T) {
	node := startNode(t, cluster.Options{})
	server := newSessions(t, lines, nil)
	conn := shyConn{newSink(nil), new(atomic.Bool)}
	session, err := server.NewSession(conn)
	if err != nil {
		t.Fatal(err)
	}
	bind(t, node, session, "u")
	if err := node.Join(session, "g"); err != nil {
		t.Fatal(err)
	}
	conn.shy.Store(true)
	if list, err := node.Online(patience(t), "u"); err != nil || len(list) != 1 || list[0].Addr != "somewhere" {
		t.Errorf("Online: %+v, %v", list, err)
	}
	if list, err := node.Members(patience(t), "g"); err != nil || len(list) != 1 || list[0].Addr != "somewhere" {
		t.Errorf("Members: %+v, %v", list, err)
	}
	conn.shy.Store(false)
}

// A bombContext panics when it is asked why it has ended, which package context does on a goroutine of its own.
type bombContext struct {
	context.Context
	done chan struct{}
}

func (b bombContext) Done() <-chan struct{} { return b.done }
func (b bombContext) Err() error            { panic("no reason") }

type answererFunc func(context.Context, []byte) ([]byte, error)

func (f answererFunc) Answer(ctx context.Context, b []byte) ([]byte, error) { return f(ctx, b) }

func TestAContextOfExtractThatPanicsHarmsNoNode(t *testing.T) {
	done := make(chan struct{})
	node := startNode(t, cluster.Options{Trace: cluster.Trace{
		Extract: func(ctx context.Context, _ cluster.Header) context.Context { return bombContext{ctx, done} },
	}})
	if _, err := node.Serve("s", answererFunc(func(ctx context.Context, _ []byte) ([]byte, error) {
		close(done)
		select {
		case <-ctx.Done():
		case <-time.After(soon):
			t.Error("the handler's context does not end with what Extract returned")
		}
		return []byte("ok"), nil
	}), cluster.ServeOptions{}); err != nil {
		t.Fatal(err)
	}
	if reply, err := node.Service("s").Carry(patience(t), nil); string(reply) != "ok" || err != nil {
		t.Errorf("%q, %v", reply, err)
	}
}

// A rudeHandler does something else than to write.
type rudeHandler struct {
	slog.Handler
	do func()
}

func (h rudeHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h rudeHandler) Handle(context.Context, slog.Record) error {
	h.do()
	return nil
}

func (h rudeHandler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h rudeHandler) WithGroup(string) slog.Handler      { return h }

// That another node was found is logged on the goroutines that hear the others.
func TestALoggerThatPanicsHangsOrEndsItsGoroutineHarmsNoNode(t *testing.T) {
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	for name, do := range map[string]func(){
		"panics": func() { panic("no room on the disk") },
		"hangs":  func() { <-release },
		"ends":   runtime.Goexit,
	} {
		t.Run(name, func(t *testing.T) {
			logger := slog.New(rudeHandler{do: do})
			one := startNode(t, cluster.Options{Listen: "127.0.0.1:0", Logger: logger})
			two := startNode(t, cluster.Options{Listen: "127.0.0.1:0", Routes: routesTo([]*cluster.Node{one}), Logger: logger})
			formed(t, []*cluster.Node{one, two})
			server := newSessions(t, lines, nil)
			_, client := server.bound(one, "u")
			send(t, two, "u", "hello")
			read(t, client, "hello\n")
			wantOffline(t, two, "v")
			if err := two.Close(); err != nil {
				t.Error(err)
			}
			wantOffline(t, one, "v")
		})
	}
}
