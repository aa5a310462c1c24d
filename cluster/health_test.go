package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/libnet-go/libnet/cluster"
	"github.com/nats-io/nats-server/v2/server"
)

// An account is a NATS server whose only login can be changed.
type account struct {
	*server.Server
	options server.Options
	refused atomic.Int64
}

func newAccount(t *testing.T) *account {
	a := &account{options: server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, Username: "node", Password: "right",
	}}
	started := a.options
	s, err := server.NewServer(&started)
	if err != nil {
		t.Fatal(err)
	}
	a.Server = s
	s.SetLoggerV2(a, false, false, false)
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(soon) {
		t.Fatal("the server is not ready")
	}
	return a
}

func (a *account) url() string { return fmt.Sprintf("nats://node:right@%s", a.Addr()) }

// want changes the password; who is connected by another one is thrown out.
func (a *account) want(t *testing.T, password string) {
	t.Helper()
	changed := a.options
	changed.Password = password
	if err := a.ReloadOptions(&changed); err != nil {
		t.Fatal(err)
	}
}

func (a *account) Errorf(string, ...any) { a.refused.Add(1) }
func (*account) Noticef(string, ...any)  {}
func (*account) Warnf(string, ...any)    {}
func (*account) Fatalf(string, ...any)   {}
func (*account) Debugf(string, ...any)   {}
func (*account) Tracef(string, ...any)   {}

// changes is a callback, and what it was told.
type changes chan cluster.Health

func (c changes) tell(h cluster.Health, err error) {
	if (h == cluster.Whole) != (err == nil) {
		panic(fmt.Sprint(h, " with ", err))
	}
	c <- h
}

func (c changes) want(t *testing.T, health cluster.Health) {
	t.Helper()
	select {
	case h := <-c:
		if h != health {
			t.Fatalf("the node says that it is %v, want %v", h, health)
		}
	case <-patience(t).Done():
		t.Fatalf("the node does not say that it is %v", health)
	}
}

func TestANodeWhoseLoginIsRefusedManyTimesIsBackWhenItIsAccepted(t *testing.T) {
	account := newAccount(t)
	told := make(changes, 16)
	node := startNode(t, cluster.Options{Servers: []string{account.url()}, OnHealth: told.tell})
	session, client := newSessions(t, lines, nil).bound(node, "u")
	account.want(t, "another")
	told.want(t, cluster.Degraded)
	before := account.refused.Load()
	eventually(t, "five refusals", func() bool { return account.refused.Load() >= before+5 })
	if health, err := node.Health(); health != cluster.Degraded || !errors.Is(err, cluster.ErrDisconnected) {
		t.Errorf("while logins are refused the node is %v, %v", health, err)
	}
	account.want(t, "right")
	told.want(t, cluster.Whole)
	send(t, node, "u", "again")
	read(t, client, "again\n")
	if session.IsClosed() {
		t.Errorf("the session was closed: %v", session.Err())
	}
}

func TestAConnectionThatIsClosedForGoodIsReported(t *testing.T) {
	told := make(changes, 16)
	node := startNode(t, cluster.Options{OnHealth: told.tell})
	node.Conn().Close() // a mistake
	told.want(t, cluster.Lost)
	if health, err := node.Health(); health != cluster.Lost || !errors.Is(err, cluster.ErrDisconnected) {
		t.Errorf("without its connection the node is %v, %v", health, err)
	}
}

func TestANodeThatIsCutOffIsDegradedOnBothSidesUntilItIsBack(t *testing.T) {
	told := make(changes, 16)
	near, far, between := external(t, cluster.Options{})
	watched := startNode(t, cluster.Options{Servers: []string{near.Conn().ConnectedUrl()}, OnHealth: told.tell})
	formed(t, []*cluster.Node{watched, near, far})
	between.sever()
	told.want(t, cluster.Degraded)
	if health, err := watched.Health(); health != cluster.Degraded || !errors.Is(err, cluster.ErrDegraded) {
		t.Errorf("while a node is cut off, another is %v, %v", health, err)
	}
	eventually(t, "the other side", func() bool { health, _ := far.Health(); return health == cluster.Degraded })
	between.heal()
	told.want(t, cluster.Whole)
	eventually(t, "the other side", func() bool { health, _ := far.Health(); return health == cluster.Whole })
}

func TestACallbackForHealthThatPanicsEndsOrBlocksHarmsNothing(t *testing.T) {
	block := make(chan struct{})
	defer close(block)
	calls := make(chan int, 16)
	count := 0 // calls come one at a time
	account := newAccount(t)
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	node := startNode(t, cluster.Options{Servers: []string{account.url()}, Logger: log, OnHealth: func(cluster.Health, error) {
		count++
		calls <- count
		switch count {
		case 1:
			endless := []any{nil}
			endless[0] = endless // whoever prints it whole ends the process
			panic(endless)
		case 2:
			runtime.Goexit()
		}
		<-block
	}})
	_, client := newSessions(t, lines, nil).bound(node, "u")
	for i := range 4 {
		account.want(t, "another")
		eventually(t, "the break", func() bool { health, _ := node.Health(); return health == cluster.Degraded })
		if i == 0 {
			<-calls
		}
		account.want(t, "right")
		eventually(t, "the end of it", func() bool { health, _ := node.Health(); return health == cluster.Whole })
		if i == 0 {
			<-calls
		}
		send(t, node, "u", "again")
		read(t, client, "again\n")
	}
	if n := <-calls; n != 3 || len(calls) > 0 {
		t.Errorf("call %d and %d more while one blocks", n, len(calls))
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_ = node.Close()
	}()
	select {
	case <-closed:
	case <-patience(t).Done():
		t.Error("Close waits for a callback that blocks")
	}
}

type panicking struct{ slog.Handler }

func (panicking) Enabled(context.Context, slog.Level) bool      { return true }
func (panicking) Handle(_ context.Context, r slog.Record) error { panic(r.Message) }
func (p panicking) WithAttrs([]slog.Attr) slog.Handler          { return p }
func (p panicking) WithGroup(string) slog.Handler               { return p }

func TestALoggerThatPanicsHarmsNothing(t *testing.T) {
	account := newAccount(t)
	told := make(changes, 16)
	node := startNode(t, cluster.Options{Servers: []string{account.url()}, OnHealth: told.tell, Logger: slog.New(panicking{})})
	_, client := newSessions(t, lines, nil).bound(node, "u")
	serve(t, node, "s", answering(nil), cluster.ServeOptions{})
	if _, err := node.Service("s").Carry(patience(t), nil); err != cluster.ErrUnanswered { // it panics, and that is logged
		t.Errorf("a call: %v", err)
	}
	account.want(t, "another")
	told.want(t, cluster.Degraded)
	account.want(t, "right")
	told.want(t, cluster.Whole)
	send(t, node, "u", "still there")
	read(t, client, "still there\n")
}
