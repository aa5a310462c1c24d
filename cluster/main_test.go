package cluster_test

import (
	"testing"

	"github.com/libnet-go/libnet/libnettest"
)

// No test may leave a goroutine behind, of ours, of the NATS server or of its client.
func TestMain(m *testing.M) { libnettest.VerifyMain(m) }
