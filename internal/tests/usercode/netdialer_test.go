package usercode

import (
	"context"
	"errors"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/ws"
)

// Package net, and net/http, call these on goroutines of their own.
func TestAFunctionOfTheNetDialerHarmsItsDialOnly(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	hangs := func() { <-release }
	address := hole(t)
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	dials := map[string]func(context.Context, *libnet.Dialer) error{
		"Dial": func(ctx context.Context, d *libnet.Dialer) error {
			_, err := d.Dial(ctx, "tcp", address)
			return err
		},
		"Dial of a name": func(ctx context.Context, d *libnet.Dialer) error {
			_, err := d.Dial(ctx, "tcp", net.JoinHostPort("a.libnet.test", port))
			return err
		},
		"ws.Dial": func(ctx context.Context, d *libnet.Dialer) error {
			_, err := ws.Dial(ctx, "ws://"+address, d, nil)
			return err
		},
		"ws.Dial over TLS": func(ctx context.Context, d *libnet.Dialer) error {
			_, err := ws.Dial(ctx, "wss://"+address, d, nil)
			return err
		},
		"ws.Dial of a name": func(ctx context.Context, d *libnet.Dialer) error {
			_, err := ws.Dial(ctx, "ws://"+net.JoinHostPort("a.libnet.test", port), d, nil)
			return err
		},
	}
	functions := map[string]func(does func()) net.Dialer{
		"Control": func(does func()) net.Dialer {
			return net.Dialer{
				Control:  func(string, string, syscall.RawConn) error { does(); return nil },
				Resolver: resolver(func() {}),
			}
		},
		"ControlContext": func(does func()) net.Dialer {
			return net.Dialer{
				ControlContext: func(context.Context, string, string, syscall.RawConn) error { does(); return nil },
				Resolver:       resolver(func() {}),
			}
		},
		"the resolver's Dial": func(does func()) net.Dialer { return net.Dialer{Resolver: resolver(does)} },
	}
	for _, does := range []struct {
		what string
		does func()
		is   error
	}{
		{"panics", func() { panic(hostileValue{}) }, libnet.ErrPanic},
		{"ends its goroutine", runtime.Goexit, nil},
		{"hangs", hangs, context.DeadlineExceeded},
	} {
		for function, dialer := range functions {
			for name, dial := range dials {
				byName := name == "Dial of a name" || name == "ws.Dial of a name"
				if byName != (function == "the resolver's Dial") {
					continue
				}
				t.Run(function+" "+does.what+"/"+name, func(t *testing.T) {
					d := &libnet.Dialer{Protocol: testkit.Frames, NetDialer: dialer(does.does)}
					ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
					defer cancel()
					testkit.Within(t, testkit.Patience, "its return", func() {
						err := dial(ctx, d)
						if err == nil || does.is != nil && !byName && !errors.Is(err, does.is) {
							t.Errorf("%v; want %v", err, does.is)
						}
					})
				})
			}
		}
	}
}

// resolver is the user's, who has names looked up elsewhere.
func resolver(does func()) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		does()
		return nil, errNowhere
	}}
}

func TestAConnThatTheResolversDialMakesTooLateIsClosed(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ours, theirs := net.Pipe()
	defer ours.Close()
	d := &libnet.Dialer{Protocol: testkit.Frames}
	d.NetDialer.Resolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		cancel()
		time.Sleep(50 * time.Millisecond) // until who has asked is gone
		return theirs, nil
	}}
	if _, err := d.Dial(ctx, "tcp", "a.libnet.test:1"); err == nil {
		t.Fatal("it has connected")
	}
	testkit.Within(t, testkit.Patience, "the conn's end", func() {
		for err := error(nil); err == nil; {
			_, err = ours.Read(make([]byte, 512)) // first, perhaps, a question
		}
	})
}
