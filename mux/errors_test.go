package mux_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/mux"
)

func TestACallThatWasNotSentDoesNotPend(t *testing.T) {
	for _, envelope := range []mux.Envelope{mux.Binary(mux.BinaryBody), mux.Proto(90001)} {
		m := mux.New(envelope)
		m.MaxCalls = 1
		s, hand := raw(t, m)
		for range 3 {
			if _, err := mux.Call[struct{}, num](within(t, patience), m.Peer(s), double, &struct{}{}); !errors.Is(err, libnet.ErrEncode) {
				t.Errorf("%T: %v", envelope, err)
			}
		}
		go func() { _, _ = mux.Call[num, num](within(t, patience), m.Peer(s), double, nil) }()
		receive(t, hand)
	}
}

func TestACallWhoseHandlersPanicOnTheWayDoesNotPend(t *testing.T) {
	m := newMux()
	m.MaxCalls = 1
	mux.On(m, other, func(context.Context, *libnet.Session, *num) error { panic("test: oh") })
	x, y := libnettest.Pipe()
	s, hand := session(t, protocolOf(m), x), session(t, codec.New(codec.Uint32BE, codec.Bytes), y)
	for range 3 {
		_ = hand.Send(append(header(3, 0, mux.Ask), 0, 0, 0, 0, 0, 0, 0, 0))
		text := panics(t, func() { _, _ = mux.Call[num, num](within(t, patience), m.SyncPeer(s), double, nil) })
		if text != "test: oh" || s.IsClosed() {
			t.Error(text, s.Err())
		}
	}
}

func TestTheTextOfAnErrorIsCutBetweenTwoCharacters(t *testing.T) {
	m, client := mux.New(mux.JSON), mux.New(mux.JSON)
	mux.Handle(m, "fail", func(context.Context, *libnet.Session, *struct{}) (*num, error) {
		return nil, &mux.Error{Code: 1, Text: "x" + strings.Repeat("ü", 2000)}
	})
	peer, _ := pair(t, client, m)
	for kind, want := range map[mux.Kind]int{
		"fail": 1023, mux.Kind("x" + strings.Repeat("ü", 100)): len(`unknown kind ""`) + 63,
	} {
		_, err := mux.Call[num, num](within(t, patience), peer, kind, nil)
		var got *mux.Error
		if !errors.As(err, &got) || len(got.Text) != want || !utf8.ValidString(got.Text) {
			t.Errorf("%d bytes, want %d: %v", len(got.Text), want, err)
		}
	}
}

func TestAReplyThatCannotBeSentIsAnErrorForItsCaller(t *testing.T) {
	m, client := mux.New(mux.JSON), mux.New(mux.JSON)
	var logged logs
	m.Logger = logged.logger()
	mux.Handle(m, "large", func(context.Context, *libnet.Session, *num) (*string, error) {
		text := strings.Repeat("x", 2<<20) // over MaxMessage
		return &text, nil
	})
	mux.Handle(m, "strange", func(context.Context, *libnet.Session, *num) (*func(), error) { return new(func()), nil })
	peer, _ := pair(t, client, m)
	for _, kind := range []mux.Kind{"large", "strange"} {
		_, err := mux.Call[num, num](within(t, patience), peer, kind, nil)
		var got *mux.Error
		if !errors.As(err, &got) || got.Code != mux.CodeInternal {
			t.Errorf("%s: %v", kind, err)
		}
	}
	if text := logged.text(); strings.Count(text, "\n") != 2 {
		t.Error(text)
	}
}

func TestAnErrorThatIsMeantForThePeerIsToldAlsoWhereItAskedForNoReply(t *testing.T) {
	m := newMux()
	var logged logs
	m.Logger = logged.logger()
	answer := make(chan error, 1)
	mux.On(m, double, func(context.Context, *libnet.Session, *num) error { return <-answer })
	_, hand := raw(t, m)
	for _, err := range []error{errors.New("test: for the log"), &mux.Error{Code: 5, Text: "no"}} {
		answer <- err
		_ = hand.Send(append(header(1, 0, mux.Ask), 0, 0, 0, 0, 0, 0, 0, 0))
	}
	if got, want := string(receive(t, hand)), string(header(1, 0, mux.Failure))+"\x05no"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if text := logged.text(); !strings.Contains(text, "for the log") || strings.Count(text, "\n") != 1 {
		t.Error(text)
	}
}

func TestRepliesWaitForRoomInTheQueue(t *testing.T) {
	m := newMux()
	mux.Handle(m, double, doubled)
	x, y := libnettest.PipeSize(64)
	hand := session(t, codec.New(codec.Uint32BE, codec.Bytes), y)
	d := libnet.Dialer{Protocol: protocolOf(m)}
	d.SendQueue = 1
	s, err := d.NewSession(x)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	m.Start(s)
	const n = 200
	for id := range uint64(n) {
		_ = hand.Send(append(header(1, id+1, mux.Ask), 0, 0, 0, 0, 0, 0, 0, 1))
	}
	for id := range uint64(n) {
		if got := idOf(receive(t, hand)); got != id+1 {
			t.Fatalf("reply %d came when %d was due", got, id+1)
		}
	}
}

func TestNoMoreThanTenLinesASecondAreLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, client := newMux(), newMux()
		var logged logs
		m.Logger = logged.logger()
		mux.Handle(m, double, func(_ context.Context, _ *libnet.Session, n *num) (*num, error) {
			return nil, fmt.Errorf("test: %d", n.N)
		})
		peer, _ := pair(t, client, m)
		for second := range 3 {
			for range 100 {
				_, _ = mux.Call[num, num](t.Context(), peer, double, new(num))
			}
			if n := strings.Count(logged.text(), "\n"); n > 10*(second+1)+10 || n < 10*(second+1) {
				t.Errorf("%d lines in second %d", n, second+1)
			}
			time.Sleep(2 * time.Second)
		}
		if !strings.Contains(logged.text(), "lines_left_out=90") {
			t.Error(logged.text())
		}
	})
}
