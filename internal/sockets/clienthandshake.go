package sockets

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/libnet-go/libnet/internal/errchain"
	"github.com/libnet-go/libnet/internal/firstbytes"
)

// TLSTimeout bounds the handshake of TLS where Config.HandshakeTimeout is 0.
const TLSTimeout = 15 * time.Second

// NoTLSAnswer is what a client's handshake ends for that has had TLSTimeout.
var NoTLSAnswer = fmt.Sprintf("the server has not answered the TLS handshake within %v, the bound where "+
	"Config.HandshakeTimeout is 0: it may not speak TLS on this port", TLSTimeout)

// lateHandshake is how long a handshake may take to return that its context's end has interrupted.
const lateHandshake = 300 * time.Millisecond

var errHandshakeEnded = errors.New("libnet: a function of the TLS config ended the goroutine of the handshake")

// Handshake does conn's handshake on a goroutine of its own: functions of its config, and errors that they return, may
// panic, end it, or keep it beyond ctx. caught makes the error of a panic. An error that a server which speaks no TLS
// brings about says so. After an error the caller closes what conn runs on.
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
		failed := explained(conn.HandshakeContext(ctx))
		if failed != nil {
			_ = failed.Error() // perhaps of a function of the config: one that does not answer is found out here
		}
		err = failed
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

// explained adds what is known to an error that says little.
func explained(err error) error {
	if notTLS, ok := err.(tls.RecordHeaderError); ok {
		return fmt.Errorf("%w: %s", err, NotTLS(notTLS))
	}
	if err == io.EOF || errchain.Is(err, syscall.ECONNRESET) {
		return fmt.Errorf("libnet: the server ended the connection within the TLS handshake, as one does that speaks no TLS on this port: %w", err)
	}
	return err
}

// NotTLS says what came in the place of the first record. Text may be a part of a message, and is not shown, unless it
// is known to be the beginning of another protocol.
func NotTLS(err tls.RecordHeaderError) string {
	came := err.RecordHeader[:]
	what := firstbytes.Describe(came)
	switch {
	case what == "":
		what = firstbytes.Hex(came)
	case !firstbytes.IsText(came) || firstbytes.DescribeForeign(came) != "":
		what = firstbytes.Hex(came) + ", " + what
	}
	return "the peer's first bytes are " + what + "; this side expects TLS"
}
