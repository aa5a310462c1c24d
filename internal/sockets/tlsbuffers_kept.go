//go:build unix && !(lendtlsbuffers && linux)

package sockets

import (
	"bytes"
	"crypto/tls"
)

// LendsTLSBuffers reports whether TLS connections in event mode have input buffers only while they read.
func LendsTLSBuffers() bool { return false }

func lendBuffer(*tls.Conn) *bytes.Buffer { return nil }

func takeBuffer(*tls.Conn, *bytes.Buffer) {}
