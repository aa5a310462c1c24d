//go:build !linux

package handover

import (
	"context"
	"net"
	"os/exec"

	"github.com/libnet-go/libnet"
)

// Give is Linux's.
func Give(context.Context, *net.UnixConn, *libnet.Server, GiveOptions) (Result, error) {
	return Result{}, ErrUnsupported
}

// Take is Linux's.
func Take(context.Context, *net.UnixConn, func(net.Listener) (*libnet.Server, error), TakeOptions) (*libnet.Server, Result, error) {
	return nil, Result{}, ErrUnsupported
}

// Upgrade is Linux's.
func Upgrade(context.Context, *exec.Cmd, *libnet.Server, GiveOptions) (Result, error) {
	return Result{}, ErrUnsupported
}

// Inherited returns nil: no [Upgrade] can have started this process.
func Inherited() (*net.UnixConn, error) { return nil, nil }

// Notify is Linux's.
func Notify(...string) error { return ErrUnsupported }
