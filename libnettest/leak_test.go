package libnettest_test

import (
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/libnet-go/libnet/libnettest"
)

// recordInBubble is record with a clock that makes the two seconds that the check waits pass at once.
func recordInBubble(t *testing.T, test func(tb testing.TB)) (r *recorder) {
	inBubble(t, func(*testing.T) {
		r = record(test)
		time.Sleep(time.Hour) // until what leaked has ended: a bubble must be left empty
	})
	return r
}

func leakyGoroutine(stop <-chan struct{}) { <-stop }

func startLeakyChild(stop <-chan struct{}) { go leakyGoroutine(stop) }

func TestVerifyNoneReportsTheStackOfAGoroutineThatStays(t *testing.T) {
	r := recordInBubble(t, func(tb testing.TB) {
		libnettest.VerifyNone(tb)
		stop := make(chan struct{})
		time.AfterFunc(time.Minute, func() { close(stop) })
		go startLeakyChild(stop)
	})
	if !r.failed || !strings.Contains(r.output.String(), "leakyGoroutine") {
		t.Fatalf("failed = %v, said %q", r.failed, r.output.String())
	}
}

func TestVerifyNoneReportsAGoroutineWhenItWasDeferred(t *testing.T) {
	r := recordInBubble(t, func(tb testing.TB) {
		defer libnettest.VerifyNone(tb)
		stop := make(chan struct{})
		time.AfterFunc(time.Minute, func() { close(stop) })
		startLeakyChild(stop)
	})
	if !r.failed || !strings.Contains(r.output.String(), "leakyGoroutine") {
		t.Fatalf("failed = %v, said %q", r.failed, r.output.String())
	}
}

func TestVerifyNoneWaitsForWhatIsStillEnding(t *testing.T) {
	r := record(func(tb testing.TB) {
		libnettest.VerifyNone(tb)
		go time.Sleep(100 * time.Millisecond)
	})
	if r.failed {
		t.Fatal(r.output.String())
	}
}

func TestALeakCheckWaitsThoughItsLookTakesLong(t *testing.T) {
	for _, ends := range []time.Duration{4 * time.Second, time.Hour} {
		looks := 0
		inBubble(t, func(t *testing.T) {
			began := time.Now()
			left := libnettest.Poll(func() []string {
				ended := time.Since(began) >= ends
				time.Sleep(3 * time.Second) // as with 40,000 goroutines, which stand still meanwhile
				if looks++; ended {
					return nil
				}
				return []string{"a goroutine"}
			})
			if leaks := ends > time.Minute; leaks != (len(left) > 0) || looks != 2 {
				t.Errorf("what ends after %v: %d looks, left %v", ends, looks, left)
			}
		})
	}
}

func TestVerifyNoneDoesNotCountWhatWasThereBefore(t *testing.T) {
	stop := make(chan struct{})
	defer close(stop)
	startLeakyChild(stop)
	r := record(func(tb testing.TB) { libnettest.VerifyNone(tb) })
	if r.failed {
		t.Fatal(r.output.String())
	}
}

func TestVerifyNoneLeavesAFailedTestAlone(t *testing.T) {
	stop := make(chan struct{})
	defer close(stop)
	r := record(func(tb testing.TB) {
		libnettest.VerifyNone(tb)
		startLeakyChild(stop)
		tb.Fatal("something else")
	})
	if strings.Contains(r.output.String(), "leakyGoroutine") {
		t.Fatalf("said %q", r.output.String())
	}
}

func TestVerifyNoneReportsADescriptorThatStaysOpen(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("descriptors are only counted on Linux")
	}
	var listener net.Listener
	r := recordInBubble(t, func(tb testing.TB) {
		libnettest.VerifyNone(tb)
		var err error
		if listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Error(err)
		}
	})
	listener.Close()
	if !r.failed || !strings.Contains(r.output.String(), "socket:") {
		t.Fatalf("failed = %v, said %q", r.failed, r.output.String())
	}
}

func TestVerifyNoneAcceptsATestThatUsesTheNetworkAndCleansUp(t *testing.T) {
	r := record(func(tb testing.TB) {
		libnettest.VerifyNone(tb)
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Error(err)
			return
		}
		defer listener.Close()
		go func() {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			io.Copy(conn, conn) // through splice pipes, where there are any
			conn.Close()
		}()
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		conn.Write([]byte("ping"))
		io.ReadFull(conn, make([]byte, 4))
	})
	if r.failed {
		t.Fatal(r.output.String())
	}
}

const leakInChild = "LIBNETTEST_LEAK_IN_CHILD"

// The test of VerifyMain runs this binary again, with the test below that leaks on purpose.
func TestVerifyMainFailsARunWhoseTestsPassedButLeak(t *testing.T) {
	if os.Getenv(leakInChild) != "" {
		startLeakyChild(make(chan struct{}))
		return
	}
	for _, leak := range []string{"yes", ""} {
		name := t.Name()
		if leak == "" {
			name = "TestVerifyNoneWaitsForWhatIsStillEnding"
		}
		cmd := exec.Command(os.Args[0], "-test.run=^"+name+"$", "-test.count=1")
		cmd.Env = append(os.Environ(), leakInChild+"="+leak)
		output, err := cmd.CombinedOutput()
		reported := strings.Contains(string(output), "leakyGoroutine")
		if leaked := leak != ""; (err != nil) != leaked || reported != leaked {
			t.Errorf("leak %q: %v\n%s", leak, err, output)
		}
	}
}
