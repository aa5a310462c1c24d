package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/mux"
)

// A terminal is chat -as, with a keyboard and a screen.
type terminal struct {
	testing.TB
	keyboard io.WriteCloser
	ended    chan error

	mu     sync.Mutex
	screen bytes.Buffer
}

func (m *terminal) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.screen.Write(p)
}

func sitDown(t *testing.T, ctx context.Context, address, name string) *terminal {
	t.Helper()
	stdin, keyboard := io.Pipe()
	m := &terminal{TB: t, keyboard: keyboard, ended: make(chan error, 1)}
	go func() {
		m.ended <- run(ctx, []string{"-connect", address, "-as", name}, stdin, m, io.Discard)
		stdin.Close()
	}()
	t.Cleanup(func() { keyboard.Close() })
	return m
}

func (m *terminal) types(line string) {
	m.Helper()
	if _, err := io.WriteString(m.keyboard, line+"\n"); err != nil {
		m.Fatal(err)
	}
}

// shows waits until the screen shows the lines, and nothing else.
func (m *terminal) shows(lines ...string) {
	m.Helper()
	want := strings.Join(lines, "\n") + "\n"
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		m.mu.Lock()
		got := m.screen.String()
		if got == want {
			m.screen.Reset()
			m.mu.Unlock()
			return
		}
		m.mu.Unlock()
		if time.Now().After(deadline) {
			m.Fatalf("the terminal shows:\n%s\nwant:\n%s", got, want)
		}
	}
}

func (m *terminal) awaitEnd() error {
	m.Helper()
	select {
	case err := <-m.ended:
		return err
	case <-time.After(patience):
		m.Fatal("the client has not ended")
		return nil
	}
}

func TestATerminalDoesWhatIsTyped(t *testing.T) {
	r := start(t)
	bob := enter(t, r.ways()["WebSocket"], "bob", "lobby")
	bob.hears("in lobby: bob")
	ann := sitDown(t, t.Context(), r.tcp, "ann")
	ann.shows("in lobby: ann, bob")
	bob.hears("ann has come")
	ann.types("hello")
	ann.shows("ann: hello")
	ann.types("/w bob psst: quiet")
	bob.hears("ann: hello", "ann whispers: psst: quiet")
	ann.types("/w zed hello")
	ann.shows("not done: libnet: mux: error 404: there is no such user")
	ann.types("/join garden")
	ann.shows("in garden: ann")
	ann.types("/who")
	ann.shows("in garden: ann")
	bob.does("join", &Join{"garden"})
	bob.does("whisper", &Whisper{"ann", "ah"})
	ann.shows("bob has come", "bob whispers: ah")
	bob.session.Close()
	ann.shows("bob has gone")
	ann.keyboard.Close() // Ctrl-D
	if err := ann.awaitEnd(); err != nil {
		t.Error(err)
	}
}

func TestATerminalComesBackIntoItsRoom(t *testing.T) {
	r := start(t)
	cable := newCable(t, r.tcp)
	ctx, interrupt := context.WithCancel(t.Context())
	ann := sitDown(t, ctx, cable.Addr().String(), "ann")
	ann.shows("in lobby: ann")
	ann.types("/join garden")
	ann.shows("in garden: ann")
	cable.cut()
	ann.shows("in garden: ann")
	ann.types("back again")
	ann.shows("ann: back again")
	interrupt()
	if err := ann.awaitEnd(); err != nil {
		t.Error(err)
	}
}

func TestATerminalAnswersPings(t *testing.T) {
	ponged := make(chan bool, 1)
	m := mux.New(mux.JSON)
	mux.On(m, "login", func(context.Context, *libnet.Session, *Login) error { return nil })
	mux.On(m, "join", func(_ context.Context, s *libnet.Session, _ *Join) error { return s.Send(mux.Message{Kind: "ping"}) })
	mux.On(m, "pong", func(context.Context, *libnet.Session, *struct{}) error { ponged <- true; return nil })
	server, err := libnet.Serve("tcp", "127.0.0.1:0", codec.New(codec.Uint32BE, m), 64)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	go server.ServeMessages(m)
	ann := sitDown(t, t.Context(), server.Listener().Addr().String(), "ann")
	select {
	case <-ponged:
	case <-time.After(patience):
		t.Error("no pong came")
	}
	ann.keyboard.Close()
	ann.awaitEnd()
}

func TestATerminalThatIsReplacedOrRefusedDoesNotComeBack(t *testing.T) {
	r := start(t)
	ann := sitDown(t, t.Context(), r.tcp, "ann")
	ann.shows("in lobby: ann")
	other := enter(t, r.ways()["WebSocket"], "ann", "lobby")
	if err := ann.awaitEnd(); err == nil || err.Error() != "you have logged in elsewhere" {
		t.Errorf("the client that was replaced ends with %v", err)
	}
	other.hears("in lobby: ann")
	other.hearsNothing()
	wantCode(t, sitDown(t, t.Context(), r.tcp, "no name").awaitEnd(), 401)
}

func TestWhatCannotBeDoneIsSaid(t *testing.T) {
	for _, args := range [][]string{
		{}, {"serve"}, {"-listen", "127.0.0.1:0", "-as", "ann"}, {"-listen", "127.0.0.1:99999"},
		{"-listen", "127.0.0.1:0", "-web", "127.0.0.1:99999"}, {"-help"}, {"-listne", ":0"},
	} {
		if err := run(t.Context(), args, strings.NewReader(""), io.Discard, io.Discard); err == nil {
			t.Errorf("chat %v succeeded", args)
		}
	}
}
