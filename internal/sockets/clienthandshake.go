package sockets

import (
	"context"
	"crypto/tls"
	"errors"
	"time"
)

// lateHandshake is how long a handshake may take to return that its context's end has interrupted.
const lateHandshake = 300 * time.Millisecond

var errHandshakeEnded = errors.New("libnet: a function of the TLS config ended the goroutine of the handshake")

// Handshake does conn's handshake on a goroutine of its own: functions of its config may panic, end it, or keep it beyond ctx. caught
// makes the error of a panic. After an error the caller closes what conn runs on.
func Handshake(ctx context.Context, conn *tls.Conn, caught func(value any) error) error {
	result := make(chan error, 1)
	go func() {
		err := errHandshakeEnded
		defer func() {
			if r := recover(); r != nil {
				err = caught(r)
			}
			result <- err
		}()
		err = conn.HandshakeContext(ctx)
	}()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
	}
	late := time.NewTimer(lateHandshake)
	defer late.Stop()
	select {
	case err := <-result:
		return err
	case <-late.C:
		return ctx.Err()
	}
}
