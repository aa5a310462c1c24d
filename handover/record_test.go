package handover

import (
	"errors"
	"net/netip"
	"reflect"
	"testing"

	"github.com/libnet-go/libnet/internal/moving"
	"github.com/libnet-go/libnet/internal/sendqueue"
)

var anIntroduction = moving.Introduction{
	ID: 77, Remote: netip.MustParseAddrPort("[2001:db8::1]:4711"), Client: netip.MustParseAddrPort("192.0.2.7:99"), Age: 1e12,
}

var aRecord = moving.Record{
	ID: 77, Name: "Ada", Received: 5, FrameStart: 1, Parsed: 3, Read: 1 << 40, Dropped: 2,
	Unread: []byte("half a frame"), HasCodec: true, Codec: []byte(`{"Request":"GET /"}`), State: []byte("state"),
}

var someOutput = sendqueue.Contents{
	Sizes: []int{3, ^2, 5}, Bytes: []byte("abcdefghij"), Cut: true, MessagesOut: 9, BytesOut: 1 << 33, Discarded: 2, Dropped: 1,
}

func TestARecordComesAsItWasSent(t *testing.T) {
	for _, want := range []moving.Introduction{anIntroduction, {ID: 1, Unix: true}} {
		got, err := parseIntroduction(appendIntroduction(nil, &want))
		if err != nil || *got != want {
			t.Errorf("%+v came as %+v, %v", want, got, err)
		}
	}
	for _, want := range []moving.Record{aRecord, {ID: 1, State: []byte{}}} {
		got, err := parseRecord(appendRecord(nil, &want))
		if err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%+v came as %+v, %v", want, got, err)
		}
	}
	id, out, err := parseOutput(appendOutput(nil, 5, &someOutput))
	if err != nil || id != 5 || !reflect.DeepEqual(*out, someOutput) {
		t.Errorf("%+v came as %+v, %v", someOutput, out, err)
	}
	h := hello{lastID: 1 << 50, unlinks: true}
	if got, err := parseHello(h.append(nil)); err != nil || got != h {
		t.Errorf("%+v came as %+v, %v", h, got, err)
	}
	ids := []uint64{1, 1 << 60, 2}
	if got, err := parseIDs(appendIDs(nil, ids)); err != nil || !reflect.DeepEqual(got, ids) {
		t.Errorf("%v came as %v, %v", ids, got, err)
	}
}

func TestWhatIsCutShortOrTooLongIsMalformed(t *testing.T) {
	whole := appendIntroduction(nil, &anIntroduction)
	for n := range whole {
		if _, err := parseIntroduction(whole[:n]); !errors.Is(err, ErrMalformed) {
			t.Fatalf("%d bytes of an introduction: %v", n, err)
		}
	}
	whole = appendRecord(nil, &aRecord)
	for n := range whole {
		if _, err := parseRecord(whole[:n]); !errors.Is(err, ErrMalformed) {
			t.Fatalf("%d bytes of a record: %v", n, err)
		}
	}
	if _, err := parseRecord(append(whole, 0)); !errors.Is(err, ErrMalformed) {
		t.Errorf("a byte more: %v", err)
	}
	whole = appendOutput(nil, 5, &someOutput)
	for n := range whole {
		if _, _, err := parseOutput(whole[:n]); !errors.Is(err, ErrMalformed) {
			t.Fatalf("%d bytes of an output: %v", n, err)
		}
	}
	wrong := someOutput
	wrong.Sizes = []int{3, ^2, 6}
	if _, _, err := parseOutput(appendOutput(nil, 5, &wrong)); !errors.Is(err, ErrMalformed) {
		t.Errorf("frames longer than their bytes: %v", err)
	}
	other := hello{}.append(nil)
	other[len(magic)]++
	if _, err := parseHello(other); !errors.Is(err, ErrVersion) {
		t.Errorf("another version: %v", err)
	}
}

// What can be parsed is what would be sent, and is kept within what came.
func FuzzMessages(f *testing.F) {
	f.Add(byte(0), appendRecord(nil, &aRecord))
	f.Add(byte(1), appendOutput(nil, 5, &someOutput))
	f.Add(byte(2), hello{lastID: 9}.append(nil))
	f.Add(byte(3), appendIDs(nil, []uint64{1, 2, 300}))
	f.Add(byte(4), appendIntroduction(nil, &anIntroduction))
	f.Add(byte(1), []byte{1, 0, 0, 0, 0, 0, 255, 255, 255, 255, 15})
	f.Fuzz(func(t *testing.T, kind byte, p []byte) {
		switch kind % 5 {
		case 0:
			if r, err := parseRecord(p); err == nil {
				if again, err := parseRecord(appendRecord(nil, r)); err != nil || !reflect.DeepEqual(r, again) {
					t.Errorf("%+v, and again %+v, %v", r, again, err)
				}
			}
		case 1:
			id, out, err := parseOutput(p)
			if err != nil {
				return
			}
			var q sendqueue.Queue
			q.Hold()
			q.Restore(*out)
			if got, ok := q.Seal(); !ok || string(got.Bytes) != string(out.Bytes) || len(got.Sizes) > len(out.Sizes) {
				t.Errorf("%+v is restored as %+v", out, got)
			}
			if _, again, err := parseOutput(appendOutput(nil, id, out)); err != nil || !reflect.DeepEqual(out, again) {
				t.Errorf("%+v, and again %+v, %v", out, again, err)
			}
		case 2:
			if h, err := parseHello(p); err == nil {
				if again, err := parseHello(h.append(nil)); err != nil || again != h {
					t.Errorf("%+v, and again %+v, %v", h, again, err)
				}
			}
		case 3:
			if ids, err := parseIDs(p); err == nil && len(ids) > len(p) {
				t.Errorf("%d numbers of %d bytes", len(ids), len(p))
			}
		case 4:
			if i, err := parseIntroduction(p); err == nil {
				if again, err := parseIntroduction(appendIntroduction(nil, i)); err != nil || *again != *i {
					t.Errorf("%+v, and again %+v, %v", i, again, err)
				}
			}
		}
	})
}
