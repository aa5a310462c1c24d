package libnettest_test

import (
	"testing"

	"github.com/libnet-go/libnet/libnettest"
)

// A mutant is a codec that is broken in one way; check must fail for it, and name the promise.
type mutant struct {
	name    string
	check   string
	promise string
	spoil   func(c *parts)
}

// inOrder, and those that follow, are the promises in the words of the kit.
const (
	inOrder    = "every message must arrive as it was sent, whole and in order"
	wholeOrNot = "a message arrives whole, or is refused before a byte was written"
	agree      = "they must agree"
	fromHeader = "must be told from its header alone"
	bothWays   = "a bound holds in both directions"
	inProporti = "memory must grow with what arrived, not with what was claimed"
	ownCodec   = "each session has a codec of its own"
	mayOverlap = "may overlap"
	closeAgain = "Close may be called more than once"
)

// mutantMessages are of both kinds, so that SplitFrame has something to do.
func mutantMessages() []any {
	return []any{[]byte("hello, world"), "", []byte("a"), "long long long", []byte("other")}
}

func TestTheKitCatchesEveryMutant(t *testing.T) {
	count := 0
	for _, mutants := range [][]mutant{
		orderMutants, boundMutants, memoryMutants, messageMutants, endMutants, sessionMutants, closeMutants, appendMutants, parseMutants,
	} {
		for _, m := range mutants {
			count++
			t.Run(m.name, func(t *testing.T) {
				wantCaught(t, m.check, m.promise, mutated(m.spoil), mutantMessages()...)
				wantCaught(t, m.check, "", mutated(m.spoil), []byte("hello"))
				wantCaught(t, m.check, "", mutated(m.spoil), "hello")
			})
		}
	}
	if count < 50 {
		t.Errorf("there are %d mutants", count)
	}
}

func TestTheCodecThatMutantsAreMadeOfIsSound(t *testing.T) {
	for name, spoil := range map[string]func(*parts){
		"with two bytes":          nil,
		"with four bytes":         func(c *parts) { c.wide(1 << 20) },
		"with a bound":            func(c *parts) { c.wide(4096) },
		"with the stream's bound": (*parts).bounded,
	} {
		t.Run(name, func(t *testing.T) { libnettest.TestProtocol(t, mutated(spoil), mutantMessages()...) })
	}
}
