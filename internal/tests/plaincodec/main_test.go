// Package plaincodec tests codecs that know only Receive and Send on a stream, and so write what libnet cannot see as
// frames: what they wrote stays whole and in its order, whoever else writes, drops or waits.
package plaincodec

import (
	"testing"

	"github.com/libnet-go/libnet/libnettest"
)

// No test may leave a goroutine behind.
func TestMain(m *testing.M) { libnettest.VerifyMain(m) }
