package main

import (
	"crypto/tls"
	"net"
	"sync"

	"github.com/libnet-go/libnet/bench/internal/selfsigned"
)

// A wire is what a server's connections begin with. The messages are the same over all of them.
type wire string

const (
	overTCP             wire = ""
	overTLS             wire = "tls"
	overWebSocket       wire = "ws" // whose messages are the payloads
	overSecureWebSocket wire = "wss"
	overMux             wire = "mux" // as TCP; package mux's envelope is around the payload
)

func (w wire) isWebSocket() bool { return w == overWebSocket || w == overSecureWebSocket }
func (w wire) isSecure() bool    { return w == overTLS || w == overSecureWebSocket }

// begin does the client's part on a new connection.
func (w wire) begin(conn net.Conn) (net.Conn, error) {
	if w.isSecure() {
		// One record for what is written at once, as browsers and OpenSSL make it: crypto/tls begins with small ones.
		secured := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, DynamicRecordSizingDisabled: true})
		if err := secured.Handshake(); err != nil {
			return conn, err
		}
		conn = secured
	}
	if w.isWebSocket() {
		return conn, upgrade(conn)
	}
	return conn, nil
}

// serverTLS is all that the secure servers have in common.
var serverTLS = sync.OnceValues(selfsigned.Config)

func listenTLS() (net.Listener, error) {
	config, err := serverTLS()
	if err != nil {
		return nil, err
	}
	l, err := listen()
	if err != nil {
		return nil, err
	}
	return tls.NewListener(l, config), nil
}
