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

// Package net uses the conn on a goroutine of its own, too.
func TestAConnOfTheResolversHarmsItsDialOnly(t *testing.T) {
	type hostileDial = func() (net.Conn, error)
	answers := map[string]hostileDial{
		"none":      func() (net.Conn, error) { return nil, nil },
		"a nil":     func() (net.Conn, error) { return (*hostileDNS)(nil), nil },
		"a UDP nil": func() (net.Conn, error) { return (*net.UDPConn)(nil), nil },
	}
	for what, does := range map[string]func() string{
		"panics":             func() string { panic(hostileValue{}) },
		"ends its goroutine": func() string { runtime.Goexit(); return "" },
	} {
		answers["an error that "+what] = func() (net.Conn, error) { return nil, hostileNetError{does} }
	}
	for what, does := range map[string]func(p []byte) int{
		"panics":              func([]byte) int { panic(hostileValue{}) },
		"ends its goroutine":  func([]byte) int { runtime.Goexit(); return 0 },
		"counts too much":     func(p []byte) int { return len(p) + 1<<20 },
		"counts below nought": func([]byte) int { return -1 },
	} {
		answers["one that "+what] = func() (net.Conn, error) { return &hostileDNS{does: does}, nil }
		answers["a packet conn that "+what] = func() (net.Conn, error) { return &hostilePacketDNS{hostileDNS: hostileDNS{does: does}}, nil }
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			d := &libnet.Dialer{Protocol: testkit.Frames}
			d.NetDialer.Resolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
				return answer()
			}}
			testkit.Within(t, testkit.Patience, "its return", func() {
				for range 2 { // of lookups of one name package net does one at a time
					if _, err := d.Dial(t.Context(), "tcp", "a.libnet.test:1"); err == nil {
						t.Error("it has connected")
					}
				}
			})
		})
	}
}

// A hostileNetError is the user's, whose methods do what it says.
type hostileNetError struct{ does func() string }

func (e hostileNetError) Error() string   { return e.does() }
func (e hostileNetError) Timeout() bool   { return e.does() == "" }
func (e hostileNetError) Temporary() bool { return e.does() == "" }
func (e hostileNetError) Unwrap() error   { e.does(); return nil }
func (e hostileNetError) Is(error) bool   { return e.does() == "" }

// A hostileDNS is a user's conn to a server of names, whose methods do what it says.
type hostileDNS struct {
	net.Conn
	does func(p []byte) int
}

func (c *hostileDNS) Read(p []byte) (int, error)  { return c.does(p), nil }
func (c *hostileDNS) Write(p []byte) (int, error) { return c.does(p), nil }
func (c *hostileDNS) SetDeadline(time.Time) error { c.does(nil); return nil }
func (c *hostileDNS) Close() error                { c.does(nil); return nil }

type hostilePacketDNS struct {
	hostileDNS
	net.PacketConn
}

func (c *hostilePacketDNS) Read(p []byte) (int, error)         { return c.hostileDNS.Read(p) }
func (c *hostilePacketDNS) Close() error                       { return c.hostileDNS.Close() }
func (c *hostilePacketDNS) LocalAddr() net.Addr                { return nil }
func (c *hostilePacketDNS) SetDeadline(at time.Time) error     { return c.hostileDNS.SetDeadline(at) }
func (c *hostilePacketDNS) SetReadDeadline(at time.Time) error { return c.hostileDNS.SetDeadline(at) }
func (c *hostilePacketDNS) SetWriteDeadline(at time.Time) error {
	return c.hostileDNS.SetDeadline(at)
}

func TestAnErrorOfTheNetDialersControlHarmsItsDialOnly(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	address := hole(t)
	for what, does := range map[string]func() string{
		"panics":             func() string { panic(hostileValue{}) },
		"ends its goroutine": func() string { runtime.Goexit(); return "" },
		"hangs":              func() string { <-release; return "" },
	} {
		for name, dial := range map[string]func(context.Context, *libnet.Dialer) error{
			"Dial": func(ctx context.Context, d *libnet.Dialer) error {
				_, err := d.Dial(ctx, "tcp", address)
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
		} {
			t.Run(what+"/"+name, func(t *testing.T) {
				d := &libnet.Dialer{Protocol: testkit.Frames}
				d.NetDialer.Control = func(string, string, syscall.RawConn) error { return hostileNetError{does} }
				returned := make(chan bool, 1)
				go func() {
					whole := false
					defer func() { _ = recover(); returned <- whole }()
					ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
					defer cancel()
					whole = dial(ctx, d) != nil
				}()
				if !testkit.Await(t, testkit.Patience, "its return", returned) {
					t.Error("it did not return with an error")
				}
			})
		}
	}
}
