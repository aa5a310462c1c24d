//go:build unix

package sockets_test

import (
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/libnet-go/libnet/internal/sockets"
	"github.com/libnet-go/libnet/internal/testkit"
)

func TestAStaleSocketIsReplacedAndALiveOneIsNot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	stale, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	stale.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = stale.Close()
	live, err := sockets.Listen("unix", path)
	if err != nil {
		t.Fatalf("on a stale socket: %v", err)
	}
	if _, err = sockets.Listen("unix", path); err == nil {
		t.Fatal("two listen on one path")
	}
	testkit.WantErr(t, "a second Listen", err, syscall.EADDRINUSE)
	if err := live.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("Close leaves the socket: %v", err)
	}
}

func TestAListenerOfMessagesAcceptsNothing(t *testing.T) {
	if _, err := sockets.Listen("unixpacket", filepath.Join(t.TempDir(), "s")); err == nil {
		t.Error("Listen makes one")
	} else {
		testkit.WantErr(t, "Listen", err, sockets.ErrNotAStream)
	}
	l, err := net.Listen("unixpacket", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Skip(err)
	}
	defer l.Close()
	wrapped := sockets.Wrap(l)
	_, err = wrapped.Accept()
	testkit.WantErr(t, "Accept", err, sockets.ErrNotAStream)
	if sockets.Unwrap(wrapped) != l {
		t.Error("the user's listener does not come back")
	}
}

func TestOnlyErrorsThatPassAreTransient(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.EPROTO, syscall.ENETDOWN} {
		if !sockets.Transient(errno) {
			t.Errorf("%v is not transient", errno)
		}
	}
	for _, errno := range []syscall.Errno{syscall.EBADF, syscall.EINVAL, syscall.ENOTSOCK, syscall.EFAULT} {
		if sockets.Transient(errno) {
			t.Errorf("%v is transient", errno)
		}
	}
}
