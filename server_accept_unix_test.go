//go:build unix

package libnet_test

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// passing are what accept(2) and accept4(2) can answer without the listener being broken: the tables are
// full, memory is short, or the connection had an error of its own.
var passing = []syscall.Errno{
	syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.ECONNRESET,
	syscall.EINTR, syscall.EAGAIN, syscall.EPROTO, syscall.ENETDOWN, syscall.ENOPROTOOPT, syscall.EHOSTDOWN,
	syscall.EHOSTUNREACH, syscall.EOPNOTSUPP, syscall.ENETUNREACH, syscall.EPERM, syscall.ETIMEDOUT,
}

func acceptError(errno syscall.Errno) error {
	return &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", errno)}
}

func TestV6AcceptSurvivesEveryPassingError(t *testing.T) {
	all := slices.Clip(passing)
	if runtime.GOOS == "linux" {
		all = append(all, 64) // ENONET, which package syscall has on Linux alone
	}
	for _, errno := range all {
		t.Run(errno.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				listener := libnettest.NewListener()
				listener.Push(nil, acceptError(errno))
				srv := libnet.NewServer(listener, testkit.Frames, 0)
				srv.Logger = testkit.Quiet
				defer srv.Stop()
				conn, err := listener.Dial()
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				began := time.Now()
				s, err := srv.Accept()
				if err != nil {
					t.Fatalf("Accept = %v; want the session after the error", err)
				}
				if took := time.Since(began); took != 5*time.Millisecond {
					t.Errorf("the session came after %v; want 5ms", took)
				}
				if _, err := conn.Write(testkit.Frame("hello")); err != nil {
					t.Fatal(err)
				}
				testkit.MustReceive(t, s, "hello")
				if n := srv.Stats().AcceptErrors; n != 1 {
					t.Errorf("AcceptErrors = %d; want 1", n)
				}
			})
		})
	}
}

func TestV6AllOfThemInARowAreWaitedOutWithinTheBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		listener := libnettest.NewListener()
		for _, errno := range passing {
			listener.Push(nil, acceptError(errno))
		}
		srv := libnet.NewServer(listener, testkit.Frames, 0)
		srv.Logger = testkit.Quiet
		defer srv.Stop()
		conn, _ := listener.Dial()
		defer conn.Close()
		began := time.Now()
		if _, err := srv.Accept(); err != nil {
			t.Fatalf("Accept = %v", err)
		}
		want := time.Duration(0)
		for i, d := 0, 5*time.Millisecond; i < len(passing); i, d = i+1, min(2*d, time.Second) {
			want += d
		}
		if took := time.Since(began); took != want {
			t.Errorf("it took %v; want %v: 5 ms, doubled each time up to 1 s", took, want)
		}

		// A success starts the back-off anew.
		listener.Push(nil, acceptError(syscall.EMFILE))
		again, _ := listener.Dial()
		defer again.Close()
		began = time.Now()
		if _, err := srv.Accept(); err != nil || time.Since(began) != 5*time.Millisecond {
			t.Errorf("Accept = %v after %v; want a session after 5ms", err, time.Since(began))
		}
	})
}

func TestV6AcceptReturnsWhatDoesNotPassWrappedAndAtOnce(t *testing.T) {
	odd := errors.New("an error that is no net.Error")
	for _, fatal := range []error{
		acceptError(syscall.EBADF), acceptError(syscall.EINVAL), acceptError(syscall.ENOTSOCK),
		acceptError(syscall.EFAULT), odd, io.EOF,
	} {
		t.Run(fatal.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for _, serve := range []bool{false, true} {
					listener := libnettest.NewListener()
					listener.Push(nil, fatal)
					srv := libnet.NewServer(listener, testkit.Frames, 0)
					srv.Logger = testkit.Quiet
					defer srv.Stop()
					began := time.Now()
					var err error
					if serve {
						err = srv.Serve(libnet.HandlerFunc(testkit.Echo))
					} else {
						_, err = srv.Accept()
					}
					if !errors.Is(err, fatal) || err == io.EOF {
						t.Errorf("it returned %v; want %v, wrapped", err, fatal)
					}
					if took := time.Since(began); took != 0 || listener.Accepts() != 1 {
						t.Errorf("it returned after %v and %d calls of accept", took, listener.Accepts())
					}
				}
			})
		})
	}
}
