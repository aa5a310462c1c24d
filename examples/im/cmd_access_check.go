package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path"
	"strconv"
	"time"

	"github.com/libnet-go/libnet/examples/im/internal/access"
)

// maxReplicas is the most that JetStream has of a stream.
const maxReplicas = 5

// checkAccess finds what a server that was started with these options would fail on, or what nobody could reach it by.
func checkAccess(o access.InstanceOptions) error {
	if o.Capacity < 1 {
		return fmt.Errorf("-capacity %d: it takes at least one session", o.Capacity)
	}
	if o.LoginTimeout <= 0 {
		return fmt.Errorf("-login-timeout %v: nobody could log in", o.LoginTimeout)
	}
	if n := o.History.Replicas; n < 0 || n > maxReplicas {
		return fmt.Errorf("-replicas %d: NATS has from 1 to %d", n, maxReplicas)
	}
	if age := o.History.MaxAge; age > 0 && age < time.Second {
		return fmt.Errorf("-store-age %v: it takes 1s at least, or -1s to keep messages for ever", age)
	}
	for _, pattern := range o.Origins {
		if _, err := path.Match(pattern, ""); err != nil {
			return fmt.Errorf("-origins %q: %w", pattern, err)
		}
	}
	return errors.Join(
		dialable(o.Listen, o.Advertise, "-advertise"),
		dialable(o.ListenWebSocket, o.AdvertiseWebSocket, "-advertise-websocket"),
		advertisable(o.Advertise),
		advertisableWebSocket(o.AdvertiseWebSocket),
	)
}

// dialable returns an error for a listener on all of a machine's addresses, none of which is one that every client
// could dial, when it is not said with a flag what clients should dial.
func dialable(listen, advertise, flag string) error {
	host, _, err := net.SplitHostPort(listen)
	if err != nil || advertise != "" {
		return err
	}
	if unspecified(host) {
		return fmt.Errorf("%s means all addresses of this machine: say with %s at which one clients reach it", listen, flag)
	}
	return nil
}

// unspecified reports whether a listener's host means all addresses of a machine.
func unspecified(host string) bool {
	return host == "" || net.ParseIP(host).IsUnspecified()
}

func advertisable(address string) error {
	if address == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("-advertise: %w", err)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || unspecified(host) {
		return fmt.Errorf("-advertise %q is nothing to dial: it takes host:port", address)
	}
	return nil
}

func advertisableWebSocket(address string) error {
	if address == "" {
		return nil
	}
	u, err := url.Parse(address)
	if err != nil {
		return fmt.Errorf("-advertise-websocket: %w", err)
	}
	if u.Scheme != "ws" && u.Scheme != "wss" || unspecified(u.Hostname()) {
		return fmt.Errorf("-advertise-websocket %q: it takes a URL such as wss://im.example.com/ws", address)
	}
	return nil
}
