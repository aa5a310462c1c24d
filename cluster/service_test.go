package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/cluster"
	"github.com/libnet-go/libnet/mux"
)

type number struct{ N int }

// doubling is a mux whose handler says which node it is at.
func doubling(at string, served *sync.Map) *mux.Mux {
	m := mux.New(mux.JSON)
	mux.Handle(m, "double", func(_ context.Context, s *libnet.Session, n *number) (*number, error) {
		count, _ := served.LoadOrStore(at, new(atomic.Int64))
		count.(*atomic.Int64).Add(1)
		if s != nil {
			return nil, errors.New("a session")
		}
		return &number{2 * n.N}, nil
	})
	mux.Handle(m, "refuse", func(context.Context, *libnet.Session, *number) (*number, error) {
		return nil, &mux.Error{Code: 403, Text: "not you"}
	})
	mux.Handle(m, "panic", func(context.Context, *libnet.Session, *number) (*number, error) { panic("a handler") })
	mux.Handle(m, "exit", func(context.Context, *libnet.Session, *number) (*number, error) { runtime.Goexit(); return nil, nil })
	mux.Handle(m, "late", func(ctx context.Context, _ *libnet.Session, _ *number) (*number, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	m.Logger = quiet
	return m
}

func serve(tb testing.TB, node *cluster.Node, name string, a cluster.Answerer, o cluster.ServeOptions) *cluster.Serving {
	tb.Helper()
	s, err := node.Serve(name, a, o)
	if err != nil {
		tb.Fatal(err)
	}
	if err := node.Sync(patience(tb)); err != nil {
		tb.Fatal(err)
	}
	return s
}

// spread calls until each of the nodes has served.
func spread(t *testing.T, peer mux.Peer, served *sync.Map, nodes int) {
	t.Helper()
	eventually(t, "calls to reach all", func() bool {
		n, err := mux.Call[number, number](patience(t), peer, "double", &number{21})
		if err != nil || n.N != 42 {
			t.Fatalf("a call: %v, %v", n, err)
		}
		reached := 0
		served.Range(func(any, any) bool { reached++; return true })
		return reached == nodes
	})
}

func TestACallReachesOneOfTheNodesThatServeAndOneThatDrainsNoMore(t *testing.T) {
	nodes := mesh(t, 3)
	var served sync.Map
	first := serve(t, nodes[0], "numbers", doubling("n1", &served), cluster.ServeOptions{})
	serve(t, nodes[1], "numbers", doubling("n2", &served), cluster.ServeOptions{})
	for _, node := range nodes { // also from those that serve
		served.Clear()
		spread(t, mux.New(mux.JSON).Over(node.Service("numbers")), &served, 2)
	}
	if err := first.Drain(patience(t)); err != nil {
		t.Fatalf("Drain: %v", err)
	}
	if err := first.Drain(patience(t)); err != nil {
		t.Errorf("Drain again: %v", err)
	}
	if err := nodes[0].Sync(patience(t)); err != nil {
		t.Fatal(err)
	}
	served.Clear()
	peer := mux.New(mux.JSON).Over(nodes[2].Service("numbers"))
	for range 50 {
		if _, err := mux.Call[number, number](patience(t), peer, "double", &number{1}); err != nil {
			t.Errorf("a call while one node has drained: %v", err)
		}
	}
	if _, ok := served.Load("n1"); ok {
		t.Error("a node that has drained was called")
	}
	if err := nodes[1].Drain(patience(t)); err != nil { // drains its services, too
		t.Fatal(err)
	}
	eventually(t, "the last to leave", func() bool {
		_, err := mux.Call[number, number](patience(t), peer, "double", &number{1})
		return errors.Is(err, cluster.ErrNoService)
	})
	if _, err := nodes[1].Serve("numbers", doubling("n2", &served), cluster.ServeOptions{}); !errors.Is(err, cluster.ErrDraining) {
		t.Errorf("Serve on a node that has drained: %v", err)
	}
}

func TestACallsErrorSaysWhatWentWrong(t *testing.T) {
	nodes := mesh(t, 2)
	var served sync.Map
	serve(t, nodes[0], "numbers", doubling("n1", &served), cluster.ServeOptions{})
	peer := mux.New(mux.JSON).Over(nodes[1].Service("numbers"))
	for kind, code := range map[mux.Kind]uint32{"refuse": 403, "panic": mux.CodeInternal, "unknown": mux.CodeUnknownKind} {
		var told *mux.Error
		if _, err := mux.Call[number, number](patience(t), peer, kind, &number{}); !errors.As(err, &told) || told.Code != code {
			t.Errorf("a call of %s: %v, want code %d", kind, err, code)
		}
	}
	if _, err := mux.Call[number, number](patience(t), peer, "exit", &number{}); !errors.Is(err, cluster.ErrUnanswered) {
		t.Errorf("a call whose handler ends its goroutine: %v", err)
	}
	if _, err := nodes[1].Service("numbers").Carry(patience(t), []byte("nonsense")); !errors.Is(err, cluster.ErrUnanswered) {
		t.Errorf("a request that cannot be read: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	var told *mux.Error
	if _, err := mux.Call[number, number](ctx, peer, "late", &number{}); !errors.Is(err, context.DeadlineExceeded) && !errors.As(err, &told) {
		t.Errorf("a call that comes too late: %v", err)
	}
	for name, want := range map[string]error{"": cluster.ErrInvalidName, "nobody": cluster.ErrNoService} {
		if _, err := nodes[1].Service(name).Carry(patience(t), nil); !errors.Is(err, want) {
			t.Errorf("a call to %q: %v", name, err)
		}
	}
	if _, err := nodes[1].Service("numbers").Carry(patience(t), make([]byte, nodes[1].MaxPayload()+1)); err != cluster.ErrTooLarge {
		t.Errorf("a request that is too large: %v", err)
	}
	serve(t, nodes[0], "large", answering(func(context.Context, []byte) ([]byte, error) { return make([]byte, 2<<20), nil }), cluster.ServeOptions{})
	if _, err := nodes[1].Service("large").Carry(patience(t), nil); err != cluster.ErrTooLarge {
		t.Errorf("a reply that is too large: %v", err)
	}
	_ = nodes[1].Close()
	if _, err := nodes[1].Service("numbers").Carry(patience(t), nil); !errors.Is(err, cluster.ErrClosed) {
		t.Errorf("a call of a closed node: %v", err)
	}
}

type answering func(context.Context, []byte) ([]byte, error)

func (f answering) Answer(ctx context.Context, request []byte) ([]byte, error) {
	return f(ctx, request)
}

func TestANodeServesAsManyCallsAsItMayAndRefusesTheRest(t *testing.T) {
	nodes := mesh(t, 2)
	begun, release := make(chan struct{}), make(chan struct{})
	s := serve(t, nodes[0], "slow", answering(func(context.Context, []byte) ([]byte, error) {
		begun <- struct{}{}
		<-release
		return []byte("done"), nil
	}), cluster.ServeOptions{Concurrency: 2})
	results := make(chan error, 2)
	for range 2 {
		go func() {
			reply, err := nodes[1].Service("slow").Carry(patience(t), nil)
			if err == nil && string(reply) != "done" {
				err = fmt.Errorf("the reply is %q", reply)
			}
			results <- err
		}()
		<-begun
	}
	if _, err := nodes[1].Service("slow").Carry(patience(t), nil); err != cluster.ErrBusy {
		t.Errorf("a third call: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := s.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Drain while calls are served: %v", err)
	}
	close(release)
	for range 2 {
		if err := <-results; err != nil {
			t.Errorf("a call that was served: %v", err)
		}
	}
	if err := s.Drain(patience(t)); err != nil {
		t.Errorf("Drain: %v", err)
	}
}

func TestAHandlersContextEndsWithTheCallersTimeAndWithTheNode(t *testing.T) {
	nodes := mesh(t, 2)
	ended := make(chan error, 2)
	begun := make(chan time.Duration, 2)
	serve(t, nodes[0], "waits", answering(func(ctx context.Context, _ []byte) ([]byte, error) {
		deadline, _ := ctx.Deadline()
		begun <- time.Until(deadline)
		<-ctx.Done()
		ended <- ctx.Err()
		return nil, ctx.Err()
	}), cluster.ServeOptions{})
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if _, err := nodes[1].Service("waits").Carry(ctx, nil); err == nil {
		t.Error("a call that nobody answers succeeded")
	}
	if left := <-begun; left > 100*time.Millisecond {
		t.Errorf("the handler had %v", left)
	}
	if err := <-ended; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the handler's context ended with %v", err)
	}
	go func() { _, _ = nodes[1].Service("waits").Carry(patience(t), nil) }()
	<-begun
	_ = nodes[0].Close()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the handler's context ended with %v", err)
	}
	_ = nodes[1].Close() // the call ends
}

const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestACallCarriesItsHeaderAndTheTraceThroughAllCallsThatFollow(t *testing.T) {
	nodes := mesh(t, 2)
	seen := make(chan cluster.Header, 2)
	serve(t, nodes[0], "inner", answering(func(ctx context.Context, _ []byte) ([]byte, error) {
		seen <- cluster.HeaderOf(ctx)
		return nil, nil
	}), cluster.ServeOptions{})
	serve(t, nodes[1], "outer", answering(func(ctx context.Context, _ []byte) ([]byte, error) {
		seen <- cluster.HeaderOf(ctx)
		return nodes[1].Service("inner").Carry(ctx, nil)
	}), cluster.ServeOptions{})
	ctx := cluster.WithHeader(patience(t), cluster.Header{"traceparent": parent, "tracestate": "a=1", "tenant": "x"})
	ctx = cluster.WithHeader(ctx, cluster.Header{"tenant": "y"})
	if _, err := nodes[0].Service("outer").Carry(ctx, nil); err != nil {
		t.Fatal(err)
	}
	if h := <-seen; len(h) != 3 || h["traceparent"] != parent || h["tracestate"] != "a=1" || h["tenant"] != "y" {
		t.Errorf("the first call came with %v", h)
	}
	if h := <-seen; len(h) != 2 || h["traceparent"] != parent || h["tracestate"] != "a=1" {
		t.Errorf("the call within it came with %v", h)
	}
	for _, h := range []cluster.Header{
		{"Upper": "x"}, {"a b": "x"}, {"": "x"}, {"libnet-timeout": "1"}, {"a": "x\r\nb: y"}, {"a": " x"},
		{strings.Repeat("k", 65): ""}, {"a": strings.Repeat("v", 4096)},
	} {
		if _, err := nodes[0].Service("outer").Carry(cluster.WithHeader(patience(t), h), nil); err != cluster.ErrInvalidHeader {
			t.Errorf("a call with the header %.80v: %v", h, err)
		}
	}
}

type span struct{}

func TestATracersFunctionsSeeEachCallAndMayPanic(t *testing.T) {
	var panics atomic.Bool
	node := startNode(t, cluster.Options{Trace: cluster.Trace{
		Inject: func(ctx context.Context, h cluster.Header) {
			h["traceparent"] = ctx.Value(span{}).(string)
			if panics.Load() {
				panic("a tracer")
			}
		},
		Extract: func(ctx context.Context, h cluster.Header) context.Context {
			if panics.Load() {
				panic("a tracer")
			}
			return context.WithValue(ctx, span{}, "extracted "+h["traceparent"])
		},
	}})
	got := make(chan any, 1)
	serve(t, node, "s", answering(func(ctx context.Context, _ []byte) ([]byte, error) {
		got <- ctx.Value(span{})
		return nil, nil
	}), cluster.ServeOptions{})
	ctx := context.WithValue(patience(t), span{}, parent)
	for _, want := range []any{"extracted " + parent, nil} {
		if _, err := node.Service("s").Carry(ctx, nil); err != nil {
			t.Fatal(err)
		}
		if v := <-got; v != want {
			t.Errorf("the handler has %v, want %v", v, want)
		}
		panics.Store(true)
	}
	panics.Store(false)
	if _, err := node.Service("s").Carry(context.Background(), nil); err != nil { // Inject panics by itself
		t.Errorf("a call without a span: %v", err)
	}
	<-got
}

func TestTraceparentsAreThoseOfTheSpecification(t *testing.T) {
	for _, text := range []string{parent, "01" + parent[2:], "01" + parent[2:] + "-more"} {
		if !cluster.ValidTraceparent(text) {
			t.Errorf("%s is refused", text)
		}
	}
	zero := strings.Repeat("0", 32)
	for _, text := range []string{
		"", "ff" + parent[2:], parent + "-more", parent + "x", "01" + parent[2:] + "more", strings.ToUpper(parent), parent[:54], "0-" + parent,
		"00-" + zero + parent[35:], parent[:36] + zero[:16] + parent[52:], strings.ReplaceAll(parent, "-", "_"),
	} {
		if cluster.ValidTraceparent(text) {
			t.Errorf("%s is accepted", text)
		}
	}
}

func FuzzHeader(f *testing.F) {
	f.Add("traceparent", parent, "libnet-timeout", "50")
	f.Add("TraceParent", "x", "a", "b\r\nc")
	f.Add("traceparent", "nonsense", "tracestate", "a=1")
	f.Fuzz(func(t *testing.T, key1, value1, key2, value2 string) {
		h, timeout := cluster.ReceivedHeader(map[string][]string{key1: {value1}, key2: {value2}, "empty": nil})
		size := 0
		for key, value := range h {
			size += len(key) + len(value)
			if strings.HasPrefix(key, "libnet-") || strings.ContainsAny(key+value, "\r\n\x00") {
				t.Errorf("%q: %q was accepted", key, value)
			}
		}
		if size > 4096 || timeout < 0 || timeout > 24*time.Hour {
			t.Errorf("%d bytes, %v", size, timeout)
		}
		if parent, ok := h["traceparent"]; ok && (parent == "" || !slices.Contains([]string{value1, value2}, parent)) {
			t.Errorf("the trace %q is nobody's", parent)
		}
	})
}
