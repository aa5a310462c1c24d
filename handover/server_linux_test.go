package handover_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/handover"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/ws"
)

// The tests run servers as processes of their own: this binary again, with settings in the environment.

const settingsVariable = "LIBNET_HANDOVER_TEST"

// settings are a server process's.
type settings struct {
	Network, Address string
	Mode             string   // event or goroutine
	Deaths           []string // where the processes that are to take over kill themselves, one after the other
	Dies             string   // where this one does; "after 3ms" is so long after its start, if it has not taken over by then
	Both             bool     // and the one that gives
	WebSocket        bool     // the protocol is ws.Protocol
	Greets           bool     // its codec begins with a greeting
	Refuses          string   // what Thaw answers with an error for, as a session's name
	PerIP            int      // MaxSessionsPerIP
	Asks             string   // the Unix socket at which it asks to be given the server, and fails the first time
	Hangs            bool     // it takes nothing, and does not end
	Leaves           bool     // it takes over, and shuts down without having served anybody
	Sync             bool     // SendQueue 0
	ThawSends        bool
	Handshake        time.Duration // HandshakeTimeout
}

func TestMain(m *testing.M) {
	if os.Getenv(exampleVariable) != "" {
		runExample()
	}
	if text := os.Getenv(settingsVariable); text != "" {
		var s settings
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			panic(err)
		}
		runServer(s)
		return
	}
	libnettest.VerifyMain(m)
}

var protocol = codec.New(codec.Uint16BE, codec.Bytes)

// A report is a line that a server process writes.
type report struct {
	PID     int
	What    string // ready, gave, kept, dies, resident
	At      string // the step that came last
	Error   string
	Address string // of the one that is ready
	Result  handover.Result
	Found   int // bytes of resident memory
	RSS     int // without garbage
	Took    time.Duration
}

func (r report) write() {
	r.PID = os.Getpid()
	text, _ := json.Marshal(r)
	fmt.Println(string(text))
}

// runServer serves until it has handed over, or is told to stop: SIGHUP has it start its successor, SIGUSR1 say how
// much memory it has, and SIGTERM end.
func runServer(set settings) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGUSR1) // before anybody can know that it serves
	srv, err := makeServer(set)
	if err != nil {
		report{What: "failed", Error: err.Error()}.write()
		os.Exit(1)
	}
	if set.Leaves {
		_ = srv.Shutdown(context.Background())
		return
	}
	served := make(chan error, 1)
	go func() { served <- serve(srv, set.Mode) }()
	report{What: "ready", Address: srv.Listener().Addr().String()}.write()
	for sig := range hup {
		switch sig {
		case syscall.SIGUSR1:
			found := residentBytes()
			debug.FreeOSMemory()
			report{What: "resident", Found: found, RSS: residentBytes()}.write()
			continue
		case syscall.SIGTERM:
			srv.Stop()
		case syscall.SIGHUP:
			if !upgrade(srv, &set) {
				continue
			}
		}
		break
	}
	<-served
}

// serverCommand is for a server process.
func serverCommand(set settings) *exec.Cmd {
	text, _ := json.Marshal(set)
	cmd := exec.Command(os.Args[0])
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), settingsVariable+"="+string(text))
	return cmd
}

// upgrade reports whether another process has the server.
func upgrade(srv *libnet.Server, set *settings) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	next := *set
	next.Deaths, next.Dies = nil, ""
	if len(set.Deaths) > 0 {
		next.Dies, set.Deaths = set.Deaths[0], set.Deaths[1:]
		next.Deaths = set.Deaths // of the next one's successors, where it does not die
	}
	cmd := serverCommand(next)
	cmd.Stdout = os.Stdout
	began := time.Now()
	result, err := handover.Upgrade(ctx, cmd, srv, handover.GiveOptions{
		Freeze: func(s *libnet.Session) ([]byte, error) {
			return binary.AppendUvarint(nil, s.State.(*counter).n), nil
		},
		HandlerTime: time.Second,
	})
	r := report{What: "gave", Result: result, Took: time.Since(began)}
	if err != nil {
		r.Error = err.Error()
	}
	if errors.Is(err, handover.ErrKept) {
		r.What = "kept"
		r.write()
		return false
	}
	r.write()
	return true
}

// counter is a session's State: how many messages its handler has had.
type counter struct{ n uint64 }

// makeServer listens, or takes over.
func makeServer(set settings) (*libnet.Server, error) {
	if set.Asks != "" {
		return askTwice(set)
	}
	conn, err := handover.Inherited()
	if err != nil {
		return nil, err
	}
	if conn == nil {
		srv, err := libnet.Serve(set.Network, set.Address, set.protocol(), 256)
		if err == nil {
			configure(srv)
		}
		return srv, err
	}
	defer conn.Close()
	if set.Hangs {
		select {}
	}
	return take(conn, set, false)
}

// askTwice takes over at the second try.
func askTwice(set settings) (srv *libnet.Server, err error) {
	for _, fails := range []bool{true, false} {
		conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: set.Asks})
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		if srv, err = take(conn, set, fails); errors.Is(err, handover.ErrNotTaken) != fails {
			return nil, fmt.Errorf("it is to fail: %v; Take: %w", fails, err)
		}
	}
	return srv, nil
}

func take(conn *net.UnixConn, set settings, fails bool) (*libnet.Server, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	handover.SetStep(set.death())
	srv, _, err := handover.Take(ctx, conn, func(l net.Listener) (*libnet.Server, error) {
		srv := libnet.NewServer(l, set.protocol(), 256)
		configure(srv)
		srv.HandshakeTimeout = set.Handshake
		if set.Sync {
			srv.SendQueue = 0
		}
		if fails {
			return nil, errors.New("not yet")
		}
		if set.PerIP > 0 {
			srv.MaxSessionsPerIP = set.PerIP
		}
		return srv, nil
	}, handover.TakeOptions{Thaw: func(s *libnet.Session, state []byte) error {
		switch name := s.Name(); {
		case name != "" && name == set.Refuses:
			return errors.New("refused")
		case name == "panics":
			panic("in Thaw")
		case name == "receives":
			_, _ = s.Receive()
		case name == "closes":
			return s.Close()
		case name == "shuts down":
			go func() { _ = s.Shutdown(context.Background()) }()
			for s.Err() == nil {
				time.Sleep(time.Millisecond)
			}
		}
		if set.ThawSends {
			if err := s.Send([]byte("from Thaw")); err != nil {
				return err
			}
		}
		rooms.Put(s.ID(), s)
		n, size := binary.Uvarint(state)
		if size <= 0 {
			return errors.New("no state")
		}
		s.State = &counter{n}
		return nil
	}})
	return srv, err
}

func configure(srv *libnet.Server) {
	theServer = srv
	srv.IdleTimeout, srv.Linger = time.Minute, 200*time.Millisecond
	srv.MaxSessionsPerIP = 1 << 20
	srv.OnSession = func(s *libnet.Session) error {
		s.State = new(counter)
		rooms.Put(s.ID(), s)
		return nil
	}
}

func serve(srv *libnet.Server, mode string) error {
	if mode == "event" {
		return srv.ServeMessages(libnet.MessageHandlerFunc(answer))
	}
	return srv.Serve(libnet.HandlerFunc(func(s *libnet.Session) {
		for msg := range s.Messages() {
			answer(s, msg)
		}
	}))
}

// rooms are this process's groups, which OnSession has sessions join, and Thaw again.
var rooms libnet.Group[uint64]

func (set settings) protocol() libnet.Protocol {
	switch {
	case set.WebSocket:
		return ws.Protocol(protocol, &ws.HandlerOptions{CompressFrom: 64})
	case set.Greets:
		return libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
			_, _ = rw.Write([]byte("hello"))
			return protocol.NewCodec(rw)
		})
	}
	return protocol
}

// An answer to "?" has what a test asks of a session.
type facts struct {
	PID, Open, Group int
	ID               uint64
	Name, Remote     string
	Handled          uint64
	Stats            libnet.SessionStats
	Path             string // of a WebSocket's request
	Server           libnet.ServerStats
}

func factsOf(s *libnet.Session) []byte {
	f := facts{PID: os.Getpid(), ID: s.ID(), Name: s.Name(), Remote: s.RemoteAddr().String(), Handled: s.State.(*counter).n, Stats: s.Stats()}
	if r := ws.Request(s); r != nil {
		f.Path = r.URL.Path
	}
	f.Open, f.Server = theServer.Manager().Len(), theServer.Stats()
	f.Group = rooms.Len()
	text, _ := json.Marshal(f)
	return text
}

var theServer *libnet.Server

// waits counts the messages that a handler has begun to wait for, and held says that one may go on.
var (
	waits atomic.Int64
	held  = make(chan struct{}, 1)
)

// answer echoes a numbered message, and says so where it is not the next one. An empty message asks for the session's
// numbers.
func answer(s *libnet.Session, msg []byte) {
	c := s.State.(*counter)
	switch {
	case string(msg) == "?":
		_ = s.SendContext(context.Background(), factsOf(s))
		return
	case strings.HasPrefix(string(msg), "wait "):
		d, _ := time.ParseDuration(string(msg[5:]))
		waits.Add(1)
		time.Sleep(d)
		_ = s.Send("waited")
		return
	case string(msg) == "hold":
		waits.Add(1)
		<-held
		time.Sleep(1500 * time.Millisecond)
		_ = s.Send("waited")
		return
	case string(msg) == "behind", strings.HasPrefix(string(msg), "say "):
		_ = s.Send(msg)
		return
	case len(msg) == 0:
		reply := binary.BigEndian.AppendUint64(nil, c.n)
		_ = s.SendContext(context.Background(), binary.BigEndian.AppendUint64(reply, s.ID()))
		return
	}
	if n := binary.BigEndian.Uint64(msg); n != c.n {
		msg = fmt.Appendf(nil, "the server got message %d where %d is due", n, c.n)
	}
	c.n++
	if err := s.SendContext(context.Background(), msg); err != nil {
		fmt.Fprintln(os.Stderr, "send:", err)
	}
}

// residentBytes is VmRSS of proc(5).
func residentBytes() int {
	status, _ := os.ReadFile("/proc/self/statm")
	var size, resident int
	_, _ = fmt.Sscan(string(status), &size, &resident)
	return resident * os.Getpagesize()
}
