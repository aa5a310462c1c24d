package libnettest_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet/libnettest"
)

var errFault = errors.New("scripted")

func TestFaultConnFailsTheScriptedCallAndNoOther(t *testing.T) {
	for name, test := range map[string]struct {
		fault libnettest.Fault
		moved string // of "second"
		err   error
	}{
		"error":           {libnettest.Fault{Err: errFault}, "", errFault},
		"short":           {libnettest.Fault{N: 2}, "se", nil},
		"short and error": {libnettest.Fault{N: 2, Err: errFault}, "se", errFault},
		"long and error":  {libnettest.Fault{N: 100, Err: errFault}, "second", errFault},
	} {
		t.Run("write "+name, func(t *testing.T) {
			a, b := pipe(t, 64)
			var faults libnettest.Faults
			faults.Fail(libnettest.OpWrite, 2, test.fault)
			conn := faults.Wrap(a)

			mustWrite(t, conn, "first")
			n, err := conn.Write([]byte("second"))
			if n != len(test.moved) || err != test.err {
				t.Errorf("Write = %d, %v; want %d, %v", n, err, len(test.moved), test.err)
			}
			mustWrite(t, conn, "third")
			mustRead(t, b, "first"+test.moved+"third")
			if calls := faults.Calls(libnettest.OpWrite); calls != 3 {
				t.Errorf("counted %d writes, want 3", calls)
			}
		})
		t.Run("read "+name, func(t *testing.T) {
			a, b := pipe(t, 64)
			var faults libnettest.Faults
			faults.Fail(libnettest.OpRead, 1, test.fault)
			conn := faults.Wrap(a)

			mustWrite(t, b, "second")
			buf := make([]byte, 6)
			n, err := conn.Read(buf)
			if string(buf[:n]) != test.moved || err != test.err {
				t.Errorf("Read = %q, %v; want %q, %v", buf[:n], err, test.moved, test.err)
			}
			mustRead(t, conn, strings.TrimPrefix("second", test.moved))
		})
	}
}

func TestFaultConnBlocksUntilItsDeadlineOrClose(t *testing.T) {
	calls := map[libnettest.Op]func(c net.Conn) (int, error){
		libnettest.OpRead:  func(c net.Conn) (int, error) { return c.Read(make([]byte, 4)) },
		libnettest.OpWrite: func(c net.Conn) (int, error) { return c.Write(make([]byte, 4)) },
	}
	set := map[libnettest.Op]func(c net.Conn, t time.Time) error{
		libnettest.OpRead:  net.Conn.SetReadDeadline,
		libnettest.OpWrite: net.Conn.SetWriteDeadline,
	}
	for op, call := range calls {
		for _, moved := range []int{0, 3} {
			t.Run(fmt.Sprint(op, " after ", moved), func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					a, b := pipe(t, 64)
					mustWrite(t, b, "input")
					var faults libnettest.Faults
					faults.Fail(op, 1, libnettest.Fault{N: moved, Block: true})
					faults.Fail(op, 2, libnettest.Fault{Block: true})
					conn := faults.Wrap(a)

					start := time.Now()
					set[op](conn, start.Add(time.Second))
					n, err := call(conn)
					if n != moved || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Second {
						t.Errorf("got %d, %v after %v; want %d and a timeout after 1s", n, err, time.Since(start), moved)
					}
					set[op](conn, time.Time{})

					var wg sync.WaitGroup
					wg.Go(func() {
						if n, err := call(conn); n != 0 || !errors.Is(err, net.ErrClosed) {
							t.Errorf("got %d, %v; want net.ErrClosed", n, err)
						}
					})
					synctest.Wait()
					conn.Close()
					wg.Wait()
				})
			})
		}
	}
}

func TestFaultConnPanicsWithTheScriptedValue(t *testing.T) {
	a, _ := pipe(t, 64)
	var faults libnettest.Faults
	conn := faults.Wrap(a)
	for op, call := range map[libnettest.Op]func(){
		libnettest.OpRead:        func() { conn.Read(make([]byte, 1)) },
		libnettest.OpWrite:       func() { conn.Write(make([]byte, 1)) },
		libnettest.OpCloseWrite:  func() { conn.CloseWrite() },
		libnettest.OpClose:       func() { conn.Close() },
		libnettest.OpSetDeadline: func() { conn.SetDeadline(time.Time{}) },
	} {
		faults.Fail(op, 1, libnettest.Fault{Panic: op})
		func() {
			defer func() {
				if got := recover(); got != op {
					t.Errorf("%v panicked with %v", op, got)
				}
			}()
			call()
		}()
	}
}

func TestFaultConnClosesThoughItSaysItFailed(t *testing.T) {
	a, b := pipe(t, 64)
	var faults libnettest.Faults
	faults.Fail(libnettest.OpCloseWrite, 1, libnettest.Fault{Err: errFault})
	faults.Fail(libnettest.OpClose, 1, libnettest.Fault{Err: errFault})
	conn := faults.Wrap(a)
	if err := conn.CloseWrite(); err != errFault {
		t.Errorf("CloseWrite: %v", err)
	}
	wantReadError(t, b, io.EOF)
	if err := conn.Close(); err != errFault {
		t.Errorf("Close: %v", err)
	}
	wantWriteError(t, b, syscall.EPIPE)
}

func TestFaultConnCloseWriteIsUnsupportedWhereTheConnHasNone(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	var faults libnettest.Faults
	conn := faults.Wrap(a)
	defer conn.Close()
	if err := conn.CloseWrite(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("CloseWrite: %v", err)
	}
}

func TestFaultConnFailsToSetADeadline(t *testing.T) {
	a, b := pipe(t, 64)
	var faults libnettest.Faults
	conn := faults.Wrap(a)
	past := time.Now().Add(-time.Second)
	for k, set := range []func(time.Time) error{conn.SetDeadline, conn.SetReadDeadline, conn.SetWriteDeadline} {
		faults.Fail(libnettest.OpSetDeadline, k+1, libnettest.Fault{Err: errFault})
		if err := set(past); err != errFault {
			t.Errorf("call %d: %v", k+1, err)
		}
	}
	mustWrite(t, conn, "no deadline was set")
	mustRead(t, b, "no deadline was set")
}

func TestFaultsCountAcrossTheConnsTheyServe(t *testing.T) {
	a, b := pipe(t, 64)
	var faults libnettest.Faults
	faults.Fail(libnettest.OpWrite, 2, libnettest.Fault{Err: errFault})
	mustWrite(t, faults.Wrap(a), "x")
	wantWriteError(t, faults.Wrap(b), errFault)
}

func TestFaultsRefuseToBlockWhatCannotBlock(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a Close that blocks was accepted")
		}
	}()
	new(libnettest.Faults).Fail(libnettest.OpClose, 1, libnettest.Fault{Block: true})
}

func TestSweepRunsEveryFaultOnceInEveryCallTheScenarioMakes(t *testing.T) {
	kinds := libnettest.SingleFaults()
	failed := make(map[int]int) // runs by how many of the three writes failed
	libnettest.Sweep(t, libnettest.OpWrite, kinds, func(t *testing.T, faults *libnettest.Faults) {
		inBubble(t, func(t *testing.T) {
			a, _ := pipe(t, 64)
			conn := faults.Wrap(a)
			n := 0
			for range 3 {
				conn.SetWriteDeadline(time.Now().Add(time.Second))
				if wrote, err := conn.Write([]byte("xyz")); wrote != 3 || err != nil {
					n++
				}
			}
			failed[n]++
		})
	})
	if failed[1] != 3*len(kinds) || failed[0] != len(kinds) || len(failed) != 2 {
		t.Errorf("runs by failed writes: %v; want each of %d kinds in each of 3 writes, then a run without", failed, len(kinds))
	}
}

// The second write breaks after four bytes: what does the peer get?
func ExampleFaults() {
	client, server := libnettest.Pipe()
	var faults libnettest.Faults
	faults.Fail(libnettest.OpWrite, 2, libnettest.Fault{N: 4, Err: io.ErrClosedPipe})
	client = faults.Wrap(client)

	fmt.Fprint(client, "hello, ")
	n, err := fmt.Fprint(client, "world")
	fmt.Println(n, err)
	client.Close()
	got, _ := io.ReadAll(server)
	fmt.Printf("%s, %d writes\n", got, faults.Calls(libnettest.OpWrite))
	// Output:
	// 4 io: read/write on closed pipe
	// hello, worl, 2 writes
}
