package handover

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/moving"
	"github.com/libnet-go/libnet/internal/testkit"
)

var frames = codec.New(codec.Uint16BE, codec.Bytes)

// noSessions has this process be one in which no session was made, as one that calls Take must be.
func noSessions(t *testing.T) {
	lastID := moving.The.LastID
	moving.The.LastID = new(atomic.Uint64)
	t.Cleanup(func() { moving.The.LastID = lastID })
}

// control is the descriptor of a conn or a listener.
func control(t *testing.T, of syscall.Conn) func(func(fd uintptr)) error {
	t.Helper()
	raw, err := of.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	return raw.Control
}

// saying is a giver's part, spoken by the test.
func (l *link) saying(t *testing.T, k kind, payload []byte) {
	t.Helper()
	if err := l.send(k, payload); err != nil {
		t.Fatal(err)
	}
	if err := l.flush(); err != nil {
		t.Fatal(err)
	}
}

// greeted is a giver that has given its listener, and the conn of the process that takes it.
func greeted(t *testing.T) (giver *link, taker *net.UnixConn) {
	t.Helper()
	giver, taker = linked(t)
	t.Cleanup(func() { _, _ = giver.conn.Close(), taker.Close() })
	l := testkit.Listen(t, "tcp")
	defer l.Close()
	if err := giver.attach(control(t, l.(*net.TCPListener))); err != nil {
		t.Fatal(err)
	}
	giver.saying(t, kindHello, hello{lastID: 5}.append(nil))
	return giver, taker
}

// An oddError is one whose methods panic, or hang.
type oddError struct{ does func() }

func (e *oddError) Error() string   { e.does(); return "odd" }
func (e *oddError) Is(error) bool   { e.does(); return false }
func (e *oddError) Unwrap() error   { e.does(); return nil }
func (e *oddError) As(any) (b bool) { e.does(); return false }

func TestAServerThatCannotBeMadeEndsTheTakeWhateverItsErrorDoes(t *testing.T) {
	forever := make(chan struct{})
	defer close(forever)
	for name, make := range map[string]func(net.Listener) (*libnet.Server, error){
		"an error that panics": func(net.Listener) (*libnet.Server, error) { return nil, &oddError{func() { panic("odd") }} },
		"an error that hangs":  func(net.Listener) (*libnet.Server, error) { return nil, &oddError{func() { <-forever }} },
		"a nil error of a type": func(l net.Listener) (*libnet.Server, error) {
			return libnet.NewServer(l, frames, 8), (*oddError)(nil)
		},
		"no server":     func(net.Listener) (*libnet.Server, error) { return nil, nil },
		"a zero server": func(net.Listener) (*libnet.Server, error) { return new(libnet.Server), nil },
		"a server that cannot serve": func(l net.Listener) (*libnet.Server, error) {
			srv := libnet.NewServer(l, frames, 8)
			srv.Heartbeat.Interval = time.Second // of nothing
			return srv, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			noSessions(t)
			giver, conn := greeted(t)
			ctx := testkit.TimeoutContext(t, testkit.Patience)
			testkit.Within(t, testkit.Patience/2, "Take", func() {
				defer func() {
					if r := recover(); r != nil {
						t.Errorf("Take panics: %v", r)
					}
				}()
				if _, _, err := Take(ctx, conn, make, TakeOptions{}); !errors.Is(err, ErrNotTaken) {
					t.Errorf("Take: %v", err)
				}
			})
			if last := moving.The.LastID.Load(); last != 0 {
				t.Errorf("sessions would be numbered from %d on, as if this process had taken some", last)
			}
			if _, _, err := giver.receive(); err == nil || !strings.Contains(err.Error(), "gives up") {
				t.Errorf("the other process is told: %v", err)
			}
		})
	}
}

func TestANameThatComesIsAsShortAsOneThatIsGiven(t *testing.T) {
	noSessions(t)
	giver, conn := greeted(t)
	l := testkit.Listen(t, "tcp")
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	name := make(chan string, 1)
	taken := make(chan error, 1)
	go func() {
		newServer := func(l net.Listener) (*libnet.Server, error) { return libnet.NewServer(l, frames, 8), nil }
		_, _, err := Take(testkit.TimeoutContext(t, testkit.Patience), conn, newServer, TakeOptions{
			Thaw: func(s *libnet.Session, _ []byte) error { name <- s.Name(); return nil },
		})
		taken <- err
	}()
	if _, err := giver.expect(kindReady); err != nil {
		t.Fatal(err)
	}
	if err := giver.attach(control(t, client.(*net.TCPConn))); err != nil {
		t.Fatal(err)
	}
	remote := netip.MustParseAddrPort(client.RemoteAddr().String())
	giver.saying(t, kindIntro, appendIntroduction(nil, &moving.Introduction{ID: 3, Remote: remote}))
	giver.saying(t, kindRecord, appendRecord(nil, &moving.Record{ID: 3, Name: strings.Repeat("é", 1<<20)}))
	giver.saying(t, kindEnd, []byte{1, 5})
	if got := testkit.Await(t, testkit.Patience, "Thaw", name); got != strings.Repeat("é", 64) {
		t.Errorf("the name has %d bytes: %.20q", len(got), got)
	}
	_ = giver.conn.Close()
	if err := testkit.Await(t, testkit.Patience, "Take", taken); !errors.Is(err, ErrNotTaken) {
		t.Errorf("Take: %v", err)
	}
}

func TestWhatACommandHasBehindItsFilesAndItsEnvironmentIsLeftAlone(t *testing.T) {
	files, env := []*os.File{os.Stdout, os.Stderr}, []string{"A=1", "B=2"}
	cmd := exec.Command("true")
	cmd.ExtraFiles, cmd.Env = files[:1], env[:1]
	conn, err := start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = cmd.Wait()
	if files[1] != os.Stderr || env[1] != "B=2" {
		t.Errorf("the user's slices are %v and %q", files, env)
	}
}

func TestAnInheritedSocketThatIsNoneIsAnError(t *testing.T) {
	for _, value := range []string{"-1", "-9223372036854775808", "2147483647", "99999999999", "x", "0x3"} {
		t.Setenv(environment, value)
		if conn, err := Inherited(); err == nil || conn != nil {
			t.Errorf("%q: %v, %v", value, conn, err)
		}
	}
}

func TestNotifyDoesNotWaitForWhoDoesNotListen(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", name)
	testkit.Within(t, testkit.Patience, "Notify", func() {
		for began := time.Now(); time.Since(began) < testkit.Patience/2; {
			if err := Notify("READY=1"); err != nil {
				return
			}
		}
		t.Error("the socket takes everything")
	})
}
