// Package stress has sessions of every kind send, receive and end at the same time, as chance has it, and balances the
// books of both ends afterwards:
//
//	go test -v ./internal/tests/stress                                    the seed is in the log
//	go test ./internal/tests/stress -seed 7 -rounds 5000                  for longer
//	go test ./internal/tests/stress -seed 7 -run TestBooks/round_123$     one round again
//
// A round is a server and a few connections. What it is made of is drawn from the seed and its number before anything
// runs: the transport, who receives and how, queue, bounds and policy, codec, who sends what and how, and who ends it
// when and how. The schedule is the machine's: the same round does not take the same course twice, so what is checked
// holds in any. accounts_test.go has it.
//
// internal/tests/schedules is the other half of this: it takes few calls, and all of their schedules. Here are the
// paths of sockets, TLS and event loops, which that leaves out.
package stress

import (
	"flag"
	"testing"
	"time"

	"github.com/libnet-go/libnet/internal/testkit"
)

var (
	seedFlag   = flag.Uint64("seed", 0, "what the rounds are drawn from; 0: the time")
	roundsFlag = flag.Int("rounds", 60, "how many rounds")
)

// No test may leave a goroutine behind.
func TestMain(m *testing.M) { testkit.SuiteMain(m) }

func TestBooksOfBothEndsBalanceWhateverEndsThem(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed %d", seed)
	for number := range *roundsFlag {
		t.Run(roundName(number), func(t *testing.T) {
			t.Parallel()
			p := draw(seed, uint64(number))
			t.Logf("-seed %d: %+v", seed, p)
			newRound(t, p).run()
		})
	}
}
