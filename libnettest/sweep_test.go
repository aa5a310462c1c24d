package libnettest_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/libnet-go/libnet/libnettest"
)

const sweepInChild = "LIBNETTEST_SWEEP_IN_CHILD"

// addressed is an error whose text is another in each run, and means something as a pattern and as a path.
func addressed(port int) error {
	from := &net.TCPAddr{IP: net.IPv6loopback, Port: port}
	return &net.OpError{Op: "read", Net: "tcp", Source: from, Err: os.NewSyscallError("read", errors.New("a/b (c)+ [d]"))}
}

// TestSweepOfTwoWritesFailsOnPurpose fails for each case, on purpose, in the child that the next test starts.
func TestSweepOfTwoWritesFailsOnPurpose(t *testing.T) {
	if os.Getenv(sweepInChild) == "" {
		t.Skip("is run by another test")
	}
	kinds := append(libnettest.SingleFaults(), libnettest.Fault{Err: addressed(os.Getpid())})
	libnettest.Sweep(t, libnettest.OpWrite, kinds, func(t *testing.T, faults *libnettest.Faults) {
		inBubble(t, func(t *testing.T) {
			a, _ := pipe(t, 64)
			conn := faults.Wrap(a)
			for range 2 {
				go conn.Write([]byte("xy"))
			}
			t.Errorf("ran")
		})
	})
}

func TestACaseOfASweepIsRunAloneByItsName(t *testing.T) {
	for _, name := range []string{
		"Write_2:_1_byte,_then_block", "Write_1:_connection_reset_by_peer", "Write_2:_1_byte,_then_no_error", "Write_1:_a_b__c____d_",
	} {
		path := "TestSweepOfTwoWritesFailsOnPurpose/" + name
		cmd := exec.Command(os.Args[0], "-test.count=1", "-test.run=^"+strings.Replace(path, "/", "$/^", 1)+"$")
		cmd.Env = append(os.Environ(), sweepInChild+"=yes")
		output, err := cmd.CombinedOutput()
		if ran := strings.Count(string(output), "ran"); err == nil || ran != 1 || !strings.Contains(string(output), "FAIL: "+path+" (") {
			t.Errorf("%s ran %d cases: %v\n%.2000s", path, ran, err, output)
		}
	}
}

func TestACaseOfASweepHasTheSameNameEachTime(t *testing.T) {
	one, other := libnettest.Fault{N: 3, Err: addressed(1)}, libnettest.Fault{N: 3, Err: addressed(2)}
	if one.String() != other.String() || strings.ContainsAny(one.String(), `/\()[]+*?.|^$`) {
		t.Errorf("%q and %q", one, other)
	}
	if got := (libnettest.Fault{Err: fmt.Errorf("wrapped: %w", syscall.ECONNRESET)}).String(); got != "connection reset by peer" {
		t.Errorf("%q", got)
	}
}
