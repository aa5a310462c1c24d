package libnettest

import (
	"testing"

	"github.com/libnet-go/libnet"
)

// TestProtocol checks that a protocol's codecs keep what libnet relies on. It sends and receives the
// messages, which should be of different lengths, the empty and the largest among them if there are
// such, and runs each check as a subtest:
//
//   - every message arrives as it was sent, whole and in order, however the stream is cut into reads, at every
//     byte; so do thousands in a row, through each of the codec's ways to make and to cut a frame;
//   - a stream that ends between frames gives io.EOF, one that ends inside a frame io.ErrUnexpectedEOF,
//     one that breaks the reader's error; and so does every Receive after it: no nil error, no spinning;
//   - what Receive returned is the caller's: later frames do not change it, nor it them; what Send was
//     given is the caller's again, unchanged;
//   - Send reports an error of the writer, and a short write, wherever in the frame it happens;
//   - a message of a wrong type, or too long, is an error before a byte was written, and not a panic;
//     whatever bytes a message has, those of the codec's own frames among them, it arrives or is refused;
//     the longest message that Send takes arrives, and so does one of each length at which a length field of one,
//     two or three bytes ends, or is refused;
//   - a bound holds in both directions, and so does the stream's MaxMessage for a codec that looks at it; a
//     frame that is over it is refused from its header alone;
//   - claimed lengths and noise cost an error, not a panic or memory that no byte has arrived for;
//   - Send and Receive may overlap, and one session's codec knows nothing of another's;
//   - Close closes the conn if it can be closed, ends Send and Receive, and leaves no goroutine;
//   - AppendFrame, ParseFrame and SplitFrame, of a codec that has them, agree with Send and Receive, depend on
//     nothing but their arguments, keep none of them and change none; with an error, AppendFrame and SplitFrame
//     leave dst as it was; a payload's capacity ends with it;
//   - ResumeFrame, of a codec that has it as those of package codec do, finds what ParseFrame finds; MaxMessage and
//     CheckPayload, which packages ws and resume ask, say what Send and Receive do.
//
// Messages are compared by what arrives, so a frame may differ each time, by a time stamp or a nonce. A message
// that is a []byte or string must arrive as these bytes, or as their JSON; from one of them the checks also make
// others, of all lengths. Of other messages only the sender's codec knows the bytes: what has been the same
// each time, to the byte, as JSON, or but for the order of the bytes, must stay so; give an [Expect] to have it
// compared with what should arrive. Run it with the race detector. The protocol must not need an answer from
// its peer before it can send. A protocol takes some hundred milliseconds.
func TestProtocol(t *testing.T, p libnet.Protocol, messages ...any) {
	t.Helper()
	k := newKit(t, p, messages)
	for _, check := range checks {
		t.Run(check.name, func(t *testing.T) { check.run(t, k) })
	}
}

// Expect is a message for [TestProtocol] and [FuzzProtocol] whose payload is known.
type Expect struct {
	Message any    // what is sent
	Payload []byte // what Receive must return

	// Check, if set, looks at what Receive returned in the place of Payload, and says what is wrong with it:
	// for a payload that is another each time. It may be called by several goroutines at a time.
	Check func(payload []byte) error
}

var checks = []struct {
	name string
	run  func(tb testing.TB, k *kit)
}{
	{"a stream cut into any reads", checkSplit},
	{"a stream that ends anywhere", checkTruncated},
	{"a stream that breaks anywhere", checkReadError},
	{"many messages in a row", checkMany},
	{"a received message is the caller's", checkOwnership},
	{"a sent message is the caller's", checkSentMessage},
	{"claimed lengths and noise", checkHostile},
	{"a write that fails anywhere", checkWriteError},
	{"a message of a wrong type", checkWrongType},
	{"a message of any bytes", checkContents},
	{"a message that is too long", checkLong},
	{"a bound that the stream sets", checkStreamBound},
	{"a bound on what is received", checkReceiveBound},
	{"two sessions", checkTwoSessions},
	{"Send and Receive at the same time", checkConcurrent},
	{"Send inside Receive and Receive inside Send", checkOverlap},
	{"Close", checkClose},
	{"AppendFrame", checkAppendFrame},
	{"ParseFrame", checkParseFrame},
	{"ResumeFrame", checkResumeFrame},
	{"SplitFrame", checkSplitFrame},
	{"MaxMessage and CheckPayload", checkTold},
}
