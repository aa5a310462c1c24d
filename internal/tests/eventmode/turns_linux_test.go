package eventmode

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
)

// takersEnv has the network, the address and the message of a child that takes processors: one connection sends it for
// each further word.
const takersEnv = "LIBNET_TEST_TAKERS"

// The peers are a process of their own. What the runtime does for theirs, in the server's process, would hide that it
// does nothing for the server.
func TestChildThatTakesProcessors(t *testing.T) {
	args := strings.Fields(os.Getenv(takersEnv))
	if len(args) == 0 {
		t.Skip("is another test's process")
	}
	network, address, message, takers := args[0], args[1], args[2], args[3:]
	dial := func() net.Conn {
		conn, err := testkit.Dial(elsewhere(address), network)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(testkit.Patience))
		testkit.Ask(t, conn, "ping")
		return conn
	}
	conns := make([]net.Conn, len(takers))
	for i := range conns {
		conns[i] = dial()
	}
	other := dial()
	time.Sleep(300 * time.Millisecond) // the server's process is idle by then
	if message == "soon" {
		testkit.Ask(t, other, "ping")
		time.Sleep(5 * time.Millisecond) // it is idle again
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, conn := range conns {
		defer conn.Close()
		wg.Go(func() { take(conn, message) })
	}
	time.Sleep(20 * time.Millisecond)
	for range 3 {
		testkit.Ask(t, other, "ping")
		_ = dial().Close()
	}
}

// elsewhere is where another process listens.
func elsewhere(address string) net.Listener {
	network := "tcp"
	if strings.HasPrefix(address, "/") {
		network = "unix"
	}
	return remote{network: network, address: address}
}

// A remote is the address of a listener in another process.
type remote struct {
	net.Listener
	network, address string
}

func (r remote) Addr() net.Addr  { return r }
func (r remote) Network() string { return r.network }
func (r remote) String() string  { return r.address }

// take has the server compute, or work without a pause.
func take(conn net.Conn, message string) {
	frames := testkit.Frame(message)
	if message == "flood" {
		frames = bytes.Repeat(frames, 10_000)
	}
	for {
		if _, err := conn.Write(frames); err != nil || message != "flood" {
			return
		}
	}
}

func TestOthersAreServedWhileAHandlerComputesOnTheOnlyProcessor(t *testing.T) {
	testkit.Slow(t)
	modes := append(slices.Clip(testkit.LoopModes), testkit.Modes[0], testkit.Modes[6])
	testkit.OverModes(t, modes, func(t *testing.T, mode testkit.Mode) { serveBesideTakers(t, mode, 1, "compute x") })
}

func TestOthersAreServedWhileTwoHandlersComputeOnTwoProcessors(t *testing.T) {
	testkit.Slow(t)
	testkit.OverModes(t, testkit.Modes[:2], func(t *testing.T, mode testkit.Mode) {
		serveBesideTakers(t, mode, 2, "compute x x")
	})
}

func TestOthersAreServedWhileAHandlerComputesSoonAfterAMessage(t *testing.T) {
	testkit.Slow(t)
	testkit.OverModes(t, testkit.Modes[:2], func(t *testing.T, mode testkit.Mode) {
		serveBesideTakers(t, mode, 1, "soon x")
	})
}

func TestOthersAreServedWhilePollersNeverWait(t *testing.T) {
	testkit.Slow(t)
	testkit.OverModes(t, testkit.Modes[1:2], func(t *testing.T, mode testkit.Mode) {
		serveBesideTakers(t, mode, 1, "flood x x")
		serveBesideTakers(t, mode, 2, "flood x x x x")
	})
}

// serveBesideTakers has a child take all processors of a server that has been idle, and see that others are served.
func serveBesideTakers(t *testing.T, mode testkit.Mode, processors int, takers string) {
	was := runtime.GOMAXPROCS(processors)
	defer runtime.GOMAXPROCS(was)
	var release, alone atomic.Bool
	defer release.Store(true)
	r := mode.Start(t, nil, func(s *libnet.Session, msg []byte) {
		switch string(msg) {
		case "ping":
			_ = s.Send(msg)
		case "compute", "soon":
			for began := time.Now(); !release.Load() && !alone.Load(); {
				alone.Store(time.Since(began) > testkit.Patience)
			}
		}
	})
	child := exec.Command(os.Args[0], "-test.run=^TestChildThatTakesProcessors$")
	child.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %s", takersEnv, mode.Network, r.Listener().Addr(), takers))
	if output, err := child.CombinedOutput(); err != nil || alone.Load() {
		t.Errorf("a handler has computed alone: %v; the peers: %v\n%s", alone.Load(), err, output)
	}
}
