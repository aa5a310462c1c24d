package sockets

import (
	"crypto/tls"
	"errors"
	"io"
	"slices"
	"time"
)

// GuardKeyLog returns a config whose KeyLogWriter may do anything: crypto/tls calls it under a lock of the whole
// process, which a panic does not release. A config that has none is returned as it is; of another it is a copy, whose
// session tickets have keys of their own.
func GuardKeyLog(config *tls.Config) *tls.Config {
	if _, is := config.KeyLogWriter.(keyLog); is || config.KeyLogWriter == nil {
		return config
	}
	guarded := config.Clone()
	guarded.KeyLogWriter = keyLog{config.KeyLogWriter, make(chan struct{}, 1)}
	return guarded
}

// A keyLog has one line at a time written. It gets one at a time, but for one whose Write it no longer waits for.
type keyLog struct {
	to   io.Writer
	turn chan struct{} // taken while to is at work
}

// keyLogPatience is how long all handshakes wait for the Write of one. As long as that does not return, lines are lost.
const keyLogPatience = 100 * time.Millisecond

var errKeyLog = errors.New("libnet: the KeyLogWriter panicked, or ended its goroutine")

func (k keyLog) Write(line []byte) (int, error) {
	select {
	case k.turn <- struct{}{}:
	default:
		return len(line), nil
	}
	result := make(chan error, 1)
	go k.write(slices.Clone(line), result)
	patience := time.NewTimer(keyLogPatience)
	defer patience.Stop()
	select {
	case err := <-result:
		return len(line), err
	case <-patience.C:
		return len(line), nil
	}
}

func (k keyLog) write(line []byte, result chan<- error) {
	err := errKeyLog
	defer func() {
		_ = recover()
		<-k.turn
		result <- err
	}()
	_, err = k.to.Write(line)
}
