package lengthprefix_test

import (
	"testing"

	"github.com/libnet-go/libnet/libnettest"
)

func TestMain(m *testing.M) { libnettest.VerifyMain(m) }
