package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/mux"
	"github.com/libnet-go/libnet/reconnect"
	"github.com/libnet-go/libnet/resume"
	"github.com/libnet-go/libnet/ws"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // of what clients do wrong here, the log tells
	libnettest.VerifyMain(m)
}

// patience is for anything at all to happen, on a busy machine.
const patience = 20 * time.Second

// A rig is a server of the program's own, and how to reach it.
type rig struct {
	tcp, page string
	end       func() error // Ctrl-C; it returns what the program does
}

func start(t *testing.T) *rig {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, stdout := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"-listen", "127.0.0.1:0", "-web", "127.0.0.1:0"}, nil, stdout, io.Discard)
		stdout.Close()
	}()
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatalf("the server has not started: %v", <-ended)
	}
	r := &rig{end: func() error { cancel(); return <-ended }}
	if _, err := fmt.Sscanf(lines.Text(), "terminals at %s browsers at %s", &r.tcp, &r.page); err != nil {
		t.Fatal(err)
	}
	r.tcp, r.page = strings.Trim(r.tcp, ",;"), strings.Trim(r.page, ",;")
	t.Cleanup(cancel)
	return r
}

// ways are the transports, by name: each dials with a client's Mux.
func (r *rig) ways() map[string]func(*mux.Mux) (*libnet.Session, error) {
	return map[string]func(*mux.Mux) (*libnet.Session, error){
		"TCP": func(m *mux.Mux) (*libnet.Session, error) {
			return libnet.Connect("tcp", r.tcp, codec.New(codec.Uint32BE, m), 64)
		},
		"WebSocket": func(m *mux.Mux) (*libnet.Session, error) {
			links := &libnet.Dialer{Protocol: codec.New(codec.Uint32BE, resume.Frames)}
			links.SendQueue = 64
			session := new(resume.Client).Start(&reconnect.Client{Dial: func(ctx context.Context) (*libnet.Session, error) {
				return ws.Dial(ctx, r.page+"ws", links, nil)
			}})
			dialer := &libnet.Dialer{Protocol: codec.New(codec.Uint32BE, m)}
			dialer.SendQueue = 64
			return dialer.NewSession(session.NetConn())
		},
	}
}

// A person is a client that has what it is told in a channel.
type person struct {
	testing.TB
	name    string
	session *libnet.Session
	server  mux.Peer
	told    chan string
	mute    atomic.Bool // does not answer pings
}

func dial(t testing.TB, by func(*mux.Mux) (*libnet.Session, error)) *person {
	t.Helper()
	p := &person{TB: t, told: make(chan string, 100)}
	m := mux.New(mux.JSON)
	tell[Members](p, m, "members")
	tell[Joined](p, m, "joined")
	tell[Left](p, m, "left")
	tell[Said](p, m, "said")
	tell[Whispered](p, m, "whispered")
	mux.On(m, "farewell", func(_ context.Context, _ *libnet.Session, e *Farewell) error {
		p.told <- "farewell: " + e.Reason
		return nil
	})
	mux.On(m, "ping", func(_ context.Context, s *libnet.Session, _ *struct{}) error {
		if p.mute.Load() {
			return nil
		}
		return s.Send(mux.Message{Kind: "pong"})
	})
	s, err := by(m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	p.session, p.server = s, m.Start(s)
	return p
}

func tell[E any](p *person, m *mux.Mux, k mux.Kind) {
	mux.On(m, k, func(_ context.Context, _ *libnet.Session, e *E) error {
		p.told <- fmt.Sprint(e)
		return nil
	})
}

// enter is a person who has logged in and joined a room.
func enter(t testing.TB, by func(*mux.Mux) (*libnet.Session, error), name, room string) *person {
	t.Helper()
	p := dial(t, by)
	p.name = name
	p.does("login", &Login{name, "secret"})
	p.does("join", &Join{room})
	return p
}

// dialIdle is a session that has entered and receives no more.
func dialIdle(t testing.TB, by func(*mux.Mux) (*libnet.Session, error), name, room string) *libnet.Session {
	t.Helper()
	p := &person{TB: t, name: name}
	m := mux.New(mux.JSON)
	var err error
	if p.session, err = by(m); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.session.Close() })
	p.server = m.SyncPeer(p.session)
	p.does("login", &Login{name, "secret"})
	p.does("join", &Join{room})
	return p.session
}

// ask returns the server's error, nil if there was none.
func (p *person) ask(k mux.Kind, body any) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req := &body
	if body == nil {
		req = nil
	}
	_, err := mux.Call[any, struct{}](ctx, p.server, k, req)
	return err
}

func (p *person) does(k mux.Kind, body any) {
	p.Helper()
	if err := p.ask(k, body); err != nil {
		p.Fatalf("%s's %s: %v", p.name, k, err)
	}
}

// hears checks what comes next.
func (p *person) hears(want ...string) {
	p.Helper()
	for _, w := range want {
		select {
		case got := <-p.told:
			if got != w {
				p.Fatalf("%s hears %q; want %q", p.name, got, w)
			}
		case <-time.After(patience):
			p.Fatalf("%s has not heard %q", p.name, w)
		}
	}
}

// hearsNothing holds as soon as the server has answered a question that comes behind what it might have said.
func (p *person) hearsNothing() {
	p.Helper()
	p.does("who", nil)
	select {
	case got := <-p.told:
		p.Fatalf("%s hears %q", p.name, got)
	default:
	}
}

func (p *person) awaitEnd() {
	p.Helper()
	select {
	case <-p.session.Done():
	case <-time.After(patience):
		p.Fatalf("%s's session has not ended", p.name)
	}
}

// A cable leads to an address, and can be cut.
type cable struct {
	net.Listener
	cut func() // all connections, without a word
}

func newCable(t *testing.T, to string) *cable {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conns := make(chan net.Conn, 100)
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				near.Close()
				continue
			}
			conns <- near
			conns <- far
			go io.Copy(near, far)
			go io.Copy(far, near)
		}
	}()
	c := &cable{l, func() {
		for range len(conns) {
			conn := (<-conns).(*net.TCPConn)
			conn.SetLinger(0) // a reset
			conn.Close()
		}
	}}
	t.Cleanup(func() { l.Close(); c.cut() })
	return c
}
