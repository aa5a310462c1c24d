package libnettest

import (
	"bytes"
	"testing"

	"github.com/libnet-go/libnet"
)

// A boundTeller and a payloadChecker are codecs that tell transports which keep messages apart by themselves, such as
// WebSocket, what their framing would have refused: without that, what Send refuses elsewhere passes there.
type (
	boundTeller    interface{ MaxMessage() int }
	payloadChecker interface{ CheckPayload(payload []byte) error }
)

// checkTold wants MaxMessage and CheckPayload to say what Send and Receive do.
func checkTold(tb testing.TB, k *kit) {
	w := &wire{tb: tb}
	codec := k.newCodec(tb, w)
	touched := w.touched()
	_, tells := codec.(boundTeller)
	checker, checks := codec.(payloadChecker)
	if !tells && !checks {
		tb.Skipf("the codec has neither MaxMessage nor CheckPayload")
	}
	k.tellsBound(tb, codec)
	if checks {
		for i, payload := range k.payloads {
			k.carries(tb, checker, k.samples[i].name, payload)
		}
		for _, kind := range k.kinds {
			k.carriesContents(tb, checker, kind)
		}
	}
	if w.touched() != touched {
		tb.Fatal("MaxMessage or CheckPayload used the connection")
	}
}

// tellsBound compares what is told with the length from which on Send refuses.
func (k *kit) tellsBound(tb testing.TB, codec libnet.Codec) {
	tb.Helper()
	if k.plain == nil || k.plain.isJSON {
		return
	}
	limit, refused := k.limit(tb)
	bounded := is(refused, libnet.ErrFrameTooLarge)
	if teller, ok := codec.(boundTeller); ok {
		told, _ := guarded(tb, "MaxMessage", func() (int, error) { return teller.MaxMessage(), nil })
		switch {
		case bounded && told != limit:
			tb.Fatalf("MaxMessage is %d, and Send takes messages of %d bytes, and no longer ones: they must agree", told, limit)
		case refused == nil && told >= 0 && told < k.plain.longest():
			tb.Fatalf("MaxMessage is %d, and Send takes messages of %d bytes: they must agree", told, k.plain.longest())
		}
	}
	if checker, ok := codec.(payloadChecker); ok && bounded {
		payload, _ := plainBytes(k.plain.make(limit+1, 0).msg)
		if check(tb, checker, payload) == nil {
			tb.Fatalf("CheckPayload finds nothing wrong with %d bytes, and Send refuses them (%v): they must agree", len(payload), refused)
		}
	}
}

// carriesContents wants of CheckPayload what Send does with any bytes, where it takes them.
func (k *kit) carriesContents(tb testing.TB, checker payloadChecker, kind *source) {
	tb.Helper()
	if kind.isJSON {
		return
	}
	for _, text := range append(kind.contents(), k.framesAsContents(tb, kind)...) {
		s := kind.of([]byte(text))
		if _, refused := k.sendOrRefuse(tb, s); refused == nil {
			k.carries(tb, checker, s.name, []byte(text))
		} else if is(refused, libnet.ErrFrameTooLarge) && check(tb, checker, []byte(text)) == nil {
			tb.Fatalf("CheckPayload finds nothing wrong with %.64q, and Send refuses it (%v): they must agree", text, refused)
		}
	}
}

// carries wants CheckPayload to find nothing wrong with a payload that arrives, and to leave it alone.
func (k *kit) carries(tb testing.TB, checker payloadChecker, name string, payload []byte) {
	tb.Helper()
	before := bytes.Clone(payload)
	if err := check(tb, checker, payload); err != nil {
		tb.Fatalf("CheckPayload refuses what %s arrives as, %.64q: %v", name, before, err)
	}
	if !bytes.Equal(payload, before) {
		tb.Fatalf("CheckPayload changed a payload from %.64q to %.64q", before, payload)
	}
}

func check(tb testing.TB, checker payloadChecker, payload []byte) error {
	tb.Helper()
	_, err := guarded(tb, "CheckPayload", func() (none struct{}, err error) { return none, checker.CheckPayload(payload) })
	return err
}
