package libnettest_test

import (
	"strings"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/libnettest"
)

func lengthMessages() []any {
	return []any{"", "a", []byte("hello, world"), strings.Repeat("long ", 100)}
}

func TestProtocolAcceptsCodecsThatKeepTheContract(t *testing.T) {
	for name, test := range map[string]struct {
		protocol libnet.Protocol
		messages []any
	}{
		"length":          {lengthProtocol{}, lengthMessages()},
		"pure functions":  {pureProtocol{}, lengthMessages()},
		"larger messages": {pureProtocol{}, []any{make([]byte, 256<<10), "x"}},
		"lines":           {lineProtocol{}, []any{"", "hello", "two words"}},
		"state": {gobProtocol{}, []any{
			gobMessage{Text: "first"},
			gobMessage{Text: "second", Tags: map[string]int{"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}},
		}},
		"our lengths":      {codec.New(codec.Uint16BE, codec.Bytes), lengthMessages()},
		"our lines":        {codec.New(codec.Lines, codec.JSON), []any{"<html>", []int{1, 2}, map[string]int{"a": 1, "b": 2}}},
		"expected payload": {lengthProtocol{}, []any{libnettest.Expect{Message: "text", Payload: []byte("text")}}},
	} {
		t.Run(name, func(t *testing.T) {
			libnettest.TestProtocol(t, test.protocol, test.messages...)
		})
	}
}

// The labels are those of the defects that the checks are for.
func TestProtocolCatchesEachDefect(t *testing.T) {
	const (
		split      = "a stream cut into any reads"
		truncated  = "a stream that ends anywhere"
		readError  = "a stream that breaks anywhere"
		ownership  = "a received message is the caller's"
		hostile    = "claimed lengths and noise"
		writeError = "a write that fails anywhere"
		wrongType  = "a message of a wrong type"
		tooLong    = "a message that is too long"
		concurrent = "Send and Receive at the same time"
	)
	for _, defect := range []struct {
		label, bug string
		check      string
		said       string
	}{
		{"K1", "answers nothing after the end", truncated, "after the end it must return an error"},
		{"K1", "answers its error once", truncated, "without an error"},
		{"K2", "forgets the writer's error", writeError, "Send reported no error"},
		{"K3", "casts the length", tooLong, "a message of 16777216 bytes"},
		{"K5", "panics on a message of a wrong type", wrongType, "Send panicked"},
		{"K6", "reports a torn frame as a clean end", truncated, "want unexpected EOF"},
		{"K6", "takes an end after the header for a clean one", truncated, "want unexpected EOF"},
		{"K6", "reports a clean end as a torn frame", truncated, "want all and then EOF"},
		{"K7", "spins at the end", truncated, "Receive spins"},
		{"K7", "reports a broken reader as a clean end", readError, "the connection broke"},
		{"K8", "panics on a negative length", hostile, "Receive panicked"},
		{"K8", "allocates what is claimed", hostile, "memory must grow with what arrived"},
		{"K9", "sends in two writes and forgets the first's error", writeError, "Send reported no error"},
		{"", "overlooks a short write", writeError, "Send reported no error"},
		{"", "replaces the writer's error", writeError, "does not wrap the writer's error"},
		{"", "calls a write error an encoding error", writeError, "says that nothing was written"},
		{"", "writes a header before it looks at the message", wrongType, "wrote 3 bytes all the same"},
		{"", "refuses all after one wrong message", wrongType, "and so is the next message"},
		{"", "buffers anew in each Receive", split, "received 1 and then"},
		{"", "takes one read for a frame", split, "received"},
		{"", "reuses the payload's memory", ownership, "must return memory of its own"},
		{"", "one lock for both directions", concurrent, "i/o timeout"},
		{"", "does not close", "Close", "did not close"},
		{"", "leaves a goroutine", "Close", "the codec left"},
		{"", "leaves a part of a frame in dst", "AppendFrame", "want it as it was"},
		{"", "has an AppendFrame that forgets dst", "AppendFrame", "changed what was in dst"},
		{"", "has an AppendFrame that takes more than Send", "AppendFrame", "(<nil>) answers <nil>, Send"},
		{"", "has a ParseFrame that takes the beginning of a frame for an error", "ParseFrame", "want n = 0 and no error"},
		{"", "has a ParseFrame that refuses what Receive takes", "ParseFrame", "ParseFrame makes"},
		{"", "has a ParseFrame that cuts a frame short", "ParseFrame", "want n = 0 and no error"},
		{"", "has a ParseFrame that panics on a short frame", "ParseFrame", "ParseFrame panicked"},
		{"", "has a ParseFrame that returns the payload's length", "ParseFrame", "and the frame is of"},
		{"", "has a SplitFrame that leaves a header in dst", "SplitFrame", "returned no payload and dst"},
		{"", "has a SplitFrame with another length", "SplitFrame", "SplitFrame of message"},
	} {
		t.Run(strings.TrimSpace(defect.label+" "+defect.bug), func(t *testing.T) {
			wantCaught(t, defect.check, defect.said, pureProtocol{defect.bug}, lengthMessages()...)
		})
	}
}

// wantCaught runs a check on a codec that it should find at fault, and looks for the reason.
func wantCaught(t *testing.T, check, said string, p libnet.Protocol, messages ...any) {
	t.Helper()
	// In a bubble what waits for ever, or for seconds, is found at once.
	r := recordInBubble(t, func(tb testing.TB) { libnettest.RunCheck(tb, check, p, messages...) })
	if !r.failed {
		t.Fatal("the check did not fail")
	}
	if output := r.output.String(); !strings.Contains(output, said) {
		t.Fatalf("the check failed for another reason, want one that says %q:\n%s", said, output)
	}
}

func TestFuzzProtocolCatchesEachDefect(t *testing.T) {
	frames := []byte("\x00\x00\x05hello\x00\x00\x00\x00\x00\x03abc")
	for _, defect := range []struct {
		bug        string
		data, cuts []byte
		said       string
	}{
		{"answers nothing after the end", frames, nil, "after the end it must return an error"},
		{"takes one read for a frame", frames, []byte{4}, "in one piece the bytes are 3 messages"},
		{"reports a torn frame as a clean end", frames[:4], []byte{0}, "with 4 bytes left, Receive 0 and then EOF"},
		{"panics on a negative length", []byte{0xff, 0xff, 0xff}, nil, "Receive panicked"},
		{"allocates what is claimed", []byte{0xff, 0, 0}, nil, "made Receive allocate"},
		{"has a ParseFrame that refuses what Receive takes", []byte{0xff, 0, 0}, nil, "ParseFrame makes 0 frames"},
	} {
		t.Run(defect.bug, func(t *testing.T) {
			r := record(func(tb testing.TB) {
				libnettest.RunFuzz(tb, pureProtocol{defect.bug}, defect.data, defect.cuts, "x")
			})
			if said := r.output.String(); !r.failed || !strings.Contains(said, defect.said) {
				t.Fatalf("failed = %v, want it to say %q:\n%s", r.failed, defect.said, said)
			}
		})
	}
}

func FuzzProtocolWithALength(f *testing.F) {
	libnettest.FuzzProtocol(f, pureProtocol{}, lengthMessages()...)
}

func FuzzProtocolWithLines(f *testing.F) { libnettest.FuzzProtocol(f, lineProtocol{}, "", "hello") }

// A codec of yours needs one line of test, and one of fuzzing.
func ExampleTestProtocol() {
	protocol := codec.New(codec.Uint16BE, codec.JSON)
	_ = func(t *testing.T) {
		libnettest.TestProtocol(t, protocol,
			map[string]int{"answer": 42},
			libnettest.Expect{Message: []string{"a", "b"}, Payload: []byte(`["a","b"]`)})
	}
	_ = func(f *testing.F) { libnettest.FuzzProtocol(f, protocol, map[string]int{"answer": 42}) }
}
