package libnettest

import (
	"testing"

	"github.com/libnet-go/libnet"
)

// RunCheck is one subtest of TestProtocol on any testing.TB: a test of it can have it fail.
func RunCheck(tb testing.TB, name string, p libnet.Protocol, messages ...any) {
	for _, check := range checks {
		if check.name == name {
			check.run(tb, newKit(tb, p, messages))
		}
	}
}

// RunFuzz is one step of FuzzProtocol.
func RunFuzz(tb testing.TB, p libnet.Protocol, data, cuts []byte, messages ...any) {
	fuzzOnce(tb, newKit(tb, p, messages), data, cuts)
}
