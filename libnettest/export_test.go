package libnettest

import (
	"strings"
	"testing"

	"github.com/libnet-go/libnet"
)

// Poll is how checks wait for what is still ending.
var Poll = poll

// RunCheck is those subtests of TestProtocol whose names begin so, on any testing.TB: a test can have them fail.
func RunCheck(tb testing.TB, name string, p libnet.Protocol, messages ...any) {
	for _, check := range checks {
		if strings.HasPrefix(check.name, name) {
			check.run(tb, newKit(tb, p, messages))
		}
	}
}

// RunFuzz is one step of FuzzProtocol.
func RunFuzz(tb testing.TB, p libnet.Protocol, data, cuts []byte, messages ...any) {
	fuzzOnce(tb, newKit(tb, p, messages), data, cuts)
}
